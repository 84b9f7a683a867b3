//! What is right compiles, and makes the other cases be built to the end: some mistakes are only
//! found in the instances of generic handlers.

use std::time::Duration;

use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};

fn never(_: &Response) -> bool {
    false
}

fn is_preview(parts: &Parts) -> bool {
    parts.headers.contains_key("x-preview")
}

const PRODUCTS: &str = "products";

fn even(id: u64) -> bool {
    id % 2 == 0
}

fn group_of(id: u64) -> String {
    format!("even:{}", even(id))
}

#[cached(
    name = "product",
    ttl = Duration::from_secs(30),
    key = "product:{id}:{id + 1}",
    group = [PRODUCTS, "product:{id}", group_of(*id)],
    vary("accept-language"),
    vary_by(id, even(*id)),
    ignore(headers),
    max_age = "1m",
    stale_while_revalidate = "1m",
    stale_if_error = Duration::from_secs(3600),
    stale_if_slow = "200ms",
    private,
    status(200, 404 = "10s", 410 = Duration::from_secs(5)),
    jitter = "10%",
    not_stored("x-request-id", "x-trace"),
    bypass = is_preview,
    unless = never
)]
async fn product(Path(id): Path<u64>, headers: HeaderMap) -> String {
    format!("{id}{headers:?}")
}

macro_rules! handler {
    ($name:ident, $lifetime:literal) => {
        #[cached(ttl = 0, jitter = "5%", status(200 = $lifetime, 404 = "10s"))]
        async fn $name() -> &'static str {
            "text"
        }
    };
}

handler!(made_by_a_macro, "1h");

#[cached(ttl = 300, max_age = 10, cdn_max_age = "1m")]
async fn for_cdns() -> &'static str {
    "text"
}

#[cached(query("page"), ignore(query))]
async fn list<T: serde::de::DeserializeOwned + Send + 'static>(query: Query<T>) -> &'static str {
    drop(query);
    "list"
}

#[cached(ttl = 300)]
async fn read_by_a_generic_type<T>(query: Query<T>) -> &'static str
where
    T: serde::de::DeserializeOwned + Send + 'static,
{
    drop(query);
    "list"
}

#[cached(ttl = 300, query, group = PRODUCTS)]
async fn page(Query(page): Query<Vec<(String, u32)>>) -> String {
    format!("{page:?}")
}

#[cached(ttl = 300)]
async fn part(Path((id, name)): Path<(u64, String)>, Query(part): Query<Vec<(String, u32)>>) -> String {
    format!("{id} {name} {part:?}")
}

#[cache_put(product(id, id + 1), vary_by(id, even(*id)), group = [PRODUCTS, group_of(id + 1)])]
async fn replace(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[cache_evict(
    product(id, id + 1),
    page,
    part(id, "name", vec![("a", 1)]),
    group = "products",
    group = group_of(*id),
    all,
    always
)]
async fn delete(Path(id): Path<u64>) {
    let _ = id;
}

fn main() {
    let product = get(product).put(replace).delete(delete);
    let _ = axum::Router::<Cache>::new()
        .route("/{id}", product)
        .route("/", get(list::<Vec<(String, String)>>))
        .route("/generic", get(read_by_a_generic_type::<Vec<(String, String)>>))
        .route("/macro", get(made_by_a_macro))
        .route("/cdn", get(for_cdns))
        .route("/page", get(page))
        .route("/part/{id}/{name}", get(part));
}
