use axum_redis_cache::{cache_put, cached};

#[cached(ttl = 300)]
async fn read() -> &'static str {
    "body"
}

#[cache_put(read, status(201))]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
