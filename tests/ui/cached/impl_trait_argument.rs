use std::fmt::Display;

use axum_redis_cache::cached;

#[cached(ttl = 300)]
async fn handler(value: impl Display) -> String {
    value.to_string()
}

fn main() {}
