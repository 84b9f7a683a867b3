//! Responses that are stale and still served (RFC 5861).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{cache_evict, cache_put, cached};
use test_support::{Client, Gate, until};

use crate::support::{
    App, Store, answer, asked, become_stale, on_every_store, serve, settings, tells_what_is_left,
};

#[cached(ttl = "100ms", stale_while_revalidate = 30)]
async fn while_revalidating(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = "100ms", stale_if_error = 30)]
async fn if_error(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(
    ttl = "100ms",
    stale_while_revalidate = "100ms",
    stale_if_error = "200ms"
)]
async fn short(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, stale_while_revalidate = 60, stale_if_error = "1h")]
async fn told(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(while_revalidating)]
async fn evict() {}

#[cache_evict(if_error)]
async fn evict_if_error() {}

#[cache_put(while_revalidating)]
async fn write() -> &'static str {
    "written"
}

fn router(app: App) -> Router {
    Router::new()
        .route(
            "/revalidate",
            get(while_revalidating).delete(evict).put(write),
        )
        .route("/error", get(if_error).delete(evict_if_error))
        .route("/short", get(short))
        .route("/told", get(told))
        .with_state(app)
}

/// Waits until a response has been refreshed.
async fn refreshed(client: &Client, path: &str, text: &str) {
    until("a refresh", async || client.get(path).await.text() == text).await;
}

/// Answers `run 0`, and from then on as it is told.
fn then(store: Store, script: fn() -> Response) -> App {
    App::new(store.cache(), move |run| async move {
        if run == 0 {
            "run 0".into_response()
        } else {
            script()
        }
    })
}

on_every_store!(
    a_stale_response_is_served_at_once_and_refreshed_by_one_run,
    a_refresh_survives_the_client_that_started_it,
    nothing_stale_is_served_after_an_eviction_or_a_write,
    a_refresh_that_began_before_an_eviction_is_not_served_after_it,
    a_request_with_only_if_cached_starts_no_refresh,
    a_client_can_ask_for_something_fresher,
    a_client_can_accept_a_stale_response,
    when_the_handler_fails_the_stale_response_is_served,
    a_failure_that_is_no_error_of_the_server_is_passed_on,
    the_windows_for_stale_responses_end,
    a_handler_can_forbid_stale_responses,
    clients_are_told_the_windows_for_stale_responses,
);

async fn a_stale_response_is_served_at_once_and_refreshed_by_one_run(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 1, &gate);
    let client = serve(router(app.clone())).await;
    assert_eq!(asked(&client, "/revalidate").await, answer("MISS", "run 0"));
    become_stale().await;
    for _ in 0..20 {
        let reply = client.get("/revalidate").await;
        assert_eq!((reply.outcome(), reply.text()), ("STALE", "run 0"));
        let told = reply.field("cache-control").unwrap();
        assert!(
            told.starts_with("max-age=0, stale-while-revalidate="),
            "{told}"
        );
    }
    gate.entered().await;
    gate.open();
    refreshed(&client, "/revalidate", "run 1").await;
    assert_eq!(app.runs(), 2);
}

async fn a_refresh_survives_the_client_that_started_it(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/revalidate").await;
    become_stale().await;
    drop(client.open("GET", "/revalidate", &[]).await);
    refreshed(&client, "/revalidate", "run 1").await;
}

async fn nothing_stale_is_served_after_an_eviction_or_a_write(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/revalidate").await;
    become_stale().await;
    client.send("DELETE", "/revalidate", &[]).await;
    assert_eq!(asked(&client, "/revalidate").await, answer("MISS", "run 1"));
    become_stale().await;
    client.send("PUT", "/revalidate", &[]).await;
    assert_eq!(client.get("/revalidate").await.text(), "written");
}

async fn a_refresh_that_began_before_an_eviction_is_not_served_after_it(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 1, &gate);
    let client = serve(router(app)).await;
    client.get("/revalidate").await;
    become_stale().await;
    assert_eq!(client.get("/revalidate").await.outcome(), "STALE");
    gate.entered().await;
    client.send("DELETE", "/revalidate", &[]).await;
    assert_eq!(asked(&client, "/revalidate").await, answer("MISS", "run 2"));
    gate.open();
    for _ in 0..5 {
        assert_ne!(client.get("/revalidate").await.text(), "run 1");
    }
}

