use axum_redis_cache::cached;

#[cached(ttl = 300)]
fn handler() -> &'static str {
    "body"
}

fn main() {}
