use axum::extract::Query;
use axum_redis_cache::cached;

#[cached(ttl = 300, query("page"))]
async fn handler(Query(query): Query<Vec<(String, String)>>) -> String {
    format!("{query:?}")
}

fn main() {}
