use axum_redis_cache::cached;

#[cached(status("ok"))]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
