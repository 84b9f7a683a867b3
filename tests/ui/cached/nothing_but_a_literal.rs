use axum_redis_cache::cached;

#[cached(300)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
