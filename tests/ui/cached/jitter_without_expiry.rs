use axum_redis_cache::cached;

#[cached(ttl = 0, jitter = "10%")]
async fn read() -> &'static str {
    "text"
}

fn main() {}
