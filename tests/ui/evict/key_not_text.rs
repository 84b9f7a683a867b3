use axum_redis_cache::cache_evict;

#[cache_evict(key = 5)]
async fn handler() {}

fn main() {}
