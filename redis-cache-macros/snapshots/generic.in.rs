#[cached(no_companion, query, ignore(headers))]
async fn list<R: Repository>(State(db): State<R>, headers: HeaderMap) -> Json<Vec<R::Item>> {
    Json(db.list(headers).await)
}
