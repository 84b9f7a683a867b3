use axum_redis_cache::cached;

#[cached(group = "brand:{brand}")]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
