#[cached(ttl = 300, group = "products")]
#[debug_handler]
pub(crate) async fn get_product(
    Path(id): Path<u64>,
    State(db): State<Db>,
) -> Result<Json<Product>, AppError> {
    db.find(id).await.map(Json)
}
