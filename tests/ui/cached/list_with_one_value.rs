use axum_redis_cache::cached;

#[cached(group("products"), vary)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
