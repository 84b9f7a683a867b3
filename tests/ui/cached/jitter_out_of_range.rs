use axum_redis_cache::cached;

#[cached(jitter = "100%")]
async fn read() -> &'static str {
    "text"
}

fn main() {}
