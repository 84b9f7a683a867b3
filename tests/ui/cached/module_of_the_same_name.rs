use axum_redis_cache::cached;

mod products {}

#[cached(ttl = 300)]
async fn products() -> &'static str {
    "body"
}

fn main() {}
