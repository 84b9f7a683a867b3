use axum_redis_cache::cache_evict;

#[cache_evict(key = "")]
async fn handler() {}

fn main() {}
