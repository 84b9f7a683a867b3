//! What is right compiles, and makes the other cases be built to the end: some mistakes are only
//! found in the instances of generic handlers.

use std::time::Duration;

use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};

fn never(_: &Response) -> bool {
    false
}

#[cached(
    ttl = Duration::from_secs(30),
    key = "product:{id}",
    group = ["products", "product:{id}"],
    vary("accept-language"),
    vary_by(id),
    ignore(headers),
    max_age = "1m",
    stale_while_revalidate = "1m",
    stale_if_error = Duration::from_secs(3600),
    private,
    status(200, 404),
    unless = never
)]
async fn product(Path(id): Path<u64>, headers: HeaderMap) -> String {
    format!("{id}{headers:?}")
}

#[cached(query("page"))]
async fn list<T: serde::de::DeserializeOwned + Send>(query: Query<T>) -> &'static str {
    drop(query);
    "list"
}

#[cache_put(product(id), vary_by(id))]
async fn replace(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[cache_evict(product(id), list, key, key = "home", group = "products", all, always)]
async fn delete(Path(id): Path<u64>) {
    let _ = id;
}

fn main() {
    let product = get(product).put(replace).delete(delete);
    let _ = axum::Router::<Cache>::new()
        .route("/{id}", product)
        .route("/", get(list::<Vec<(String, String)>>));
}
