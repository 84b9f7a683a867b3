//! `Cache-Groups` and `Cache-Group-Invalidation` (RFC 9875).

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{cache_evict, cache_put, cached};
use test_support::{Client, Reply};

use crate::structured::strings;
use crate::support::{App, Store, on_every_store, serve, settings};

#[cached(ttl = 30, group = ["products", "brand:{brand}"])]
async fn product(State(app): State<App>, Path(brand): Path<String>) -> Response {
    let _ = brand;
    app.run().await
}

#[cached(ttl = 30)]
async fn in_none(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, group = ["\"quoted\" and \\ back", "#hash", "café", "tab\t", "a, b;c"])]
async fn odd(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(product, group = ["products", "brand:{brand}"])]
async fn evict(State(app): State<App>, Path(brand): Path<String>) -> Response {
    let _ = brand;
    app.run().await
}

#[cache_evict(in_none, all)]
async fn evict_no_group() {}

#[cache_put(product, group = ["products", "brand:{brand}"])]
#[cache_evict(group = "products")]
async fn write(Path(brand): Path<String>) -> String {
    brand
}

fn router(app: App) -> Router {
    Router::new()
        .route("/products/{brand}", get(product).delete(evict).put(write))
        .route("/none", get(in_none).delete(evict_no_group))
        .route("/odd", get(odd))
        .with_state(app)
}

async fn start(store: Store) -> Client {
    let cache = store.cache_with(settings().cache_groups(true));
    serve(router(App::counting(cache))).await
}

fn groups(reply: &Reply) -> Vec<String> {
    strings(reply, "cache-groups")
}

fn evicted(reply: &Reply) -> Vec<String> {
    strings(reply, "cache-group-invalidation")
}

on_every_store!(
    without_the_setting_no_response_names_its_groups,
    every_response_of_a_read_is_in_the_groups_of_its_entry,
    an_eviction_names_the_groups_that_it_evicted,
    a_write_that_failed_evicts_nothing_and_says_so,
    a_write_that_evicts_too_says_so_and_the_next_read_does_not,
    names_that_are_no_strings_are_left_out,
    groups_of_caches_behind_the_handler_are_kept,
);

async fn without_the_setting_no_response_names_its_groups(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for method in ["GET", "GET", "PUT", "DELETE"] {
        let reply = client.send(method, "/products/a", &[]).await;
        assert_eq!(reply.field("cache-groups"), None, "{method}");
        assert_eq!(reply.field("cache-group-invalidation"), None, "{method}");
    }
}

async fn every_response_of_a_read_is_in_the_groups_of_its_entry(store: Store) {
    let client = start(store).await;
    let validated = [("if-none-match", "*")];
    for (fields, outcome) in [
        (&[][..], "MISS"),
        (&[], "HIT"),
        (&validated, "HIT"),
        (&[("range", "bytes=0-1")], "BYPASS"),
        (&[("cache-control", "no-cache")], "MISS"),
    ] {
        let reply = client.get_with("/products/acme", fields).await;
        assert_eq!(reply.outcome(), outcome, "{fields:?}");
        assert_eq!(groups(&reply), ["brand:acme", "products"], "{fields:?}");
        assert_eq!(evicted(&reply), [""; 0]);
    }
    for _ in 0..2 {
        assert_eq!(client.get("/none").await.field("cache-groups"), None);
    }
}

async fn an_eviction_names_the_groups_that_it_evicted(store: Store) {
    let client = start(store).await;
    let reply = client.send("DELETE", "/products/acme", &[]).await;
    let mut named = evicted(&reply);
    named.sort();
    assert_eq!(named, ["brand:acme", "products"]);
    assert_eq!(reply.field("cache-groups"), None);
    let reply = client.send("DELETE", "/none", &[]).await;
    assert_eq!(reply.field("cache-group-invalidation"), None);
}

async fn a_write_that_failed_evicts_nothing_and_says_so(store: Store) {
    let cache = store.cache_with(settings().cache_groups(true));
    let app = App::new(cache, |_| async { StatusCode::CONFLICT.into_response() });
    let client = serve(router(app)).await;
    let reply = client.send("DELETE", "/products/acme", &[]).await;
    assert_eq!((reply.status.as_u16(), evicted(&reply)), (409, vec![]));
}

async fn a_write_that_evicts_too_says_so_and_the_next_read_does_not(store: Store) {
    let client = start(store).await;
    let put = client.send("PUT", "/products/acme", &[]).await;
    assert_eq!(
        (evicted(&put), groups(&put)),
        (vec!["products".to_owned()], vec![])
    );
    let read = client.get("/products/acme").await;
    assert_eq!(evicted(&read), [""; 0]);
    assert_eq!(groups(&read), ["brand:acme", "products"]);
}

async fn names_that_are_no_strings_are_left_out(store: Store) {
    let client = start(store).await;
    for _ in 0..2 {
        let reply = client.get("/odd").await;
        assert_eq!(groups(&reply), ["\"quoted\" and \\ back", "a, b;c"]);
    }
}

async fn groups_of_caches_behind_the_handler_are_kept(store: Store) {
    let cache = store.cache_with(settings().cache_groups(true));
    let app = App::new(cache, |_| async {
        ([("cache-groups", "\"theirs\"")], "body")
    });
    let client = serve(router(app)).await;
    for _ in 0..2 {
        let reply = client.get("/products/acme").await;
        assert_eq!(groups(&reply), ["theirs", "brand:acme", "products"]);
    }
}
