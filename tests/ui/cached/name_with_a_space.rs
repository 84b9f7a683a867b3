use axum_redis_cache::cached;

#[cached(ttl = 300, name = "get product")]
async fn handler() -> &'static str {
    "body"
}

#[cached(ttl = 300, name = "")]
async fn another() -> &'static str {
    "body"
}

#[cached(ttl = 300, name = product)]
async fn third() -> &'static str {
    "body"
}

fn main() {}
