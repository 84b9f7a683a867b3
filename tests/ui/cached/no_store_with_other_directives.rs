use axum_redis_cache::cached;

#[cached(no_store, private, max_age = 60)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
