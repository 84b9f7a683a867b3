//! The application whose responses are cached. Every write answers the version that it made.

use std::convert::Infallible;
use std::str::FromStr;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, Path, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};

use super::database::Database;
use crate::items::{Kind, Scope};

#[derive(Clone, FromRef)]
pub(crate) struct AppState {
    pub(crate) cache: Cache,
    pub(crate) database: Database,
}

#[cached(ttl = "10m", group = "items", name = "items")]
async fn get_item(Path(id): Path<u32>, State(database): State<Database>) -> String {
    database.read(id).await
}

#[cache_put(get_item)]
async fn put_item(Path(id): Path<u32>, State(database): State<Database>) -> String {
    database.write(Scope::Item(id)).await
}

#[cache_evict(get_item)]
async fn delete_item(Path(id): Path<u32>, State(database): State<Database>) -> String {
    database.write(Scope::Item(id)).await
}

#[cache_evict(group = "items")]
async fn change_items(State(database): State<Database>) -> String {
    database.write(Scope::Kind(Kind::Plain)).await
}

#[cached(ttl = "10m", key = "shelved:{shelf}:{id}", group = ["shelves", "shelf:{shelf}"])]
async fn get_shelved(
    Path((shelf, id)): Path<(u32, u32)>,
    State(database): State<Database>,
) -> String {
    let _ = shelf;
    database.read(id).await
}

#[cache_put(get_shelved(shelf, id))]
async fn put_shelved(
    Path((shelf, id)): Path<(u32, u32)>,
    State(database): State<Database>,
) -> String {
    let _ = shelf;
    database.write(Scope::Item(id)).await
}

#[cache_evict(get_shelved(shelf, id))]
async fn delete_shelved(
    Path((shelf, id)): Path<(u32, u32)>,
    State(database): State<Database>,
) -> String {
    let _ = shelf;
    database.write(Scope::Item(id)).await
}

#[cache_evict(group = "shelf:{shelf}")]
async fn change_shelf(Path(shelf): Path<u32>, State(database): State<Database>) -> String {
    database.write(Scope::Shelf(shelf)).await
}

#[cache_evict(group = "shelves")]
async fn change_shelves(State(database): State<Database>) -> String {
    database.write(Scope::Kind(Kind::Shelved)).await
}

#[cached(
    ttl = "10m",
    vary("accept-language"),
    ignore(headers),
    group = "labels",
    name = "labels"
)]
async fn get_label(
    Path(id): Path<u32>,
    headers: HeaderMap,
    State(database): State<Database>,
) -> String {
    let _ = headers;
    database.read(id).await
}

#[cache_put(get_label)]
async fn put_label(Path(id): Path<u32>, State(database): State<Database>) -> String {
    database.write(Scope::Item(id)).await
}

#[cache_evict(get_label)]
async fn delete_label(Path(id): Path<u32>, State(database): State<Database>) -> String {
    database.write(Scope::Item(id)).await
}

#[cache_evict(group = "labels")]
async fn change_labels(State(database): State<Database>) -> String {
    database.write(Scope::Kind(Kind::Label)).await
}

#[cached(ttl = "10m", vary_by(user.id), group = "prices", name = "prices")]
async fn get_price(Path(id): Path<u32>, user: User, State(database): State<Database>) -> String {
    let _ = user;
    database.read(id).await
}

#[cache_put(get_price, vary_by(user.id))]
async fn put_price(Path(id): Path<u32>, user: User, State(database): State<Database>) -> String {
    let _ = user;
    database.write(Scope::Item(id)).await
}

#[cache_evict(get_price)]
async fn delete_price(Path(id): Path<u32>, State(database): State<Database>) -> String {
    database.write(Scope::Item(id)).await
}

#[cache_evict(group = "prices")]
async fn change_prices(State(database): State<Database>) -> String {
    database.write(Scope::Kind(Kind::Price)).await
}

#[cached(ttl = 1, group = "briefs")]
async fn get_brief(Path(id): Path<u32>, State(database): State<Database>) -> String {
    database.read(id).await
}

#[cache_put(get_brief)]
async fn put_brief(Path(id): Path<u32>, State(database): State<Database>) -> String {
    database.write(Scope::Item(id)).await
}

#[cache_evict(get_brief)]
async fn delete_brief(Path(id): Path<u32>, State(database): State<Database>) -> String {
    database.write(Scope::Item(id)).await
}

#[cache_evict(group = "briefs")]
async fn change_briefs(State(database): State<Database>) -> String {
    database.write(Scope::Kind(Kind::Brief)).await
}

#[cache_evict(all)]
async fn change_all(State(database): State<Database>) -> String {
    database.write(Scope::All).await
}

#[cached(ttl = "1m")]
async fn get_cold(Path(key): Path<u64>, State(database): State<Database>) -> String {
    database.cold(key).await
}

/// Who asks.
struct User {
    id: u32,
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let id = parts.headers.get("x-user");
        let id = id.and_then(|id| u32::from_str(id.to_str().ok()?).ok());
        Ok(Self {
            id: id.unwrap_or(0),
        })
    }
}

pub(crate) fn router(state: AppState) -> Router {
    let item = get(get_item).put(put_item).delete(delete_item);
    let shelved = get(get_shelved).put(put_shelved).delete(delete_shelved);
    let label = get(get_label).put(put_label).delete(delete_label);
    let price = get(get_price).put(put_price).delete(delete_price);
    let brief = get(get_brief).put(put_brief).delete(delete_brief);
    Router::new()
        .route("/items/{id}", item)
        .route("/items", post(change_items))
        .route("/shelves/{shelf}/items/{id}", shelved)
        .route("/shelves/{shelf}", post(change_shelf))
        .route("/shelves", post(change_shelves))
        .route("/labels/{id}", label)
        .route("/labels", post(change_labels))
        .route("/prices/{id}", price)
        .route("/prices", post(change_prices))
        .route("/briefs/{id}", brief)
        .route("/briefs", post(change_briefs))
        .route("/cold/{key}", get(get_cold))
        .route("/", post(change_all))
        .with_state(state)
}
