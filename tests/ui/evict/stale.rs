use axum_redis_cache::cache_evict;

#[cache_evict(all, stale_if_error = 60)]
async fn handler() {}

fn main() {}
