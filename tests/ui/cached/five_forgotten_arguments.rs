use axum::Extension;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::get;
use axum_redis_cache::{Cache, cached};

#[derive(Clone)]
struct User {
    id: u64,
}

#[cached(ttl = 300)]
async fn one(headers: HeaderMap) -> String {
    format!("{headers:?}")
}

#[cached(ttl = 300)]
async fn two(Path(id): Path<u64>, Extension(user): Extension<User>) -> String {
    format!("{id} {}", user.id)
}

#[cached(ttl = 300, key = "three:{id}")]
async fn three(Path(id): Path<u64>, Extension(user): Extension<User>) -> String {
    format!("{id} {}", user.id)
}

#[cached(ttl = 300, group = "user:{user.id}")]
async fn four(Extension(user): Extension<User>) -> String {
    user.id.to_string()
}

#[cached(ttl = 300)]
async fn five((headers, State(cache)): (HeaderMap, State<Cache>)) -> String {
    drop(cache);
    format!("{headers:?}")
}

fn main() {
    let _ = axum::Router::<Cache>::new()
        .route("/1", get(one))
        .route("/2/{id}", get(two))
        .route("/3/{id}", get(three))
        .route("/4", get(four))
        .route("/5", get(five));
}
