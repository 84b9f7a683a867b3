use axum_redis_cache::cache_evict;

#[cache_evict(key, ttl = 300)]
async fn handler() {}

fn main() {}
