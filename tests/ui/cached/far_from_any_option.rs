use axum_redis_cache::cached;

#[cached(expiration = 5)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
