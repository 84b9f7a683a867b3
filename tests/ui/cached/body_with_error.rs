use axum_redis_cache::cached;

#[cached(ttl = 300)]
async fn handler() -> &'static str {
    let number: u64 = "text";
    "body"
}

fn main() {}
