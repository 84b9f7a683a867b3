use axum_redis_cache::cached;

#[cached(ttl = 300, key = "product:{id}")]
async fn handler() -> String {
    String::new()
}

fn main() {}
