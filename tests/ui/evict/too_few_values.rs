use axum::extract::Path;
use axum_redis_cache::{cache_evict, cached};

#[cached(ttl = 300, key = "{owner}/{name}")]
async fn product(Path((owner, name)): Path<(String, Option<u8>)>) -> String {
    format!("{owner}{name:?}")
}

#[cache_evict(product("a"))]
async fn handler(Path(id): Path<u64>) {
    let _ = id;
}

fn main() {}
