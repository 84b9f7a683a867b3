use axum::extract::Path;
use axum_redis_cache::cached;

#[cached(ttl = 300, vary_by(format!("{id}")))]
async fn handler(Path(id): Path<u64>) -> String {
    id.to_string()
}

fn main() {}
