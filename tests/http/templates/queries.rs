//! The part of the query that is in the key: what the handler can see of it.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query, RawQuery, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{Determined, Source, cached};

use super::Page;
use crate::support::{App, Store, on_every_store, serve};

#[cached(ttl = 30)]
async fn search(Query(page): Query<Page>, State(app): State<App>) -> Response {
    let _ = (page.page, page.tags);
    app.run().await
}

#[cached(ttl = 30, query("page", "sort"), ignore(query))]
async fn search_some(RawQuery(query): RawQuery, State(app): State<App>) -> Response {
    drop(query);
    app.run().await
}

#[cached(ttl = 30, ignore(query))]
async fn search_none(RawQuery(query): RawQuery, State(app): State<App>) -> Response {
    drop(query);
    app.run().await
}

#[cached(ttl = 30)]
async fn pairs(Query(pairs): Query<Vec<(String, String)>>, State(app): State<App>) -> Response {
    drop(pairs);
    app.run().await
}

#[cached(ttl = 30)]
async fn search_optional(
    page: Result<Query<Page>, QueryRejection>,
    State(app): State<App>,
) -> Response {
    drop(page);
    app.run().await
}

/// An extractor of the user's own, of which only a trait says what determines it.
struct Sort;

impl<S: Sync> FromRequestParts<S> for Sort {
    type Rejection = StatusCode;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        Ok(Self)
    }
}

impl Determined for Sort {
    const BY: Source = Source::PathAndQuery;
}

type Hidden = Sort;

#[cached(ttl = 30)]
async fn sorted(_: Hidden, State(app): State<App>) -> Response {
    app.run().await
}

/// `/search?utm_source=..` of a handler that takes no query is the same resource.
#[cached(ttl = 30)]
async fn no_query(State(app): State<App>) -> Response {
    app.run().await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/search", get(search))
        .route("/search/some", get(search_some))
        .route("/search/none", get(search_none))
        .route("/search/optional", get(search_optional))
        .route("/search/pairs", get(pairs))
        .route("/sorted", get(sorted))
        .with_state(app)
}

on_every_store!(
    the_query_is_in_the_key_only_if_the_handler_can_see_it,
    a_query_that_the_handler_cannot_see_is_not_in_the_key,
);

async fn the_query_is_in_the_key_only_if_the_handler_can_see_it(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let outcomes = async |targets: [&str; 3]| {
        let mut outcomes = Vec::new();
        for target in targets {
            outcomes.push(client.get(target).await.outcome().to_owned());
        }
        outcomes.join(" ")
    };
    let targets = [
        "/search?page=1&utm=a",
        "/search?page=1&utm=b",
        "/search?page=1&utm=a",
    ];
    assert_eq!(outcomes(targets).await, "MISS HIT HIT");
    let targets = ["/search?page=2", "/search?page=1&tags=a", "/search?page=1"];
    assert_eq!(outcomes(targets).await, "MISS MISS HIT");
    let targets = [
        "/search/some?page=1&utm=a",
        "/search/some?utm=b&page=1",
        "/search/some",
    ];
    assert_eq!(outcomes(targets).await, "MISS HIT MISS");
    let targets = [
        "/search/none?utm_source=a",
        "/search/none?utm_source=b",
        "/search/none",
    ];
    assert_eq!(outcomes(targets).await, "MISS HIT HIT");
    let targets = [
        "/search/optional?page=1",
        "/search/optional?page=2",
        "/search/optional",
    ];
    assert_eq!(outcomes(targets).await, "MISS MISS MISS");
    let targets = [
        "/search/pairs?a=1&utm=a",
        "/search/pairs?a=1&utm=b",
        "/search/pairs?a=1",
    ];
    assert_eq!(outcomes(targets).await, "MISS MISS MISS");
    let targets = ["/sorted?a", "/sorted?b", "/sorted?a"];
    assert_eq!(outcomes(targets).await, "MISS MISS HIT");
}

async fn a_query_that_the_handler_cannot_see_is_not_in_the_key(store: Store) {
    let router = Router::new().route("/search", get(no_query));
    let client = serve(router.with_state(App::counting(store.cache()))).await;
    assert_eq!(client.get("/search?utm_source=a").await.outcome(), "MISS");
    assert_eq!(client.get("/search?utm_source=b").await.outcome(), "HIT");
}

/// The key of a request, as its user names it.
#[test]
fn keys_with_a_query_can_be_named_in_code() {
    assert_ne!(
        search_some::key("/search?page=1"),
        search_some::key("/search")
    );
    assert_eq!(
        search_some::key("/search?sort=1&page=%41&b=1"),
        search_some::key("/search?page=A&sort=1")
    );
    assert_ne!(
        pairs::key("/pairs?b=1&a=A"),
        pairs::key("/pairs?a=A&b=1"),
        "it sees the order"
    );
}
