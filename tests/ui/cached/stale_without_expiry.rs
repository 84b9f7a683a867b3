use axum_redis_cache::cached;

#[cached(ttl = 0, stale_while_revalidate = 60, stale_if_error = "1h")]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
