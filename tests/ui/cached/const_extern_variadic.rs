use axum_redis_cache::cached;

#[cached(ttl = 300)]
const async extern "C" fn handler() {}

fn main() {}
