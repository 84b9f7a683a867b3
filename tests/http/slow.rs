//! A stale response is served when the handler takes too long, and the run goes on.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{Cache, cache_evict, cached};
use test_support::{Client, Gate, Reply};

use crate::support::{
    App, Store, answer, asked, become_stale, on_every_store, serve, serve_counted, settings, stored,
};

#[cached(ttl = "100ms", stale_if_error = "1h", stale_if_slow = "50ms")]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(read)]
async fn evict() {}

#[cached(ttl = "100ms", stale_if_error = "1h", stale_if_slow = 0)]
async fn at_once(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = "100ms", stale_if_error = "1h", stale_if_slow = "10m")]
async fn patient(State(app): State<App>) -> Response {
    app.run().await
}

/// A time that no clock reaches.
#[cached(ttl = "100ms", stale_if_error = "1h", stale_if_slow = Duration::MAX)]
async fn never(State(app): State<App>) -> Response {
    app.run().await
}

/// A stream, whose length nobody knows.
#[cached(ttl = "100ms", stale_if_error = "1h", stale_if_slow = "50ms")]
async fn stream(State(app): State<App>) -> Body {
    Body::from_stream(app.run().await.into_body().into_data_stream())
}

fn router(app: App) -> Router {
    Router::new()
        .route("/", get(read).delete(evict))
        .route("/at-once", get(at_once))
        .route("/never", get(never))
        .route("/stream", get(stream))
        .route("/patient", get(patient).delete(evict))
        .with_state(app)
}

/// Serves the handlers. The second run waits at the gate.
async fn start(cache: Cache, gate: &Gate) -> (Client, App) {
    let app = App::counting_with_a_gate(cache, 1, gate);
    (serve(router(app.clone())).await, app)
}

/// Stores the response of the first run, and lets it become stale.
async fn store_stale(client: &Client, path: &str) {
    assert_eq!(asked(client, path).await, answer("MISS", "run 0"));
    become_stale().await;
}

fn said(reply: &Reply) -> (String, String) {
    answer(reply.outcome(), reply.text())
}

on_every_store!(
    every_request_waits_for_its_own_time_only,
    the_run_goes_on_and_fills,
    a_run_that_fails_later_leaves_the_entry,
    what_was_evicted_is_not_served,
    without_an_entry_every_request_waits,
    a_fast_handler_is_awaited,
    a_client_that_refuses_stale_responses_waits,
    zero_is_at_once,
    a_time_that_is_too_long_is_no_limit,
    a_stream_is_stored_by_the_run_that_goes_on,
);

async fn every_request_waits_for_its_own_time_only(store: Store) {
    let gate = Gate::new();
    let (client, app) = start(store.cache(), &gate).await;
    store_stale(&client, "/").await;
    for _ in 0..3 {
        assert_eq!(asked(&client, "/").await, answer("STALE", "run 0"));
        assert_eq!(app.runs(), 2);
    }
    gate.open();
}

async fn the_run_goes_on_and_fills(store: Store) {
    let gate = Gate::new();
    let (client, app) = start(store.cache(), &gate).await;
    store_stale(&client, "/").await;
    assert_eq!(asked(&client, "/").await, answer("STALE", "run 0"));
    gate.open();
    assert_ne!(stored(&client, "/").await, "run 0");
    assert!(app.runs() >= 2);
}

async fn a_run_that_fails_later_leaves_the_entry(store: Store) {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let app = App::new(store.cache(), move |run| {
        let gate = at_gate.clone();
        async move {
            if run == 0 {
                return "run 0".into_response();
            }
            gate.pass().await;
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    });
    let client = serve(router(app.clone())).await;
    store_stale(&client, "/").await;
    assert_eq!(asked(&client, "/").await, answer("STALE", "run 0"));
    gate.open();
    for _ in 0..3 {
        assert_eq!(asked(&client, "/").await, answer("STALE", "run 0"));
    }
}

async fn what_was_evicted_is_not_served(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 1, &gate);
    let (client, arrivals) = serve_counted(router(app.clone())).await;
    store_stale(&client, "/").await;
    assert_eq!(asked(&client, "/").await, answer("STALE", "run 0"));
    let evicted = client.send("DELETE", "/", &[]).await;
    assert_eq!(evicted.outcome(), "EVICTED");
    let get = || tokio::spawn(async move { client.get("/").await });
    let second = arrivals.arrival_of(get).await;
    let second = second.await.unwrap();
    assert_eq!(said(&second), answer("MISS", "run 2"));
    gate.open();
}

async fn without_an_entry_every_request_waits(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 0, &gate);
    let (client, arrivals) = serve_counted(router(app)).await;
    let get = || tokio::spawn(async move { client.get("/").await });
    let first = arrivals.arrival_of(get).await;
    let second = arrivals.arrival_of(get).await;
    // This takes longer than the `stale_if_slow` of the route.
    become_stale().await;
    gate.open();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(said(&first), answer("MISS", "run 0"));
    assert_eq!(said(&second), answer("HIT", "run 0"));
}

async fn a_fast_handler_is_awaited(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    store_stale(&client, "/patient").await;
    assert_eq!(asked(&client, "/patient").await, answer("MISS", "run 1"));
}

async fn a_client_that_refuses_stale_responses_waits(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 1, &gate);
    let (client, arrivals) = serve_counted(router(app)).await;
    store_stale(&client, "/").await;
    let get = || {
        tokio::spawn(async move { client.get_with("/", &[("cache-control", "no-cache")]).await })
    };
    let reply = arrivals.arrival_of(get).await;
    become_stale().await;
    gate.open();
    assert_eq!(said(&reply.await.unwrap()), answer("MISS", "run 1"));
}

async fn zero_is_at_once(store: Store) {
    let gate = Gate::new();
    let (client, _) = start(store.cache(), &gate).await;
    store_stale(&client, "/at-once").await;
    for _ in 0..2 {
        assert_eq!(asked(&client, "/at-once").await, answer("STALE", "run 0"));
    }
    gate.open();
    assert_ne!(stored(&client, "/at-once").await, "run 0");
}

async fn a_time_that_is_too_long_is_no_limit(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    store_stale(&client, "/never").await;
    assert_eq!(asked(&client, "/never").await, answer("MISS", "run 1"));
}

async fn a_stream_is_stored_by_the_run_that_goes_on(store: Store) {
    let gate = Gate::new();
    let (client, _) = start(store.cache(), &gate).await;
    store_stale(&client, "/stream").await;
    assert_eq!(asked(&client, "/stream").await, answer("STALE", "run 0"));
    gate.open();
    assert_ne!(stored(&client, "/stream").await, "run 0");
}

#[tokio::test]
async fn a_request_that_waits_for_another_process_gets_the_stale_response_too() {
    let (settings, gate) = (settings(), Gate::new());
    let cache = || Store::Redis.cache_with(settings.clone());
    let (one, _) = start(cache(), &gate).await;
    let (other, app) = start(cache(), &gate).await;
    store_stale(&one, "/").await;
    assert_eq!(asked(&one, "/").await, answer("STALE", "run 0"));
    assert_eq!(asked(&other, "/").await, answer("STALE", "run 0"));
    assert_eq!(app.runs(), 0);
    gate.open();
    assert_ne!(stored(&other, "/").await, "run 0");
}
