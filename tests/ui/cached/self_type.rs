use axum::extract::State;
use axum_redis_cache::cached;

#[derive(Clone)]
struct Api;

impl Api {
    #[cached(ttl = 300, no_companion)]
    async fn handler(State(_): State<Self>) -> &'static str {
        "body"
    }
}

fn main() {}
