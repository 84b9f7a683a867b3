use axum_redis_cache::{cache_put, cached};

#[cached(ttl = 30)]
async fn read() -> &'static str {
    "body"
}

#[cache_put(read, stale_while_revalidate = 60)]
async fn write() -> &'static str {
    "body"
}

fn main() {}
