use axum::extract::Path;
use axum_redis_cache::cached;

#[cached(ttl = 300, key = "near:{degrees}")]
async fn handler(Path(degrees): Path<f64>) -> String {
    degrees.to_string()
}

fn main() {}
