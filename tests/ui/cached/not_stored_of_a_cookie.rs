use axum_redis_cache::cached;

#[cached(not_stored("set-cookie"))]
async fn read() -> &'static str {
    "text"
}

fn main() {}
