use axum::debug_handler;
use axum_redis_cache::{Cache, cached};

#[debug_handler(state = Cache)]
#[cached(ttl = 300)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
