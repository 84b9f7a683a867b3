#![deny(dead_code)]

use axum_redis_cache::cached;

#[cached(ttl = 300)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
