use axum::extract::Path;
use axum_redis_cache::cached;

#[derive(serde::Deserialize)]
struct Id {
    value: u64,
}

#[cached(ttl = 300, key = "product:{id.number}")]
async fn handler(Path(id): Path<Id>) -> String {
    id.value.to_string()
}

fn main() {}
