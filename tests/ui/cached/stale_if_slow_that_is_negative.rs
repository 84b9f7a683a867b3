use axum_redis_cache::cached;

#[cached(stale_if_error = 60, stale_if_slow = -1)]
async fn read() -> &'static str {
    "text"
}

fn main() {}
