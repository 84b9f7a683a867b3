use axum::Extension;
use axum_redis_cache::cached;

#[cached(ttl = 300, ignore(id))]
async fn handler(Extension((id, name)): Extension<(u64, String)>) -> String {
    format!("{id} {name}")
}

fn main() {}
