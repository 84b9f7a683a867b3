use axum_redis_cache::cached;

#[cached(ttl = 60, stale_if_slow = "200ms")]
async fn read() -> &'static str {
    "text"
}

fn main() {}
