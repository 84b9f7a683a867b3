use axum_redis_cache::cache_put;

#[cache_put(always)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
