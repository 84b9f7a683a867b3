use axum_redis_cache::cached;

struct Api;

impl Api {
    #[cached(ttl = 300)]
    async fn handler() -> &'static str {
        "body"
    }
}

fn main() {}
