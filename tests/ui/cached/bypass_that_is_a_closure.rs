use axum_redis_cache::cached;

#[cached(ttl = 30, bypass = |_| true)]
async fn read() -> &'static str {
    "text"
}

fn main() {}
