use axum_redis_cache::cached;

#[cached(status(404 = -1))]
async fn read() -> &'static str {
    "text"
}

fn main() {}
