use axum::http::HeaderMap;
use axum_redis_cache::cached;

#[cached(ttl = 300)]
async fn handler(_: HeaderMap) -> String {
    String::new()
}

fn main() {}
