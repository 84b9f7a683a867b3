use axum_redis_cache::cache_evict;

#[cache_evict(key)]
fn handler() {}

fn main() {}
