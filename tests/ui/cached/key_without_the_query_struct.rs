use axum::extract::Query;
use axum_redis_cache::cached;
use serde::Deserialize;

#[derive(Deserialize)]
struct Search {
    page: u32,
}

#[cached(ttl = 300, key = "books")]
async fn handler(Query(search): Query<Search>) -> String {
    search.page.to_string()
}

fn main() {}
