#[cached(ttl = 60, key = keys::of_search, group = "searches")]
async fn search(headers: HeaderMap, Query(search): Query<Search>) -> Json<Vec<Hit>> {
    Json(search.run(&headers).await)
}
