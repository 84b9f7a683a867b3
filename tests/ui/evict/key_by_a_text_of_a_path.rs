use axum::extract::Path;
use axum::http::Uri;
use axum_redis_cache::{Cache, cached};

#[cached(ttl = 300)]
async fn product(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[cached(ttl = 300)]
async fn page(uri: Uri) -> String {
    uri.to_string()
}

async fn evict(cache: Cache) {
    cache.evict(product::key("/products/1")).await;
    cache.evict(page::key("/pages/1")).await;
}

fn main() {
    let _ = evict;
}
