use axum_redis_cache::cached;

#[cached(vary("accept language"))]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
