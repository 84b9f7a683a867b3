//! Handlers that name others: read, evict and put agree on a key.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};
use serde::{Deserialize, Serialize};

use crate::support::{App, Store, on_every_store, serve, tells_what_is_left};

/// In a module, so that the companions move with `use`.
mod products {
    use super::*;

    #[cached(ttl = 30, group = "products", max_age = 7, vary("x-variant"))]
    pub(super) async fn by_path(Path(id): Path<u64>, State(app): State<App>) -> Response {
        let _ = id;
        app.run().await
    }

    #[cached(ttl = 30, key = "product:{id}", group = ["products", "product:{id}"], private)]
    pub(super) async fn by_id(Path(id): Path<u64>, State(app): State<App>) -> Response {
        let _ = id;
        app.run().await
    }

    #[cached(ttl = 30, group = "brand:{brand}", vary_by(shop))]
    pub(super) async fn by_brand(
        Path((shop, brand)): Path<(String, String)>,
        State(app): State<App>,
    ) -> Response {
        let _ = (shop, brand);
        app.run().await
    }
}

use products::by_id as of_id;
use products::{by_brand, by_path};

#[derive(Deserialize)]
struct Only {
    #[serde(default)]
    page: u8,
}

#[cached(ttl = 30, query("page"), ignore(only))]
async fn list(Query(only): Query<Only>, State(app): State<App>) -> Response {
    let _ = only.page;
    app.run().await
}

#[cache_evict(by_path)]
async fn delete_by_path() {}

#[cache_put(by_path)]
async fn put_by_path(body: String) -> String {
    body
}

#[derive(Deserialize, Serialize)]
struct Product {
    id: u64,
    name: String,
}

#[cache_evict(of_id(id), list, group = "home")]
async fn delete_by_id(Path(id): Path<u64>) -> StatusCode {
    if id == 0 {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::NO_CONTENT
    }
}

#[cache_put(products::by_id(product.id))]
async fn put_by_id(Json(product): Json<Product>) -> impl IntoResponse {
    (StatusCode::CREATED, Json(product))
}

#[cache_evict(products::by_id(1), list("/list?page=2"), by_path(9))]
async fn evict_fixed() {}

#[cache_put(by_brand, group = "brand:{brand}", vary_by(shop))]
async fn put_by_brand(Path((shop, brand)): Path<(String, String)>, body: String) -> String {
    let _ = (shop, brand);
    body
}

async fn evict_in_code(Path(id): Path<u64>, State(cache): State<Cache>) {
    cache.evict(products::by_id::key(id)).await;
    cache.evict(by_path::key(id)).await;
}

#[derive(Deserialize)]
struct As {
    r#as: String,
}

