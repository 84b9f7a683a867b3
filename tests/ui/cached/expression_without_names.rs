use axum_redis_cache::cached;

const TENANT: u64 = 1;

#[cached(ttl = 300, vary_by(TENANT), key = "home:{TENANT + 1}")]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
