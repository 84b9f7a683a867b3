//! Types of an application in keys, by `#[derive(KeyPart)]`.
#![cfg(feature = "memory")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::fmt::Debug;
use std::marker::PhantomData;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query};
use axum::http::Request;
use axum::routing::get;
use axum_redis_cache::{Cache, CacheKey, KeyPart, X_REDIS_CACHE, cache_evict, cached};
use serde::Deserialize;
use tower::ServiceExt;

#[derive(Clone, Debug, Deserialize, KeyPart)]
struct ProductId(u64);

#[derive(Clone, Debug, Deserialize, KeyPart)]
struct Repository {
    owner: String,
    r#type: Option<String>,
}

#[derive(Clone, Debug, Deserialize, KeyPart)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Name,
    Price,
}

/// An id that cannot be mistaken for one of another type.
#[derive(Debug, Deserialize, KeyPart)]
#[serde(transparent)]
struct Id<T> {
    number: u64,
    #[serde(skip)]
    of: PhantomData<T>,
}

/// Not a part of a key itself.
#[derive(Debug)]
struct Order;

#[cached(ttl = 60, key = "product:{id}:{sort}")]
async fn product(Path(id): Path<ProductId>, Query(Sorted { sort }): Query<Sorted>) -> String {
    format!("{id:?} {sort:?}")
}

#[derive(Deserialize)]
struct Sorted {
    sort: Option<Sort>,
}

#[cached(ttl = 60, key = "repository:{repository}")]
async fn repository(Path(repository): Path<Repository>) -> String {
    format!("{repository:?}")
}

#[cached(ttl = 60, key = "order:{id}")]
async fn order(id: Path<Id<Order>>) -> String {
    format!("{id:?}")
}

#[cache_evict(product(id, Some(Sort::Name)), order(Id::<Order> { number: id.0, of: PhantomData }))]
async fn evict(Path(id): Path<ProductId>) {
    let _ = id;
}

fn router() -> Router {
    Router::new()
        .route("/products/{id}", get(product).delete(evict))
        .route("/repositories/{owner}/{type}", get(repository))
        .route("/orders/{id}", get(order))
        .with_state(Cache::in_memory())
}

async fn send(app: &Router, method: &str, uri: &str) -> String {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let outcome = response.headers().get(X_REDIS_CACHE);
    outcome
        .map_or("", |value| value.to_str().unwrap())
        .to_owned()
}

#[tokio::test]
async fn values_of_own_types_select_an_entry() {
    let app = router();
    let uris = [
        "/products/7",
        "/products/8",
        "/products/7?sort=name",
        "/products/7?sort=price",
        "/repositories/a/b",
        "/repositories/a%2Cb/b",
        "/repositories/a/b%2Cb",
        "/orders/7",
    ];
    for outcome in ["MISS", "HIT"] {
        for uri in uris {
            assert_eq!(send(&app, "GET", uri).await, outcome, "{uri}");
        }
    }
    send(&app, "DELETE", "/products/7").await;
    assert_eq!(send(&app, "GET", "/products/7?sort=name").await, "MISS");
    assert_eq!(send(&app, "GET", "/orders/7").await, "MISS");
    assert_eq!(send(&app, "GET", "/products/7").await, "HIT");
    assert_eq!(send(&app, "GET", "/products/7?sort=price").await, "HIT");
}
