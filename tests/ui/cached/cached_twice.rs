use axum_redis_cache::cached;

#[cached(ttl = 300)]
#[cached(ttl = 60)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
