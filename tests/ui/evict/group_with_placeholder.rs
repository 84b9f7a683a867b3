use axum_redis_cache::cache_evict;

#[cache_evict(group = "brand:{brand}")]
async fn handler() {}

fn main() {}
