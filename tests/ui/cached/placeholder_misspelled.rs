use axum::extract::Path;
use axum_redis_cache::cached;

#[cached(ttl = 300, key = "product:{product_ids}")]
async fn handler(Path(product_id): Path<u64>) -> String {
    product_id.to_string()
}

fn main() {}
