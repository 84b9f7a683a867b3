use axum_redis_cache::cache_evict;

#[cache_evict(all, ttl = 300)]
async fn handler() {}

fn main() {}
