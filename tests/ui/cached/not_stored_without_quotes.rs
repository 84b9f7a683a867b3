use axum_redis_cache::cached;

#[cached(not_stored(x_request_id))]
async fn read() -> &'static str {
    "text"
}

fn main() {}
