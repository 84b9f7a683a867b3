//! A write that names a handler evicts what the handler stored for the values of the path, however
//! they are spelled, and wherever the write is mounted.

use std::collections::BTreeMap;
use std::collections::HashMap;

use axum::Router;
use axum::extract::{OriginalUri, Path, Query, RawPathParams, RawQuery, State};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum_redis_cache::{Cache, cache_evict, cached};
use serde::Deserialize;
use test_support::{Client, Log};

use crate::replies::{get as ask, hit, write};
use crate::support::{App, Store, on_every_store, serve};

#[derive(Deserialize)]
#[allow(dead_code)]
struct Item {
    brand: String,
    id: u64,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Localized {
    id: u64,
    #[serde(default)]
    lang: String,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Flat {
    id: u64,
    #[serde(flatten)]
    rest: HashMap<String, String>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Page {
    #[serde(default)]
    page: u32,
    author: Option<String>,
}

/// A cached handler, and one that evicts it by its name.
macro_rules! evicted {
    ($($name:ident($($argument:ident: $ty:ty),*);)*) => { $(
        mod $name {
            use super::*;

            #[cached(ttl = 60)]
            pub(super) async fn read(
                $($argument: $ty,)*
                State(app): State<App>,
            ) -> Response {
                $(let _ = $argument;)*
                app.run().await
            }

            #[cache_evict(read)]
            pub(super) async fn evict() {}
        }
    )* };
}

evicted! {
    number(id: Path<u64>);
    text(id: Path<String>);
    pair(path: Path<(String, u64)>);
    texts(path: Path<(String, String)>);
    item(path: Path<Item>);
    localized(path: Path<Localized>);
    flat(path: Path<Flat>);
    hash_map(path: Path<HashMap<String, String>>);
    tree_map(path: Path<BTreeMap<String, String>>);
    list(path: Path<Vec<String>>);
    named_list(path: Path<Vec<(String, String)>>);
    nothing();
    page(query: Query<Page>);
    number_and_page(id: Path<u64>, query: Query<Page>);
    number_and_pairs(id: Path<u64>, query: Query<Vec<(String, String)>>);
    raw_params(params: RawPathParams);
    raw_query(query: RawQuery);
    number_and_raw_query(id: Path<u64>, query: RawQuery);
    uri(uri: Uri);
    original_uri(uri: OriginalUri);
    perhaps(id: Result<Path<u64>, axum::extract::rejection::PathRejection>);
    optional(id: Option<Path<u64>>);
}

/// The key is the text of the path.
mod by_function {
    use super::*;

    fn path(parts: &Parts) -> String {
        parts.uri.path().to_owned()
    }

    #[cached(ttl = 60, key = path)]
    pub(super) async fn read(State(app): State<App>) -> Response {
        app.run().await
    }

    #[cache_evict(read)]
    pub(super) async fn evict() {}
}

mod by_template {
    use super::*;

    #[cached(ttl = 60, key = "item:{id}", vary("accept-language"))]
    pub(super) async fn read(Path(id): Path<u64>, State(app): State<App>) -> Response {
        let _ = id;
        app.run().await
    }
}

/// Gets each target, so that it is stored; writes; and finds those of them stored still, of which it is
/// said so.
async fn evicts(client: &Client, stored: &[(&str, bool)], method: &str, written: &str) {
    let mut before = HashMap::new();
    for (target, _) in stored {
        let (_, body) = ask(client, target).await;
        assert_eq!(ask(client, target).await, hit(&body), "{target}");
        before.insert(*target, body);
    }
    write(client, method, written).await;
    for (target, stays) in stored {
        let (said, body) = ask(client, target).await;
        if *stays {
            assert_eq!(said, "HIT", "{target} after {method} {written}");
        } else {
            assert_ne!(body, before[target], "{target} after {method} {written}");
        }
    }
}

const GONE: bool = false;

const STAYS: bool = true;

on_every_store!(
    every_spelling_of_a_value_is_evicted,
    a_write_evicts_from_wherever_it_is_mounted,
    every_query_of_a_path_is_evicted,
    two_values_are_evicted_in_whatever_order_the_write_has_them,
    a_map_of_values_is_evicted_in_whatever_order_the_write_has_them,
    a_write_without_the_value_evicts_all_entries_it_may_mean,
    a_write_at_any_mount_evicts_the_key_of_a_key_function,
    a_key_drops_every_variant,
);

async fn every_spelling_of_a_value_is_evicted(store: Store) {
    let router = Router::new()
        .route("/items/{id}", get(number::read).delete(number::evict))
        .route("/texts/{id}", get(text::read).delete(text::evict))
        .with_state(App::counting(store.cache()));
    let client = serve(router).await;
    for written in ["/items/1", "/items/01", "/items/%31", "/items/+001"] {
        evicts(
            &client,
            &[("/items/1", GONE), ("/items/2", STAYS)],
            "DELETE",
            written,
        )
        .await;
    }
    for written in ["/texts/a%20b", "/texts/%61%20%62"] {
        evicts(
            &client,
            &[("/texts/a%20b", GONE), ("/texts/a+b", STAYS)],
            "DELETE",
            written,
        )
        .await;
    }
}

async fn a_write_evicts_from_wherever_it_is_mounted(store: Store) {
    let router = Router::new()
        .route("/items/{id}", get(number::read))
        .route("/admin/items/{id}", delete(number::evict))
        .route("/other/{item}", delete(number::evict))
        .nest(
            "/deep/{x}",
            Router::new().route("/{id}", delete(number::evict)),
        )
        .with_state(App::counting(store.cache()));
    let client = serve(router).await;
    for written in ["/admin/items/1", "/admin/items/01", "/other/1"] {
        evicts(
            &client,
            &[("/items/1", GONE), ("/items/2", STAYS)],
            "DELETE",
            written,
        )
        .await;
    }
    evicts(&client, &[("/items/1", GONE)], "DELETE", "/deep/x/1").await;
    evicts(&client, &[("/items/1", GONE)], "DELETE", "/other/x").await;
}

async fn every_query_of_a_path_is_evicted(store: Store) {
    let router = Router::new()
        .route("/books", get(page::read).post(page::evict))
        .route(
            "/items/{id}",
            get(number_and_page::read).delete(number_and_page::evict),
        )
        .route(
            "/pairs/{id}",
            get(number_and_pairs::read).delete(number_and_pairs::evict),
        )
        .route(
            "/raw/{id}",
            get(number_and_raw_query::read).delete(number_and_raw_query::evict),
        )
        .route("/raw", get(raw_query::read).post(raw_query::evict))
        .route("/uri/{id}", get(uri::read).delete(uri::evict))
        .route(
            "/original/{id}",
            get(original_uri::read).delete(original_uri::evict),
        )
        .route("/admin/books", post(page::evict))
        .route("/admin/items/{id}", delete(number_and_page::evict))
        .with_state(App::counting(store.cache()));
    let client = serve(router).await;
    let queries = [
        "",
        "?",
        "?page=1",
        "?page=2&author=a",
        "?author=%C3%A9",
        "?page=0",
    ];
    let of = |path: &str| -> Vec<String> {
        queries
            .iter()
            .map(|query| format!("{path}{query}"))
            .collect()
    };
    for (path, method, writes) in [
        (
            "/books",
            "POST",
            &[
                "/books",
                "/books?page=1",
                "/admin/books",
                "/admin/books?page=x",
            ][..],
        ),
        (
            "/items/1",
            "DELETE",
            &["/items/01", "/items/1?x=1", "/admin/items/1?page=7"],
        ),
        ("/pairs/1", "DELETE", &["/pairs/01", "/pairs/1?x=1"]),
        ("/raw/1", "DELETE", &["/raw/01", "/raw/1?x=1"]),
        ("/raw", "POST", &["/raw", "/raw?x=1"]),
        ("/uri/1", "DELETE", &["/uri/1", "/uri/1?x=1"]),
        ("/original/1", "DELETE", &["/original/1", "/original/1?x=1"]),
    ] {
        let targets = of(path);
        let targets: Vec<_> = targets.iter().map(|target| (&**target, GONE)).collect();
        for written in writes {
            evicts(&client, &targets, method, written).await;
        }
    }
    for written in ["/items/1?page=1", "/items/1?page=x"] {
        evicts(&client, &[("/items/2?page=1", STAYS)], "DELETE", written).await;
    }
}

async fn two_values_are_evicted_in_whatever_order_the_write_has_them(store: Store) {
    let orders = ["/{brand}/{id}", "/{id}/{brand}"];
    for (number, order) in orders.into_iter().enumerate() {
        let write_at = |name: &str| format!("/admin/{name}{order}");
        let router = Router::new()
            .route("/pair/{brand}/{id}", get(pair::read))
            .route("/texts/{brand}/{id}", get(texts::read))
            .route("/item/{brand}/{id}", get(item::read))
            .route("/list/{brand}/{id}", get(list::read))
            .route("/named_list/{brand}/{id}", get(named_list::read))
            .route(&write_at("pair"), delete(pair::evict))
            .route(&write_at("texts"), delete(texts::evict))
            .route(&write_at("item"), delete(item::evict))
            .route(&write_at("list"), delete(list::evict))
            .route(&write_at("named_list"), delete(named_list::evict))
            .with_state(App::counting(store.cache()));
        let client = serve(router).await;
        for name in ["pair", "texts", "item", "list", "named_list"] {
            let values = if number == 0 { "7/08" } else { "08/7" };
            let target = format!("/{name}/7/08");
            let written = format!("/admin/{name}/{values}");
            evicts(&client, &[(&target, GONE)], "DELETE", &written).await;
        }
    }
}

async fn a_map_of_values_is_evicted_in_whatever_order_the_write_has_them(store: Store) {
    let router = Router::new()
        .route("/flat/{id}/{a}/{b}", get(flat::read))
        .route("/hash/{a}/{b}", get(hash_map::read))
        .route("/tree/{a}/{b}", get(tree_map::read))
        .route("/admin/flat/{b}/{a}/{id}", delete(flat::evict))
        .route("/admin/hash/{b}/{a}", delete(hash_map::evict))
        .route("/admin/tree/{b}/{a}", delete(tree_map::evict))
        .with_state(App::counting(store.cache()));
    let client = serve(router).await;
    evicts(&client, &[("/hash/1/2", GONE)], "DELETE", "/admin/hash/2/1").await;
    evicts(&client, &[("/tree/1/2", GONE)], "DELETE", "/admin/tree/2/1").await;
    evicts(
        &client,
        &[("/flat/0/1/2", GONE)],
        "DELETE",
        "/admin/flat/2/1/0",
    )
    .await;
}

async fn a_write_without_the_value_evicts_all_entries_it_may_mean(store: Store) {
    let router = Router::new()
        .route("/items/{id}/{lang}", get(localized::read))
        .route("/admin/items/{id}", delete(localized::evict))
        .route("/perhaps/{id}", get(perhaps::read))
        .route("/optional/{id}", get(optional::read))
        .route("/optional", get(optional::read))
        .route("/admin/perhaps", delete(perhaps::evict))
        .route("/admin/optional", delete(optional::evict))
        .route("/map/{a}/{b}", get(hash_map::read))
        .route("/admin/map/{a}", delete(hash_map::evict))
        .route("/list/{a}/{b}", get(list::read))
        .route("/admin/list/{a}", delete(list::evict))
        .route("/one/list/{a}", get(list::read))
        .route("/one/map/{a}", get(hash_map::read))
        .route("/one/named_list/{a}", get(named_list::read))
        .route("/one/raw_params/{a}", get(raw_params::read))
        .route("/drop/list", delete(list::evict))
        .route("/drop/map", delete(hash_map::evict))
        .route("/drop/named_list", delete(named_list::evict))
        .route("/drop/raw_params", delete(raw_params::evict))
        .route("/t/{tenant}/nothing", get(nothing::read))
        .route("/admin/nothing", delete(nothing::evict))
        .with_state(App::counting(store.cache()));
    let client = serve(router).await;
    evicts(
        &client,
        &[("/items/1/de", GONE), ("/items/1/fr", GONE)],
        "DELETE",
        "/admin/items/1",
    )
    .await;
    evicts(
        &client,
        &[("/perhaps/1", GONE), ("/perhaps/x", GONE)],
        "DELETE",
        "/admin/perhaps",
    )
    .await;
    evicts(
        &client,
        &[("/optional/1", GONE), ("/optional", GONE)],
        "DELETE",
        "/admin/optional",
    )
    .await;
    evicts(&client, &[("/map/1/2", GONE)], "DELETE", "/admin/map/1").await;
    evicts(&client, &[("/list/1/2", GONE)], "DELETE", "/admin/list/1").await;
    for name in ["list", "map", "named_list", "raw_params"] {
        let (read, written) = (format!("/one/{name}/1"), format!("/drop/{name}"));
        evicts(&client, &[(&read, GONE)], "DELETE", &written).await;
    }
    evicts(
        &client,
        &[("/t/a/nothing", GONE), ("/t/b/nothing", GONE)],
        "DELETE",
        "/admin/nothing",
    )
    .await;
}

async fn a_write_at_any_mount_evicts_the_key_of_a_key_function(store: Store) {
    let router = Router::new()
        .route(
            "/items/{id}",
            get(by_function::read).delete(by_function::evict),
        )
        .route("/admin/items/{id}", delete(by_function::evict))
        .with_state(App::counting(store.cache()));
    let client = serve(router).await;
    evicts(&client, &[("/items/1", GONE)], "DELETE", "/items/1").await;
    evicts(&client, &[("/items/1", GONE)], "DELETE", "/admin/items/1").await;
}

async fn a_key_drops_every_variant(store: Store) {
    let cache = store.cache();
    let router = Router::new()
        .route("/items/{id}", get(by_template::read))
        .with_state(App::counting(cache.clone()));
    let client = serve(router).await;
    let mut before = Vec::new();
    for (target, language) in [("/items/1", "de"), ("/items/1", "fr")] {
        let reply = client
            .get_with(target, &[("accept-language", language)])
            .await;
        before.push(reply.text().to_owned());
    }
    cache.evict(by_template::read::key(1)).await;
    for (target, language) in [("/items/1", "de"), ("/items/1", "fr")] {
        let reply = client
            .get_with(target, &[("accept-language", language)])
            .await;
        assert!(
            !before.contains(&reply.text().to_owned()),
            "{target} {language}"
        );
    }
}

mod logged {
    use super::*;

    #[cached(ttl = 60)]
    pub(super) async fn read(Path(_): Path<(String, String)>, State(app): State<App>) -> Response {
        app.run().await
    }

    #[cache_evict(read)]
    pub(super) async fn evict() {}
}

#[tokio::test]
async fn the_log_names_a_write_that_cannot_name_the_values() {
    let (log, _guard) = Log::capture(tracing::Level::WARN);
    let router = Router::new()
        .route("/b/{brand}/{id}", get(logged::read))
        .route("/admin/{id}/{brand}", delete(logged::evict))
        .with_state(App::counting(Cache::in_memory()));
    let client = serve(router).await;
    evicts(&client, &[("/b/acme/7", GONE)], "DELETE", "/admin/7/acme").await;
    let text = log.text();
    for name in ["logged::read", "logged::evict"] {
        assert!(text.contains(name), "{name} in {text}");
    }
}
