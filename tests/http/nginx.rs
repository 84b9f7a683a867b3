//! Stored responses behind nginx as a shared cache. Without nginx, these tests say so and pass.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::cached;
use test_support::{Client, Nginx, Reply, until};

use crate::support::{App, Store, serve};

#[cached(ttl = 2)]
async fn short(Path(_): Path<usize>, State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary("accept-language", "x-variant"), ignore(headers))]
async fn page(headers: HeaderMap) -> String {
    let field = |name| headers[name].to_str().unwrap().to_owned();
    format!("{} {}", field("accept-language"), field("x-variant"))
}

#[cached(ttl = 30, max_age = 1)]
async fn long(State(app): State<App>) -> Response {
    app.run().await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/short/{number}", get(short))
        .route("/page", get(page))
        .route("/long", get(long))
        .with_state(app)
}

/// Returns how nginx answered.
fn of_nginx(reply: &Reply) -> &str {
    reply.field("x-nginx-cache").unwrap_or("none")
}

/// Reads one entry for 10 s, by nginx and past it, and returns how often nginx had it. nginx counts in
/// whole seconds, so that it may keep a response for up to one more.
async fn read_for_a_while(direct: Client, nginx: Client, number: u32, start: Instant) -> usize {
    let path = format!("/short/{number}");
    // Each entry begins at another part of a second.
    tokio::time::sleep(Duration::from_millis(250) * number).await;
    let limit = Duration::from_millis(2_000 + 1_000 + 250);
    let mut hits = 0;
    while start.elapsed() < Duration::from_secs(10) {
        direct.get(&path).await;
        let asked = start.elapsed();
        let reply = nginx.get(&path).await;
        let made = Duration::from_millis(reply.text().parse().unwrap());
        let age = asked.saturating_sub(made);
        assert!(age < limit, "{age:?} old: {reply:?}");
        hits += usize::from(of_nginx(&reply) == "HIT");
        // Looks at many moments of the lifetime.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hits
}

async fn serves_nothing_older_than_promised(options: &str) {
    let start = Instant::now();
    let app = App::new(Store::Redis.cache(), move |_| async move {
        start.elapsed().as_millis().to_string()
    });
    let direct = serve(router(app)).await;
    let Some(nginx) = Nginx::in_front_of(direct.address(), options) else {
        return;
    };
    let client = Client::new(nginx.address());
    // The entries begin at different parts of a second.
    let readers: Vec<_> = (0..8)
        .map(|number| tokio::spawn(read_for_a_while(direct, client, number, start)))
        .collect();
    for reader in readers {
        assert_ne!(reader.await.unwrap(), 0, "nginx keeps responses");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_cache_serves_nothing_older_than_promised() {
    tokio::join!(
        serves_nothing_older_than_promised(""),
        serves_nothing_older_than_promised("proxy_cache_revalidate on;"),
    );
}

#[tokio::test]
async fn a_shared_cache_tells_languages_and_variants_apart() {
    let app = App::counting(Store::Redis.cache());
    let direct = serve(router(app)).await;
    let Some(nginx) = Nginx::in_front_of(direct.address(), "") else {
        return;
    };
    let client = Client::new(nginx.address());
    let mut kept = HashSet::new();
    for _ in 0..3 {
        for (language, variant) in [("en", "a"), ("de", "a"), ("en", "b"), ("de", "b")] {
            let fields = [("accept-language", language), ("x-variant", variant)];
            let reply = client.get_with("/page", &fields).await;
            assert_eq!(reply.text(), format!("{language} {variant}"));
            if of_nginx(&reply) == "HIT" {
                kept.insert((language, variant));
            }
        }
    }
    assert_eq!(kept.len(), 4, "nginx keeps every variant");
}

#[tokio::test]
async fn a_shared_cache_revalidates_without_a_run_of_the_handler() {
    let app = App::counting(Store::Redis.cache());
    let direct = serve(router(app.clone())).await;
    let Some(nginx) = Nginx::in_front_of(direct.address(), "proxy_cache_revalidate on;") else {
        return;
    };
    let client = Client::new(nginx.address());
    let first = client.get("/long").await;
    assert_eq!((of_nginx(&first), first.text()), ("MISS", "run 0"));
    until("revalidated", async || {
        let reply = client.get("/long").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "run 0"));
        of_nginx(&reply) == "REVALIDATED"
    })
    .await;
    let tag = first.field("etag").unwrap();
    let reply = client.get_with("/long", &[("if-none-match", tag)]).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (304, ""));
    let reply = client
        .get_with("/long", &[("if-none-match", "\"other\"")])
        .await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "run 0"));
    assert_eq!(app.runs(), 1);
}
