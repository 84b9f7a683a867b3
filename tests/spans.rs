//! The spans of `tracing`: there for who listens at `debug`, and for nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Path;
use axum::http::Request;
use axum::routing::get;
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};
use test_support::Log;
use tower::ServiceExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

#[cached(ttl = 30, key = "product:{id}", group = ["products", "product:{id}"])]
async fn get_product(Path(id): Path<String>) -> String {
    id
}

#[cache_put(get_product(id))]
async fn put_product(Path(id): Path<String>) -> String {
    id
}

#[cache_evict(get_product(id), group = "products", group = "product:{id}")]
async fn delete_product(Path(id): Path<String>) {
    drop(id);
}

/// Returns the log, at a level, of a miss, a hit, a write and an eviction: each span when it closes.
async fn said_at(level: LevelFilter) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let listening = tracing::subscriber::set_default(subscriber);
    let product = get(get_product).put(put_product).delete(delete_product);
    let app = Router::new().route("/{id}", product);
    let app = app.with_state(Cache::in_memory());
    for method in ["GET", "GET", "PUT", "DELETE"] {
        let request = Request::builder().method(method).uri("/hunter2");
        let request = request.body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        to_bytes(response.into_body(), usize::MAX).await.unwrap();
    }
    drop(listening);
    log.text().lines().map(str::to_owned).collect()
}

/// One test, because which level is listened for is known to the whole process.
#[tokio::test]
async fn spans_are_made_at_debug_level_and_show_no_key() {
    let lines = said_at(LevelFilter::INFO).await;
    // Nothing but what a handler evicts, the first time.
    let first = |line: &String| line.contains("evicts (further evictions by this handler");
    assert!(lines.len() == 3 && lines.iter().all(first), "{lines:#?}");
    assert!(
        lines[0].contains("eviction=spans::get_product (key hash "),
        "{lines:#?}"
    );
    assert!(!lines.join("\n").contains("hunter2"), "{lines:#?}");
    let lines = said_at(LevelFilter::DEBUG).await;
    let closed = |name: &str, parts: &[&str]| {
        let is_it = |line: &&String| {
            let closes = line.contains(name) && line.contains(": close");
            closes && parts.iter().all(|part| line.contains(part))
        };
        lines.iter().filter(is_it).count()
    };
    let handler = "cache.handler=\"spans::get_product\"";
    let groups = "cache.groups=\"products\"";
    let miss = [handler, groups, "cache.result=\"miss\"", "cache.hit=false"];
    let hit = [
        handler,
        groups,
        "cache.result=\"hit\"",
        "cache.hit=true",
        "cache.ttl=",
    ];
    let stored = [handler, groups, "cache.result=\"stored\"", "cache.ttl=30"];
    let evicted = [groups, "cache.target=\"group,key\""];
    for (name, parts) in [
        ("cache.get{", &miss[..]),
        ("cache.get{", &hit),
        ("cache.set{", &stored),
        ("cache.put{", &stored),
        ("cache.evict{", &evicted),
    ] {
        assert_eq!(closed(name, parts), 1, "{name} {parts:?} of {lines:#?}");
    }
    let evictions = lines
        .iter()
        .filter(|line| line.ends_with("evicted target=\"key\""));
    assert_eq!(evictions.count(), 1, "{lines:#?}");
    assert!(!lines.join("\n").contains("hunter2"), "{lines:#?}");
}
