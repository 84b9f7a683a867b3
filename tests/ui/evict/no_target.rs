use axum_redis_cache::cache_evict;

#[cache_evict]
async fn handler() {}

fn main() {}
