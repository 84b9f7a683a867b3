use axum_redis_cache::cached;

#[cached(jitter = 10)]
async fn read() -> &'static str {
    "text"
}

fn main() {}
