use axum_redis_cache::cached;

#[cached(ttl = 300)]
struct Handler;

fn main() {}
