use axum::extract::Path;
use axum_redis_cache::cached;

#[cached(ttl = 300, key = "repo:{owner}")]
async fn handler(Path((owner, name)): Path<(String, String)>) -> String {
    format!("{owner}{name}")
}

fn main() {}
