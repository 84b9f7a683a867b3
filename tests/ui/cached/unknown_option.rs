use axum_redis_cache::cached;

#[cached(tttl = 300)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
