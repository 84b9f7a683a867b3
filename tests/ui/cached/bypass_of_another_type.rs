use axum_redis_cache::cached;

fn is_preview(path: &str) -> bool {
    path.starts_with("/preview")
}

#[cached(ttl = 30, bypass = is_preview)]
async fn read() -> &'static str {
    "text"
}

fn main() {}
