use axum_redis_cache::cached;

#[cached(not_stored("ETag"))]
async fn read() -> &'static str {
    "text"
}

fn main() {}
