#[cached(ttl = 60, vary("accept-language", "accept"), public)]
async fn terms(Path(page): Path<String>) -> String {
    page
}
