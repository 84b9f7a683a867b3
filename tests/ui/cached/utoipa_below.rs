use axum::extract::Query;
use axum_redis_cache::cached;
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Deserialize, IntoParams)]
struct Search {
    page: u32,
}

#[cached(ttl = 300)]
#[utoipa::path(get, path = "/books", params(Search), responses((status = 200)))]
async fn handler(Query(search): Query<Search>) -> String {
    search.page.to_string()
}

fn main() {}
