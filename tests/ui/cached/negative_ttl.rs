use axum_redis_cache::cached;

#[cached(ttl = -1)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
