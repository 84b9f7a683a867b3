use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use axum_redis_cache::cached;

#[cached(ttl = 300, key = "product:{id}")]
async fn handler(
    (Path(id), Query(page), headers): (Path<u64>, Query<Vec<(String, u8)>>, HeaderMap),
) -> String {
    format!("{id} {page:?} {headers:?}")
}

fn main() {}