#[cached(ttl = 30, key = "dashboard:{id}", vary_by(who.r#as))]
async fn dashboard(Path(id): Path<u64>, who: Query<As>, State(app): State<App>) -> Response {
    let _ = (id, &who.r#as);
    app.run().await
}

/// It sees another part of the query than the handler that it names.
#[cache_put(read_path)]
async fn put_by_itself(query: Query<Vec<(String, String)>>, body: String) -> String {
    let _ = query;
    body
}

#[cached(ttl = 30)]
async fn read_path(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(dashboard(id))]
async fn delete_dashboard(Path(id): Path<u64>) {
    let _ = id;
}

fn router(app: App) -> Router {
    Router::new()
        .route(
            "/paths/{id}",
            get(by_path).delete(delete_by_path).put(put_by_path),
        )
        .route("/ids/{id}", get(of_id).delete(delete_by_id))
        .route("/ids", post(put_by_id))
        .route("/list", get(list).delete(evict_fixed))
        .route("/shops/{shop}/{brand}", get(by_brand).put(put_by_brand))
        .route("/code/{id}", post(evict_in_code))
        .route("/itself", get(read_path).put(put_by_itself))
        .route("/dashboards/{id}", get(dashboard).delete(delete_dashboard))
        .with_state(app)
}

on_every_store!(
    an_eviction_by_reference_drops_the_entry_of_the_same_path,
    a_put_by_reference_inherits_the_route,
    values_address_the_entry_from_any_path,
    values_may_be_fixed,
    groups_of_values_that_the_key_does_not_hold_are_named_again,
    evicting_a_key_drops_the_entries_of_all_selecting_values,
    a_put_by_itself_leaves_nothing_old_behind,
    keys_are_evicted_in_code,
);

async fn an_eviction_by_reference_drops_the_entry_of_the_same_path(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for path in ["/paths/1", "/paths/2"] {
        client.get(path).await;
    }
    client.send("DELETE", "/paths/1?x=1", &[]).await;
    assert_eq!(client.get("/paths/1").await.outcome(), "MISS");
    assert_eq!(client.get("/paths/2?y").await.outcome(), "HIT");
}

async fn a_put_by_reference_inherits_the_route(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let put = client
        .send_body("PUT", "/paths/1", &[("x-variant", "a")], "new")
        .await;
    assert_eq!(
        (put.status.as_u16(), put.outcome(), put.text()),
        (200, "STORED", "new")
    );
    let hit = client.get_with("/paths/1", &[("x-variant", "a")]).await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", "new"));
    assert!(tells_what_is_left(&hit, "max-age=7"), "{hit:?}");
    assert_eq!(hit.field("vary"), Some("x-variant"));
    assert_eq!(
        client.get("/paths/1").await.outcome(),
        "MISS",
        "another variant"
    );
}

async fn values_address_the_entry_from_any_path(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let json = [("content-type", "application/json")];
    let put = client
        .send_body("POST", "/ids", &json, r#"{"id":7,"name":"x"}"#)
        .await;
    assert_eq!(put.status, 201);
    let hit = client.get("/ids/7").await;
    assert_eq!((hit.status.as_u16(), hit.outcome()), (200, "HIT"));
    assert!(hit.field("cache-control").unwrap().starts_with("private"));
    client.get("/list?page=3").await;
    assert_eq!(client.send("DELETE", "/ids/0", &[]).await.status, 404);
    assert_eq!(client.get("/ids/7").await.outcome(), "HIT");
    client.send("DELETE", "/ids/7", &[]).await;
    assert_eq!(client.get("/ids/7").await.outcome(), "MISS");
    assert_eq!(
        client.get("/list?page=3").await.outcome(),
        "MISS",
        "every page of the list"
    );
}

async fn values_may_be_fixed(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let targets = [
        "/ids/1",
        "/ids/2",
        "/list?page=2",
        "/list?page=3",
        "/paths/9",
    ];
    for target in targets {
        client.get(target).await;
    }
    client.send("DELETE", "/list", &[]).await;
    let mut outcomes = Vec::new();
    for target in targets {
        outcomes.push(client.get(target).await.outcome().to_owned());
    }
    assert_eq!(outcomes, ["MISS", "HIT", "MISS", "HIT", "MISS"]);
}

async fn groups_of_values_that_the_key_does_not_hold_are_named_again(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/shops/a/x").await;
    client.send_body("PUT", "/shops/a/x", &[], "new").await;
    let hit = client.get("/shops/a/x").await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", "new"));
}

async fn evicting_a_key_drops_the_entries_of_all_selecting_values(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let paths = [
        "/dashboards/1?as=a",
        "/dashboards/1?as=b",
        "/dashboards/2?as=a",
    ];
    for outcome in ["MISS", "HIT"] {
        for path in paths {
            assert_eq!(client.get(path).await.outcome(), outcome, "{path}");
        }
    }
    client.send("DELETE", "/dashboards/1", &[]).await;
    assert_eq!(client.get(paths[0]).await.outcome(), "MISS");
    assert_eq!(client.get(paths[1]).await.outcome(), "MISS");
    assert_eq!(client.get(paths[2]).await.outcome(), "HIT");
}

async fn a_put_by_itself_leaves_nothing_old_behind(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/itself").await;
    client.send_body("PUT", "/itself?csrf=1", &[], "new").await;
    let hit = client.get("/itself").await;
    assert_eq!(
        (hit.outcome(), hit.text()),
        ("HIT", "new"),
        "as the handler sees the request"
    );
    client.send_body("PUT", "/itself", &[], "newer").await;
    assert_eq!(client.get("/itself?utm=1").await.text(), "newer");
}

async fn keys_are_evicted_in_code(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for path in ["/ids/1", "/ids/2", "/paths/1"] {
        client.get(path).await;
    }
    client.send("POST", "/code/1", &[]).await;
    assert_eq!(client.get("/ids/1").await.outcome(), "MISS");
    assert_eq!(client.get("/paths/1").await.outcome(), "MISS");
    assert_eq!(client.get("/ids/2").await.outcome(), "HIT");
}
