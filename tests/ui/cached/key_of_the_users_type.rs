use axum::extract::Path;
use axum_redis_cache::cached;

#[derive(serde::Deserialize)]
struct Id(u64);

#[cached(ttl = 300, key = "product:{id}")]
async fn handler(Path(id): Path<Id>) -> String {
    id.0.to_string()
}

fn main() {}
