//! The log names reasons and faults, and never keys or secrets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;

use axum::Router;
use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cache_evict, cached};
use test_support::{Client, Log, RedisServer};

#[derive(Clone, FromRef)]
struct AppState {
    cache: Cache,
}

#[cached(ttl = 30)]
async fn sets_a_cookie() -> ([(&'static str, &'static str); 1], &'static str) {
    ([("set-cookie", "token=hunter2")], "body")
}

#[cached(ttl = 30)]
async fn plain() -> &'static str {
    "body"
}

#[cached(ttl = 30)]
async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}

#[cache_evict(plain, group = "of the plain")]
async fn evicts_twice() {}

/// One test, because the log is one for the process.
#[tokio::test]
async fn the_log_names_each_reason_and_each_fault_once_and_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    let redis = RedisServer::start_with(&["--requirepass", "hunter2"]);
    let wrong = redis.url().replace("//", "//:hunter2-wrong@");
    let cache = Cache::connect(Settings::from_url(wrong).unwrap()).unwrap();
    let state = AppState { cache };
    let debug = format!("{:?}", state.cache);
    let router = Router::new()
        .route("/cookie", get(sets_a_cookie))
        .route("/missing", get(not_found))
        .route("/plain", get(plain).delete(evicts_twice));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router.with_state(state.clone())).into_future());
    for _ in 0..3 {
        client.get("/cookie").await;
        client.get("/missing").await;
        client
            .get_with("/plain?key=hunter2", &[("authorization", "hunter2")])
            .await;
        client.get("/plain").await;
        let no_json = HashMap::from([((1, 2), "hunter2")]);
        state.cache.set("hunter2", &no_json).await;
        client.send("DELETE", "/plain", &[]).await;
    }
    let log = log.text();
    let named = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(named("the response sets a cookie"), 1, "{log}");
    assert_eq!(named("the request has Authorization"), 1, "{log}");
    assert_eq!(named("route=\"log::sets_a_cookie\""), 1, "{log}");
    let not_found = "does not declare the status storable\" status=404";
    assert_eq!(named(not_found), 1, "{log}");
    assert_eq!(named("Redis refused the credentials"), 1, "{log}");
    assert_eq!(named("a value is not stored"), 1, "{log}");
    let first = "further evictions by this handler are logged at debug";
    assert_eq!(named(first), 2, "a line for each target: {log}");
    assert_eq!(named("evicts by=\"log::evicts_twice\""), 4, "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    assert!(!debug.contains("hunter2"), "{debug}");
}
