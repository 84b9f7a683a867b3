//! One function on every method of a route.

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Redirect, Response};
use axum::routing::{any, post};
use axum_redis_cache::{cache_evict, cached};

use crate::support::{App, Store, on_every_store, serve};

/// One function for every method: only reads are answered from the cache.
#[cached(ttl = 30)]
pub(super) async fn every_method(State(app): State<App>) -> Response {
    app.run().await
}

/// Refuses, but with a status that looks like success.
struct Polite;

impl<S: Sync> FromRequestParts<S> for Polite {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Redirect> {
        if parts.headers.contains_key("x-allowed") {
            Ok(Self)
        } else {
            Err(Redirect::to("/login"))
        }
    }
}

#[cache_evict(every_method("/every"), always)]
async fn evict_politely(_: Polite) {}

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/every", any(every_method))
        .route("/polite", post(evict_politely))
}

on_every_store!(
    one_function_on_every_method_caches_reads_only,
    a_write_by_a_function_on_every_method_drops_what_is_stored_if_it_succeeds,
    an_extractor_that_refuses_evicts_nothing_whatever_its_status,
);

async fn one_function_on_every_method_caches_reads_only(store: Store) {
    let client = serve(router().with_state(App::counting(store.cache()))).await;
    for (method, outcome) in [
        ("GET", "MISS"),
        ("OPTIONS", "BYPASS"),
        ("GET", "HIT"),
        ("POST", "EVICTED"),
        ("GET", "MISS"),
        ("GET", "HIT"),
    ] {
        assert_eq!(
            client.send(method, "/every", &[]).await.outcome(),
            outcome,
            "{method}"
        );
    }
}

async fn a_write_by_a_function_on_every_method_drops_what_is_stored_if_it_succeeds(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        if run == 1 {
            StatusCode::CONFLICT
        } else {
            StatusCode::OK
        }
    });
    let client = serve(router().with_state(app)).await;
    let outcome = async || client.get("/every").await.outcome().to_owned();
    assert_eq!(outcome().await, "MISS");
    assert_eq!(client.send("PUT", "/every", &[]).await.status, 409);
    assert_eq!(outcome().await, "HIT");
    assert_eq!(client.send("PUT", "/every", &[]).await.status, 200);
    assert_eq!(outcome().await, "MISS");
}

async fn an_extractor_that_refuses_evicts_nothing_whatever_its_status(store: Store) {
    let client = serve(router().with_state(App::counting(store.cache()))).await;
    client.get("/every").await;
    assert_eq!(client.send("POST", "/polite", &[]).await.status, 303);
    assert_eq!(client.get("/every").await.outcome(), "HIT");
    assert_eq!(
        client
            .send("POST", "/polite", &[("x-allowed", "")])
            .await
            .status,
        200
    );
    assert_eq!(client.get("/every").await.outcome(), "MISS");
}
