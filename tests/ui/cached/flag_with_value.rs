use axum_redis_cache::cached;

#[cached(private = true)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
