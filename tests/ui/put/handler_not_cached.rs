use axum::extract::Path;
use axum_redis_cache::cache_put;

async fn product() {}

#[cache_put(product)]
async fn handler(Path(id): Path<u64>) -> String {
    id.to_string()
}

fn main() {}
