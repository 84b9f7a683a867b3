use axum::extract::Path;
use axum_redis_cache::{cache_evict, cached};

#[cached(ttl = 300, key = "product:{id}")]
async fn product(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[cache_evict(product(id, 2))]
async fn handler(Path(id): Path<u64>) {
    let _ = id;
}

fn main() {}
