use axum_redis_cache::cached;

#[cached(ttl = 30, stale_while_revalidate = -1, stale_if_error = "soon")]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
