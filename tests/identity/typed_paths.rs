//! Typed paths of axum-extra, which find their route at the first argument of a handler.

use axum::Router;
use axum::extract::{Path, Query};
use axum_extra::routing::{RouterExt, TypedPath};
use axum_redis_cache::{Cache, Determined, Source, UrlReader, cache_evict, cache_put, cached};
use serde::Deserialize;

use crate::replies::{get, hit, miss, write};
use crate::support::{Store, on_every_store, serve};

#[derive(Deserialize, TypedPath)]
#[typed_path("/items/{id}")]
struct Item {
    id: u64,
}

impl Determined for Item {
    const BY: Source = Source::Path;

    fn read(url: &mut UrlReader<'_>) {
        Path::<Self>::read(url);
    }
}

#[derive(Deserialize)]
struct Page {
    page: u32,
}

#[cached(ttl = 60)]
async fn item(Item { id }: Item, Query(Page { page }): Query<Page>) -> String {
    format!("{id} {page}")
}

#[cache_put(item)]
async fn replace(Item { id }: Item, Query(Page { page }): Query<Page>, body: String) -> String {
    format!("{id} {page} {body}")
}

#[cache_evict(item)]
async fn remove(_: Item) {}

/// Not `Determined`: the template holds its field.
#[derive(Deserialize, TypedPath)]
#[typed_path("/titles/{id}")]
struct Titled {
    id: u64,
}

#[cached(ttl = 60, key = "title:{id}")]
async fn titled(Titled { id }: Titled) -> String {
    format!("title {id}")
}

#[cache_evict(titled(id))]
async fn remove_title(Titled { id }: Titled) {}

fn router() -> Router<Cache> {
    Router::new()
        .typed_get(item)
        .typed_delete(remove)
        .typed_get(titled)
        .typed_put(replace)
        .typed_delete(remove_title)
}

on_every_store!(
    a_typed_path_is_read_as_its_type_says,
    a_template_holds_the_fields_of_a_typed_path,
);

async fn a_typed_path_is_read_as_its_type_says(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    assert_eq!(get(&client, "/items/1?page=2").await, miss("1 2"));
    assert_eq!(get(&client, "/items/01?page=2&utm=x").await, hit("1 2"));
    assert_eq!(get(&client, "/items/2?page=2").await, miss("2 2"));
    write(&client, "PUT", "/items/02?page=2").await;
    assert_eq!(get(&client, "/items/2?page=2").await, hit("2 2 "));
    write(&client, "DELETE", "/items/001").await;
    assert_eq!(get(&client, "/items/1?page=2").await, miss("1 2"));
    assert_eq!(get(&client, "/items/2?page=2").await, hit("2 2 "));
}

async fn a_template_holds_the_fields_of_a_typed_path(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    assert_eq!(get(&client, "/titles/1").await, miss("title 1"));
    assert_eq!(get(&client, "/titles/1").await, hit("title 1"));
    write(&client, "DELETE", "/titles/1").await;
    assert_eq!(get(&client, "/titles/1").await, miss("title 1"));
}
