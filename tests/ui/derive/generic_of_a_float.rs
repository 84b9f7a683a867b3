use axum::extract::Path;
use axum_redis_cache::{KeyPart, cached};

#[derive(KeyPart, serde::Deserialize)]
struct Between<T> {
    from: T,
    to: T,
}

#[cached(ttl = 300, key = "between:{range}")]
async fn handler(Path(range): Path<Between<f64>>) -> String {
    format!("{} {}", range.from, range.to)
}

fn main() {}
