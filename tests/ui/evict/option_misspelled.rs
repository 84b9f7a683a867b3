use axum::extract::Path;
use axum_redis_cache::cache_evict;

#[cache_evict(grupo = "products")]
async fn handler(Path(id): Path<u64>) {
    let _ = id;
}

fn main() {}
