use axum_redis_cache::cached;

#[cached(ttl = 300, grup = "products")]
async fn handler() -> &'static str {
    "body"
}

#[cached(tll = 300)]
async fn other() -> &'static str {
    "body"
}

fn main() {}
