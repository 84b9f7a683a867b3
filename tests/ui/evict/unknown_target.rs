use axum_redis_cache::cache_evict;

#[cache_evict(products)]
async fn handler() {}

fn main() {}
