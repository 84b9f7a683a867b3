use axum::extract::Path;
use axum_redis_cache::{cache_put, cached};

#[cached(ttl = 300)]
async fn product(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[cache_put(product)]
fn handler() {}

fn main() {}
