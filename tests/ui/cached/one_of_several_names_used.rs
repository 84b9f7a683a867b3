use axum_redis_cache::cached;

#[derive(Clone)]
struct User {
    id: u64,
    name: String,
}

#[cached(ttl = 300, vary_by(id))]
async fn handler(axum::Extension(User { id, name }): axum::Extension<User>) -> String {
    format!("{id} {name}")
}

fn main() {}
