//! A put replaces the entry of its request's values: nobody gets the old response afterwards, and
//! nobody gets the new one elsewhere.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::{get, put};
use axum_redis_cache::{Cache, cache_put, cached};
use serde::Deserialize;

use crate::mounts::Shop;
use crate::replies::{get as ask, hit, write};
use crate::support::{Store, on_every_store, serve};

#[derive(Deserialize)]
#[allow(dead_code)]
struct Item {
    id: u64,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Branded {
    brand: String,
    id: u64,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Page {
    #[serde(default, alias = "p")]
    page: u32,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Needed {
    #[serde(alias = "p")]
    page: u32,
}

/// A cached handler that answers `old`, and one that puts `new` in its place.
macro_rules! replaced {
    ($($name:ident($($argument:ident: $ty:ty),*);)*) => { $(
        mod $name {
            use super::*;

            #[cached(ttl = 60)]
            pub(super) async fn read($($argument: $ty),*) -> &'static str {
                $(let _ = $argument;)*
                "old"
            }

            #[cache_put(read)]
            pub(super) async fn replace() -> &'static str {
                "new"
            }
        }
    )* };
}

replaced! {
    number(id: Path<u64>);
    other_mount(id: Path<u64>);
    tenant_item(item: Path<Item>);
    branded(item: Path<Branded>);
    pair(pair: Path<(String, u64)>);
    map(map: Path<BTreeMap<String, String>>);
    paged(id: Path<u64>, page: Query<Needed>);
    defaulted(id: Path<u64>, page: Query<Page>);
    everywhere(id: Path<u64>);
}

mod shops {
    use super::*;

    #[cached(ttl = 60)]
    pub(super) async fn read(Path(id): Path<u64>, State(shop): State<Shop>) -> String {
        format!("{} {id}", shop.name)
    }

    #[cache_put(read)]
    pub(super) async fn replace(Path(id): Path<u64>, State(shop): State<Shop>) -> String {
        format!("new {} {id}", shop.name)
    }

