use axum_redis_cache::cached;

#[cached(group = ["products", "home", "products"])]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
