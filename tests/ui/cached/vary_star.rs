use axum_redis_cache::cached;

#[cached(vary("*"))]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
