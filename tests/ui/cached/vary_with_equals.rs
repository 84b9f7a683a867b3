use axum_redis_cache::cached;

#[cached(vary = "accept")]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
