use axum::extract::Path;
use axum_redis_cache::cached;

fn number(_: &axum::http::request::Parts) -> u64 {
    1
}

#[cached(ttl = 300, key = number)]
async fn handler(Path(id): Path<u64>) -> String {
    id.to_string()
}

fn main() {}
