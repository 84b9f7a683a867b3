//! `Cache-Control` of requests.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::cached;

use crate::support::{App, Store, on_every_store, serve, settings};

#[cached(ttl = 30)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

fn router(app: App) -> Router {
    Router::new().route("/read", get(read)).with_state(app)
}

on_every_store!(
    no_store_passes_through_and_leaves_the_entry_alone,
    no_cache_runs_the_handler_and_refreshes_the_entry,
    max_age_and_min_fresh_ask_for_a_younger_response,
    only_if_cached_never_runs_the_handler,
    a_setting_keeps_clients_from_forcing_work,
    the_same_setting_makes_the_cache_ignore_ranges,
);

async fn no_store_passes_through_and_leaves_the_entry_alone(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let no_store = [("cache-control", "no-store")];
    assert_eq!(
        client.get_with("/read", &no_store).await.outcome(),
        "BYPASS"
    );
    assert_eq!(client.get("/read").await.outcome(), "MISS");
    assert_eq!(client.get_with("/read", &no_store).await.text(), "run 2");
    assert_eq!(client.get("/read").await.text(), "run 1");
}

async fn no_cache_runs_the_handler_and_refreshes_the_entry(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/read").await;
    let reply = client
        .get_with("/read", &[("cache-control", "no-cache")])
        .await;
    assert_eq!((reply.outcome(), reply.text()), ("MISS", "run 1"));
    let reply = client.get("/read").await;
    assert_eq!((reply.outcome(), reply.text()), ("HIT", "run 1"));
}

async fn max_age_and_min_fresh_ask_for_a_younger_response(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/read").await;
    for (directive, outcome) in [
        ("max-age=10", "HIT"),
        ("min-fresh=20", "HIT"),
        ("max-stale", "HIT"),
        ("min-fresh=31", "MISS"),
        ("max-age=0", "MISS"),
    ] {
        let reply = client
            .get_with("/read", &[("cache-control", directive)])
            .await;
        assert_eq!(reply.outcome(), outcome, "{directive}");
    }
    // The time after which the response is older than the client accepts.
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let reply = client
        .get_with("/read", &[("cache-control", "max-age=1")])
        .await;
    assert_eq!(reply.outcome(), "MISS");
}

async fn only_if_cached_never_runs_the_handler(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app.clone())).await;
    let only = [("cache-control", "only-if-cached")];
    let reply = client.get_with("/read", &only).await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (504, "MISS"));
    assert_eq!(app.runs(), 0);
    let ranged = [("cache-control", "only-if-cached"), ("range", "bytes=0-1")];
    let reply = client.get_with("/read", &ranged).await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (504, "BYPASS"));
    assert_eq!(app.runs(), 0);
    client.get("/read").await;
    let reply = client.get_with("/read", &only).await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (200, "HIT"));
}

async fn a_setting_keeps_clients_from_forcing_work(store: Store) {
    let app = App::counting(store.cache_with(settings().request_directives(false)));
    let client = serve(router(app.clone())).await;
    client.get("/read").await;
    for directive in ["no-store", "no-cache", "max-age=0", "min-fresh=99"] {
        let reply = client
            .get_with("/read", &[("cache-control", directive)])
            .await;
        assert_eq!(reply.outcome(), "HIT", "{directive}");
    }
    assert_eq!(app.runs(), 1);
}

async fn the_same_setting_makes_the_cache_ignore_ranges(store: Store) {
    let app = App::counting(store.cache_with(settings().request_directives(false)));
    let client = serve(router(app)).await;
    for outcome in ["MISS", "HIT", "HIT"] {
        let reply = client.get_with("/read", &[("range", "bytes=0-1")]).await;
        assert_eq!((reply.outcome(), reply.text()), (outcome, "run 0"));
    }
}
