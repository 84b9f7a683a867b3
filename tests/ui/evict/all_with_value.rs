use axum_redis_cache::cache_evict;

#[cache_evict(all = true)]
async fn handler() {}

fn main() {}
