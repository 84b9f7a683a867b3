use axum::http::HeaderMap;
use axum_redis_cache::cached;

#[cached(ttl = 300, vary_by(headers))]
async fn handler(headers: HeaderMap) -> String {
    format!("{headers:?}")
}

fn main() {}
