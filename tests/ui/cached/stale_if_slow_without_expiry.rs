use axum_redis_cache::cached;

#[cached(ttl = 0, stale_if_error = 60, stale_if_slow = "1s")]
async fn read() -> &'static str {
    "text"
}

fn main() {}
