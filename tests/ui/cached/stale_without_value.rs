use axum_redis_cache::cached;

#[cached(ttl = 30, stale_while_revalidate, stale_if_error(60))]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
