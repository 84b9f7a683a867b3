//! Lints that the user's crate forbids, and names that it gives to types of its own.
#![forbid(dead_code, non_camel_case_types, unreachable_pub, unused_imports, private_interfaces)]
#![deny(warnings, unused)]

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Router, debug_handler};
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};

#[cached(ttl = 30)]
async fn list(Query(page): Query<Vec<(String, u64)>>) -> String {
    format!("{page:?}")
}

#[cached(ttl = 30, key = "product:{id}:{part}", vary("accept"), group = "product:{id}")]
async fn product(Path((id, part)): Path<(u64, String)>, State(cache): State<Cache>) -> String {
    drop(cache);
    format!("{id}{part}")
}

#[cache_put(product(id, part))]
async fn replace(Path((id, part)): Path<(u64, String)>) -> String {
    format!("{id}{part}")
}

#[cache_evict(product(id, part), list)]
async fn remove(Path((id, part)): Path<(u64, String)>) -> String {
    format!("{id}{part}")
}

#[cached(ttl = 30)]
#[debug_handler]
async fn debugged(Path(id): Path<u64>, State(cache): State<Cache>) -> String {
    drop(cache);
    id.to_string()
}

#[cached(ttl = 30)]
#[debug_handler(state = Cache)]
async fn debugged_without_arguments() -> &'static str {
    "debugged"
}

mod inner {
    use axum::extract::Path;
    use axum_redis_cache::cached;

    #[cached(ttl = 30)]
    pub(crate) async fn shown(Path(id): Path<u64>) -> String {
        id.to_string()
    }
}

fn main() {
    let product = get(product).put(replace).delete(remove);
    let _ = Router::<Cache>::new()
        .route("/", get(list))
        .route("/{id}/{part}", product)
        .route("/debugged/{id}", get(debugged))
        .route("/debugged", get(debugged_without_arguments))
        .route("/inner/{id}", get(inner::shown));
}
