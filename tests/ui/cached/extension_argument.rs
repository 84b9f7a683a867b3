use axum::Extension;
use axum_redis_cache::cached;

#[derive(Clone)]
struct User(String);

#[cached(ttl = 300)]
async fn handler(Extension(user): Extension<User>) -> String {
    user.0
}

fn main() {}
