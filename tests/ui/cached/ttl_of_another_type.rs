use axum_redis_cache::cached;

const SECONDS: u64 = 300;

#[cached(ttl = SECONDS)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