async fn a_request_with_only_if_cached_starts_no_refresh(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app.clone())).await;
    client.get("/revalidate").await;
    become_stale().await;
    let only = [("cache-control", "only-if-cached")];
    let reply = client.get_with("/revalidate", &only).await;
    assert_eq!((reply.outcome(), reply.text()), ("STALE", "run 0"));
    // Waits for runs in the background.
    app.cache.shutdown().await;
    assert_eq!(app.runs(), 1);
}

async fn a_client_can_ask_for_something_fresher(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/revalidate").await;
    become_stale().await;
    let reply = client
        .get_with("/revalidate", &[("cache-control", "no-cache")])
        .await;
    assert_eq!((reply.outcome(), reply.text()), ("MISS", "run 1"));
    become_stale().await;
    let reply = client
        .get_with("/revalidate", &[("cache-control", "min-fresh=1")])
        .await;
    assert_eq!((reply.outcome(), reply.text()), ("MISS", "run 2"));
}

async fn a_client_can_accept_a_stale_response(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/error").await;
    become_stale().await;
    let reply = client
        .get_with("/error", &[("cache-control", "max-stale=20")])
        .await;
    assert_eq!((reply.outcome(), reply.text()), ("STALE", "run 0"));
    assert_eq!(asked(&client, "/error").await, answer("MISS", "run 1"));
}

async fn when_the_handler_fails_the_stale_response_is_served(store: Store) {
    let failures: [fn() -> Response; 3] = [
        || StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        || StatusCode::SERVICE_UNAVAILABLE.into_response(),
        || panic!("the handler panics"),
    ];
    for failure in failures {
        let client = serve(router(then(store, failure))).await;
        client.get("/error").await;
        become_stale().await;
        for _ in 0..2 {
            let reply = client.get("/error").await;
            assert_eq!(
                (reply.status, (reply.outcome(), reply.text())),
                (StatusCode::OK, ("STALE", "run 0"))
            );
        }
        client.send("DELETE", "/error", &[]).await;
        let reply = client.try_open("GET", "/error", &[]).await;
        assert!(
            reply.is_none_or(|reply| reply.status().is_server_error()),
            "it is evicted"
        );
    }
}

async fn a_failure_that_is_no_error_of_the_server_is_passed_on(store: Store) {
    let client = serve(router(then(store, || {
        StatusCode::NOT_FOUND.into_response()
    })))
    .await;
    client.get("/error").await;
    become_stale().await;
    assert_eq!(client.get("/error").await.status, StatusCode::NOT_FOUND);
}

async fn the_windows_for_stale_responses_end(store: Store) {
    let failure = || StatusCode::INTERNAL_SERVER_ERROR.into_response();
    let client = serve(router(then(store, failure))).await;
    client.get("/short").await;
    // The time after which both windows have ended.
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(
        client.get("/short").await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

async fn a_handler_can_forbid_stale_responses(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        ([("cache-control", "must-revalidate")], format!("run {run}"))
    });
    let client = serve(router(app)).await;
    let reply = client.get("/revalidate").await;
    assert_eq!(
        reply.field("cache-control"),
        Some("no-cache, must-revalidate")
    );
    become_stale().await;
    assert_eq!(asked(&client, "/revalidate").await, answer("MISS", "run 1"));
}

async fn clients_are_told_the_windows_for_stale_responses(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for _ in 0..2 {
        let reply = client.get("/told").await;
        let expected = "max-age=30, stale-while-revalidate=60, stale-if-error=3600";
        assert!(tells_what_is_left(&reply, expected), "{reply:?}");
    }
}

#[tokio::test]
async fn one_of_several_processes_refreshes_a_stale_response() {
    let settings = settings();
    let (gate, runs) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let app = || {
        let (gate, runs) = (gate.clone(), Arc::clone(&runs));
        App::new(Store::Redis.cache_with(settings.clone()), move |_| {
            let (gate, runs) = (gate.clone(), Arc::clone(&runs));
            async move {
                if runs.fetch_add(1, Ordering::SeqCst) > 0 {
                    gate.pass().await;
                }
                "body"
            }
        })
    };
    let mut clients = Vec::new();
    for app in [app(), app(), app()] {
        clients.push(serve(router(app)).await);
    }
    clients[0].get("/revalidate").await;
    become_stale().await;
    for client in clients.iter().cycle().take(30) {
        assert_eq!(client.get("/revalidate").await.outcome(), "STALE");
    }
    gate.entered().await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    gate.open();
}
