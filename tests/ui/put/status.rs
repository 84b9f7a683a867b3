use axum_redis_cache::cache_put;

#[cache_put(ttl = 300, status(201))]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
