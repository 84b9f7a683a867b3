use axum::extract::{Path, Query};
use axum_redis_cache::cached;

#[cached(ttl = 300, key = "product:{id}")]
async fn handler(Path(id): Path<u64>, Query(page): Query<Vec<(String, u8)>>) -> String {
    format!("{id}{page:?}")
}

fn main() {}
