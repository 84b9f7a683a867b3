use axum_redis_cache::cache_put;

#[cache_put]
async fn handler() -> &'static str {
    "body"
}

#[cache_put(ttl = 300, group = "products")]
async fn another() -> &'static str {
    "body"
}

fn main() {}
