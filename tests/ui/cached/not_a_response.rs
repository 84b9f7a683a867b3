use axum_redis_cache::cached;

struct Product;

#[cached(ttl = 300)]
async fn handler() -> Product {
    Product
}

fn main() {}
