use axum_redis_cache::cached;

#[cached(not_stored("*"))]
async fn read() -> &'static str {
    "text"
}

fn main() {}
