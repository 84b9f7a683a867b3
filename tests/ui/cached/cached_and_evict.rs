use axum_redis_cache::{cache_evict, cached};

#[cached(ttl = 300)]
#[cache_evict(all)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
