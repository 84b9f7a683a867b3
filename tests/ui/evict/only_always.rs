use axum_redis_cache::cache_evict;

#[cache_evict(always)]
async fn handler() {}

fn main() {}
