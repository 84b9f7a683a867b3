use axum::extract::Path;
use axum_redis_cache::cache_evict;

#[cache_evict(all)]
async fn product() {}

#[cache_evict(product)]
async fn handler(Path(id): Path<u64>) {
    let _ = id;
}

fn main() {}
