use axum_redis_cache::cached;

#[cached(status(NOT_FOUND = 10))]
async fn read() -> &'static str {
    "text"
}

fn main() {}
