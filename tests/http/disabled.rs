//! A cache that is disabled: as if the attributes were not there.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};

use crate::support::{App, serve};

#[cached(
    ttl = 30,
    group = "g",
    stale_while_revalidate = 30,
    stale_if_error = 30
)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(read, group = "g", all)]
async fn evict() {}

#[cache_put(read)]
async fn write() -> &'static str {
    "written"
}

#[tokio::test]
async fn every_handler_runs_and_nothing_is_stored_or_counted() {
    let cache = Cache::disabled();
    let app = App::counting(cache.clone());
    let route = get(read).delete(evict).put(write);
    let client = serve(Router::new().route("/item", route).with_state(app)).await;
    for run in 0..3 {
        let reply = client.get("/item").await;
        assert_eq!(
            (reply.outcome(), reply.text()),
            ("BYPASS", &*format!("run {run}"))
        );
        assert!(reply.field("etag").is_some() && reply.field("cache-control").is_some());
    }
    for (method, outcome) in [
        ("PUT", "EVICTED"),
        ("DELETE", "EVICTED"),
        ("HEAD", "BYPASS"),
    ] {
        let reply = client.send(method, "/item", &[]).await;
        assert_eq!(
            (reply.status, reply.outcome()),
            (StatusCode::OK, outcome),
            "{method}"
        );
    }
    let only = [("cache-control", "only-if-cached")];
    let reply = client.get_with("/item", &only).await;
    assert_eq!(
        (reply.status, reply.outcome()),
        (StatusCode::GATEWAY_TIMEOUT, "BYPASS")
    );
    assert_eq!((cache.faults(), cache.pending_evictions()), (0, 0));
    cache.shutdown().await;
}

#[tokio::test]
async fn no_stored_response_replaces_the_error_of_a_handler() {
    let app = App::new(Cache::disabled(), |_| async {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    });
    let client = serve(Router::new().route("/item", get(read)).with_state(app)).await;
    for _ in 0..2 {
        let reply = client.get("/item").await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn no_value_is_found() {
    let cache = Cache::disabled();
    let values = cache.group("g").ttl(60);
    values.set("key", &1).await;
    values.set_many([("key", 1)]).await;
    assert_eq!(values.get::<u8>("key").await, None);
    assert_eq!(values.get_many::<u8>(["key"]).await, [None]);
    assert!(!values.has("key").await);
    for made in [2, 3] {
        assert_eq!(values.get_or_insert_with("key", async || made).await, made);
    }
    values.delete("key").await;
    cache.delete_group("g").await;
    cache.clear().await;
    assert_eq!((cache.faults(), cache.pending_evictions()), (0, 0));
}
