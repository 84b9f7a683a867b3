//! `X-Redis-Cache` of a write says what happened to the cache.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{any, get};
use axum_redis_cache::{Cache, Settings, cache_evict, cache_put, cached};

use crate::support::{App, Store, on_every_store, serve};

#[cached(ttl = 30)]
async fn item(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(item)]
async fn evict(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(group = "items", always)]
async fn evict_always(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_put(item)]
async fn put(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_put(item)]
#[cache_evict(group = "items")]
async fn put_and_evict(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(group = "items")]
#[cache_put(item)]
async fn evict_and_put(State(app): State<App>) -> Response {
    app.run().await
}

/// The handler answers with a status.
async fn outcomes(cache: Cache, status: StatusCode) -> Vec<String> {
    let app = App::new(cache, move |_| async move { (status, "body") });
    let router = Router::new()
        .route("/item", get(item).delete(evict).put(put))
        .route("/always", get(item).delete(evict_always))
        .route("/put-and-evict", get(item).put(put_and_evict))
        .route("/evict-and-put", get(item).put(evict_and_put))
        .route("/any", any(item))
        .with_state(app);
    let client = serve(router).await;
    let mut outcomes = Vec::new();
    for (method, target) in [
        ("DELETE", "/item"),
        ("DELETE", "/always"),
        ("PUT", "/item"),
        ("PUT", "/put-and-evict"),
        ("PUT", "/evict-and-put"),
        ("POST", "/any"),
    ] {
        // A put stores where the handler is known to be mounted.
        client.get(target).await;
        let reply = client.send(method, target, &[]).await;
        assert_eq!(reply.status, status.as_u16());
        outcomes.push(reply.outcome().to_owned());
    }
    outcomes
}

on_every_store!(
    a_write_that_succeeded_says_what_it_did,
    a_write_that_failed_did_nothing_unless_it_always_evicts,
);

async fn a_write_that_succeeded_says_what_it_did(store: Store) {
    assert_eq!(
        outcomes(store.cache(), StatusCode::OK).await,
        [
            "EVICTED", "EVICTED", "STORED", "EVICTED", "EVICTED", "EVICTED"
        ]
    );
    assert_eq!(
        outcomes(store.cache(), StatusCode::NO_CONTENT).await,
        ["EVICTED"; 6],
        "nothing to store"
    );
}

async fn a_write_that_failed_did_nothing_unless_it_always_evicts(store: Store) {
    assert_eq!(
        outcomes(store.cache(), StatusCode::CONFLICT).await,
        ["BYPASS", "EVICTED", "BYPASS", "BYPASS", "BYPASS", "BYPASS"]
    );
}

#[tokio::test]
async fn a_write_says_that_redis_has_not_been_told_yet() {
    let nobody = Settings::from_url("redis://127.0.0.1:1").unwrap();
    let cache = Cache::connect(nobody.socket_timeout(Duration::from_millis(50))).unwrap();
    assert_eq!(outcomes(cache, StatusCode::OK).await, ["PENDING"; 6]);
}
