use axum_redis_cache::cached;

#[cached(status(206, 304, 99, 200, 200))]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
