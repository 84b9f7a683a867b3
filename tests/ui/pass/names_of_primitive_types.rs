//! Types of the user that are named like primitive ones.
#![allow(non_camel_case_types, dead_code)]

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum_redis_cache::{Cache, KeyPart, cache_evict, cache_put, cached};

struct u8;
struct u64;
struct usize;
struct bool;
struct str;
struct char;

#[derive(KeyPart)]
struct Page {
    page: u32,
    size: Option<u32>,
}

fn page_of(query: &[(String, u32)]) -> Page {
    Page { page: query.len() as u32, size: None }
}

#[cached(ttl = 30, vary("accept"), vary_by(page_of(&query)), group = "list", status(200, 404))]
async fn list(Query(query): Query<Vec<(String, u32)>>) -> String {
    format!("{query:?}")
}

#[cached(ttl = 30, key = "product:{id}:{part}", group = "product:{id}", stale_if_error = "1m")]
async fn product(Path((id, part)): Path<(u32, String)>, State(cache): State<Cache>) -> String {
    drop(cache);
    format!("{id}{part}")
}

#[cache_put(product(id, part))]
async fn replace(Path((id, part)): Path<(u32, String)>) -> String {
    format!("{id}{part}")
}

#[cache_evict(product(id, part), group = "list", list)]
async fn remove(Path((id, part)): Path<(u32, String)>) -> String {
    format!("{id}{part}")
}

fn main() {
    let product = get(product).put(replace).delete(remove);
    let _ = axum::Router::<Cache>::new().route("/", get(list)).route("/{id}/{part}", product);
}
