use axum::extract::Path;
use axum_redis_cache::{cache_evict, cached};

#[cached(ttl = 300)]
async fn product(Path((brand, id)): Path<(String, u64)>) -> String {
    format!("{brand} {id}")
}

#[cache_evict(product(id, brand))]
async fn swapped(Path((brand, id)): Path<(String, u64)>) {
    let _ = (brand, id);
}

#[cache_evict(product(id))]
async fn too_few(Path(id): Path<u64>) {
    let _ = id;
}

fn main() {}
