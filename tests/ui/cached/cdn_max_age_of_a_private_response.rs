use axum_redis_cache::cached;

#[cached(ttl = 300, private, cdn_max_age = 60)]
async fn read() -> &'static str {
    "text"
}

fn main() {}
