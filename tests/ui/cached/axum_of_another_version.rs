use axum_0_7::extract::Path;
use axum_redis_cache::cached;

#[cached(ttl = 300)]
async fn handler(Path(id): Path<u64>) -> String {
    id.to_string()
}

fn main() {}
