use axum::extract::Query;
use axum::routing::get;
use axum_redis_cache::{Cache, cached};
use serde::de::DeserializeOwned;

#[cached(ttl = 300)]
async fn handler<T: DeserializeOwned + Send>(query: Query<T>) -> &'static str {
    drop(query);
    "body"
}

fn main() {
    let _ = axum::Router::<Cache>::new().route("/", get(handler::<Vec<(String, String)>>));
}
