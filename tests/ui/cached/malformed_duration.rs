use axum_redis_cache::cached;

#[cached(ttl = "5 parsecs", max_age = true)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
