use axum_redis_cache::cached;

#[cached(ttl = 300, private, public)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