    pub(super) fn router(cache: &Cache, name: &'static str) -> Router {
        Router::new()
            .route("/items/{id}", get(read).put(replace))
            .with_state(Shop {
                cache: cache.clone(),
                name,
            })
    }
}

/// Stores what the reads get, writes, and sees that none of them gets it again.
async fn replaces(client: &test_support::Client, reads: &[&str], written: &str) {
    for target in reads {
        assert_eq!(ask(client, target).await.1, "old", "{target}");
        assert_eq!(ask(client, target).await, hit("old"), "{target}");
    }
    write(client, "PUT", written).await;
    for target in reads {
        let (said, body) = ask(client, target).await;
        assert!(
            said != "HIT" || body == "new",
            "{target} is {said} {body} after PUT {written}"
        );
    }
}

on_every_store!(
    a_put_replaces_the_entry_by_any_spelling,
    a_put_at_another_path_evicts_the_entry,
    a_put_replaces_the_entry_of_its_query,
    a_put_with_values_in_another_order_leaves_nothing_old,
    a_put_with_a_map_in_another_order_leaves_nothing_old,
    a_put_beside_a_parameter_that_no_type_reads_leaves_nothing_old,
    a_put_without_the_query_leaves_no_old_response_of_the_default,
    a_put_at_one_mount_is_not_what_another_gets,
    a_put_where_the_handler_is_mounted_often_leaves_nothing_old,
);

async fn a_put_replaces_the_entry_by_any_spelling(store: Store) {
    let router = Router::new()
        .route("/items/{id}", get(number::read).put(number::replace))
        .with_state(store.cache());
    let client = serve(router).await;
    assert_eq!(ask(&client, "/items/1").await.1, "old");
    write(&client, "PUT", "/items/01").await;
    assert_eq!(ask(&client, "/items/1").await, hit("new"));
    assert_eq!(ask(&client, "/items/2").await.1, "old");
}

// The handler mounted there may have another state, so its response is not stored for this one.
async fn a_put_at_another_path_evicts_the_entry(store: Store) {
    let router = Router::new()
        .route("/items/{id}", get(other_mount::read))
        .route("/admin/{item}", put(other_mount::replace))
        .with_state(store.cache());
    let client = serve(router).await;
    replaces(&client, &["/items/1"], "/admin/01").await;
}

async fn a_put_replaces_the_entry_of_its_query(store: Store) {
    let router = Router::new()
        .route("/items/{id}", get(paged::read).put(paged::replace))
        .with_state(store.cache());
    let client = serve(router).await;
    replaces(&client, &["/items/1?page=2"], "/items/01?utm=1&p=02").await;
    assert_eq!(ask(&client, "/items/1?page=2").await, hit("new"));
}

async fn a_put_with_values_in_another_order_leaves_nothing_old(store: Store) {
    let router = Router::new()
        .route("/item/{brand}/{id}", get(branded::read))
        .route("/pair/{brand}/{id}", get(pair::read))
        .route("/admin/item/{id}/{brand}", put(branded::replace))
        .route("/admin/pair/{id}/{brand}", put(pair::replace))
        .with_state(store.cache());
    let client = serve(router).await;
    replaces(&client, &["/item/7/8"], "/admin/item/8/7").await;
    replaces(&client, &["/pair/7/8"], "/admin/pair/8/7").await;
}

async fn a_put_with_a_map_in_another_order_leaves_nothing_old(store: Store) {
    let router = Router::new()
        .route("/map/{a}/{b}", get(map::read))
        .route("/admin/map/{b}/{a}", put(map::replace))
        .with_state(store.cache());
    let client = serve(router).await;
    replaces(&client, &["/map/7/8"], "/admin/map/8/7").await;
}

async fn a_put_beside_a_parameter_that_no_type_reads_leaves_nothing_old(store: Store) {
    let router = Router::new()
        .route(
            "/t/{tenant}/items/{id}",
            get(tenant_item::read).put(tenant_item::replace),
        )
        .route("/admin/items/{id}", put(tenant_item::replace))
        .with_state(store.cache());
    let client = serve(router).await;
    replaces(&client, &["/t/a/items/1"], "/t/a/items/01").await;
    assert_eq!(ask(&client, "/t/a/items/1").await, hit("new"));
    replaces(&client, &["/t/b/items/1"], "/admin/items/1").await;
}

async fn a_put_without_the_query_leaves_no_old_response_of_the_default(store: Store) {
    let router = Router::new()
        .route("/items/{id}", get(defaulted::read).put(defaulted::replace))
        .with_state(store.cache());
    let client = serve(router).await;
    replaces(&client, &["/items/1?page=0", "/items/1"], "/items/1").await;
}

async fn a_put_at_one_mount_is_not_what_another_gets(store: Store) {
    let cache = store.cache();
    let router = Router::new()
        .nest("/de", shops::router(&cache, "de"))
        .nest("/fr", shops::router(&cache, "fr"));
    let client = serve(router).await;
    assert_eq!(ask(&client, "/de/items/1").await.1, "de 1");
    write(&client, "PUT", "/fr/items/1").await;
    let (said, body) = ask(&client, "/de/items/1").await;
    assert!(body.ends_with("de 1"), "{said} {body}");
    let (said, body) = ask(&client, "/fr/items/1").await;
    assert!(body.ends_with("fr 1"), "{said} {body}");
}

async fn a_put_where_the_handler_is_mounted_often_leaves_nothing_old(store: Store) {
    let router = Router::new()
        .route("/a/{id}", get(everywhere::read))
        .route("/b/{id}", get(everywhere::read))
        .route("/admin/{id}", put(everywhere::replace))
        .with_state(store.cache());
    let client = serve(router).await;
    replaces(&client, &["/a/1", "/b/1"], "/admin/01").await;
}
