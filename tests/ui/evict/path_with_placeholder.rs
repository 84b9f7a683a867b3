use axum::extract::Path;
use axum_redis_cache::{cache_evict, cached};

#[cached(ttl = 300)]
async fn product(Path(name): Path<String>) -> String {
    name
}

#[cache_evict(product("/products/{name}"))]
async fn handler(Path(name): Path<String>) {
    let _ = name;
}

fn main() {}
