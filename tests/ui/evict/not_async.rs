use axum_redis_cache::cache_evict;

#[cache_evict(all)]
fn handler() {}

fn main() {}
