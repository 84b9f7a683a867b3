use axum_redis_cache::cached;

#[cached(status(200, 404 = "10x"))]
async fn read() -> &'static str {
    "text"
}

fn main() {}
