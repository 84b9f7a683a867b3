//! What is no longer fresh, and still of use (RFC 5861).

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{cache_evict, cache_put, cached};
use test_support::{Client, Reply};

use crate::support::{App, Gate, Store, on_every_store, serve, settings, tells_what_is_left};

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

/// Waits for longer than the `ttl` of the handlers.
async fn become_stale() {
    tokio::time::sleep(Duration::from_millis(130)).await;
}

fn answer(reply: &Reply) -> (&str, &str) {
    (reply.outcome(), reply.text())
}

async fn until(client: &Client, path: &str, text: &str) {
    let refreshed = async {
        while client.get(path).await.text() != text {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(5);
    tokio::time::timeout(limit, refreshed)
        .await
        .expect("it is refreshed");
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
    a_refresh_survives_the_client_that_set_it_off,
    nothing_stale_is_served_after_an_eviction_or_a_write,
    a_refresh_that_began_before_an_eviction_is_not_served_after_it,
    a_client_that_wants_nothing_but_a_stored_response_sets_no_refresh_off,
    a_client_can_ask_for_something_fresher,
    a_client_can_accept_a_stale_response,
    when_the_handler_fails_the_stale_response_is_served,
    a_failure_that_is_no_error_of_the_server_is_passed_on,
    windows_end,
    a_handler_can_forbid_it,
    clients_are_told_of_the_windows,
);

async fn a_stale_response_is_served_at_once_and_refreshed_by_one_run(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 1, &gate);
    let client = serve(router(app.clone())).await;
    assert_eq!(answer(&client.get("/revalidate").await), ("MISS", "run 0"));
    become_stale().await;
    for _ in 0..20 {
        let reply = client.get("/revalidate").await;
        assert_eq!(answer(&reply), ("STALE", "run 0"));
        let told = reply.field("cache-control").unwrap();
        assert!(
            told.starts_with("max-age=0, stale-while-revalidate="),
            "{told}"
        );
    }
    gate.entered().await;
    gate.open();
    until(&client, "/revalidate", "run 1").await;
    assert_eq!(app.runs(), 2);
}

async fn a_refresh_survives_the_client_that_set_it_off(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/revalidate").await;
    become_stale().await;
    drop(client.open("GET", "/revalidate", &[]).await);
    until(&client, "/revalidate", "run 1").await;
}

async fn nothing_stale_is_served_after_an_eviction_or_a_write(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/revalidate").await;
    become_stale().await;
    client.send("DELETE", "/revalidate", &[]).await;
    assert_eq!(answer(&client.get("/revalidate").await), ("MISS", "run 1"));
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
    assert_eq!(answer(&client.get("/revalidate").await), ("MISS", "run 2"));
    gate.open();
    for _ in 0..5 {
        assert_ne!(client.get("/revalidate").await.text(), "run 1");
    }
}

async fn a_client_that_wants_nothing_but_a_stored_response_sets_no_refresh_off(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app.clone())).await;
    client.get("/revalidate").await;
    become_stale().await;
    let only = [("cache-control", "only-if-cached")];
    let reply = client.get_with("/revalidate", &only).await;
    assert_eq!(answer(&reply), ("STALE", "run 0"));
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
    assert_eq!(answer(&reply), ("MISS", "run 1"));
    become_stale().await;
    let reply = client
        .get_with("/revalidate", &[("cache-control", "min-fresh=1")])
        .await;
    assert_eq!(answer(&reply), ("MISS", "run 2"));
}

async fn a_client_can_accept_a_stale_response(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/error").await;
    become_stale().await;
    let reply = client
        .get_with("/error", &[("cache-control", "max-stale=20")])
        .await;
    assert_eq!(answer(&reply), ("STALE", "run 0"));
    assert_eq!(answer(&client.get("/error").await), ("MISS", "run 1"));
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
                (reply.status, answer(&reply)),
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

async fn windows_end(store: Store) {
    let failure = || StatusCode::INTERNAL_SERVER_ERROR.into_response();
    let client = serve(router(then(store, failure))).await;
    client.get("/short").await;
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(
        client.get("/short").await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

async fn a_handler_can_forbid_it(store: Store) {
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
    assert_eq!(answer(&client.get("/revalidate").await), ("MISS", "run 1"));
}

async fn clients_are_told_of_the_windows(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for _ in 0..2 {
        let reply = client.get("/told").await;
        let expected = "max-age=30, stale-while-revalidate=60, stale-if-error=3600";
        assert!(tells_what_is_left(&reply, expected), "{reply:?}");
    }
}

#[tokio::test]
async fn of_several_processes_one_refreshes() {
    let settings = settings();
    let app = || {
        App::new(Store::Redis.cache_with(settings.clone()), |_| async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "body"
        })
    };
    let apps = [app(), app(), app()];
    let mut clients = Vec::new();
    for app in &apps {
        clients.push(serve(router(app.clone())).await);
    }
    clients[0].get("/revalidate").await;
    become_stale().await;
    for client in clients.iter().cycle().take(30) {
        assert_eq!(client.get("/revalidate").await.outcome(), "STALE");
    }
    assert_eq!(apps.iter().map(App::runs).sum::<usize>(), 2);
}
