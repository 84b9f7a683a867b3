use axum::extract::{Path, Request};
use axum_redis_cache::cached;

#[cached(ttl = 300, key = "of:{id}")]
async fn handler(Path(id): Path<u64>, request: Request) -> String {
    format!("{id} {request:?}")
}

fn main() {}
