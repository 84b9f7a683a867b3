use axum_redis_cache::cached;

#[cached(group = "")]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
