use axum::extract::Path;
use axum_redis_cache::cache_put;

#[cache_put(key = "product:{id}")]
async fn handler(Path(id): Path<u64>) -> String {
    id.to_string()
}

fn main() {}
