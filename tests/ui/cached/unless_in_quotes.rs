use axum_redis_cache::cached;

#[cached(unless = "path")]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
