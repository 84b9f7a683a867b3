use axum_redis_cache::cache_put;

#[cache_put(ttl = 300)]
fn handler() {}

fn main() {}
