use std::fmt::Display;

use axum_redis_cache::cached;

#[cached(ttl = 300)]
async fn handler<T: Display>(value: T) -> String {
    value.to_string()
}

fn main() {}
