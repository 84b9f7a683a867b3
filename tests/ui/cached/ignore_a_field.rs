use axum::Extension;
use axum_redis_cache::cached;

#[cached(ttl = 300, ignore(user.id))]
async fn handler(Extension(user): Extension<(u64,)>) -> String {
    format!("{user:?}")
}

fn main() {}
