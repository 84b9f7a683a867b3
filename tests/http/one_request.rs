//! Requests and responses that concern one client only: a request bypasses the cache, or its response is
//! not stored, or only a part of it is stored.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{DoNotStore, cache_put, cached};
use futures_util::future::join_all;
use test_support::Gate;

use crate::support::{App, Store, answer, asked, is_stored, on_every_store, serve, serve_counted};

fn is_preview(parts: &Parts) -> bool {
    parts.headers.contains_key("x-preview")
}

#[cached(ttl = 30, bypass = is_preview, ignore(headers))]
async fn page(headers: HeaderMap, State(app): State<App>) -> Response {
    let preview = headers.contains_key("x-preview");
    let response = app.run().await;
    if preview {
        return (StatusCode::OK, "draft").into_response();
    }
    response
}

#[cache_put(page)]
async fn write_page(State(_app): State<App>) -> &'static str {
    "written"
}

#[cached(ttl = 30, not_stored("X-Request-Id", "x-trace"))]
async fn identified(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_put(identified)]
async fn write_identified() -> impl IntoResponse {
    (AppendHeaders([("x-request-id", "of the write")]), "written")
}

#[cached(ttl = 30)]
async fn plain(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_put(plain)]
async fn write_plain() -> impl IntoResponse {
    (DoNotStore, "written")
}

async fn uncached() -> impl IntoResponse {
    (DoNotStore, "text")
}

#[cached(ttl = 30)]
async fn item(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/page", get(page).put(write_page))
        .route("/identified", get(identified).put(write_identified))
        .route("/plain", get(plain).put(write_plain))
        .route("/uncached", get(uncached))
        .route("/items/{id}", get(item))
        .with_state(app)
}

on_every_store!(
    a_request_that_bypasses_neither_reads_nor_stores,
    requests_that_bypass_share_no_run,
    a_write_that_bypasses_evicts,
    fields_of_one_request_are_not_stored,
    fields_of_one_request_are_not_shared,
    a_write_stores_no_fields_of_one_request,
    a_handler_keeps_a_response_out_of_the_cache,
    a_write_that_keeps_its_response_out_evicts,
    a_nonce_of_a_content_security_policy_is_not_used_twice,
);

const PREVIEW: [(&str, &str); 1] = [("x-preview", "1")];

async fn a_request_that_bypasses_neither_reads_nor_stores(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let draft = client.get_with("/page", &PREVIEW).await;
    assert_eq!((draft.outcome(), draft.text()), ("BYPASS", "draft"));
    assert_eq!(asked(&client, "/page").await, answer("MISS", "run 1"));
    let draft = client.get_with("/page", &PREVIEW).await;
    assert_eq!((draft.outcome(), draft.text()), ("BYPASS", "draft"));
    assert_eq!(asked(&client, "/page").await, answer("HIT", "run 1"));
    let only = [("x-preview", "1"), ("cache-control", "only-if-cached")];
    assert_eq!(client.get_with("/page", &only).await.status.as_u16(), 504);
}

async fn requests_that_bypass_share_no_run(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 0, &gate);
    let client = serve(router(app.clone())).await;
    let first = tokio::spawn(async move { client.get("/page").await });
    gate.entered().await;
    for runs in 2..4 {
        let draft = client.get_with("/page", &PREVIEW).await;
        assert_eq!((draft.outcome(), draft.text()), ("BYPASS", "draft"));
        assert_eq!(app.runs(), runs);
    }
    gate.open();
    assert_eq!(first.await.unwrap().outcome(), "MISS");
    assert_eq!(asked(&client, "/page").await, answer("HIT", "run 0"));
}

async fn a_write_that_bypasses_evicts(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    assert_eq!(asked(&client, "/page").await, answer("MISS", "run 0"));
    let reply = client.send("PUT", "/page", &PREVIEW).await;
    assert_eq!(reply.outcome(), "EVICTED");
    assert_eq!(asked(&client, "/page").await, answer("MISS", "run 1"));
    assert_eq!(client.send("PUT", "/page", &[]).await.outcome(), "STORED");
    assert_eq!(asked(&client, "/page").await, answer("HIT", "written"));
}

/// Creates an app whose responses have fields of one request, and one field that is stored.
fn with_request_id(store: Store) -> App {
    App::new(store.cache(), |run| async move {
        let fields = [
            ("x-request-id", format!("id {run}")),
            ("x-trace", "a".to_owned()),
            ("x-trace", "b".to_owned()),
            ("x-kept", "kept".to_owned()),
        ];
        (AppendHeaders(fields), format!("run {run}"))
    })
}

async fn fields_of_one_request_are_not_stored(store: Store) {
    let client = serve(router(with_request_id(store))).await;
    let miss = client.get("/identified").await;
    assert_eq!((miss.outcome(), miss.text()), ("MISS", "run 0"));
    assert_eq!(miss.field("x-request-id"), Some("id 0"));
    assert_eq!(miss.headers.get_all("x-trace").iter().count(), 2);
    let hit = client.get("/identified").await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", "run 0"));
    assert_eq!(hit.field("x-request-id"), None);
    assert_eq!(hit.field("x-trace"), None);
    assert_eq!(hit.field("x-kept"), Some("kept"));
}

async fn fields_of_one_request_are_not_shared(store: Store) {
    let gate = Gate::new();
    let (cache, at_gate) = (store.cache(), gate.clone());
    let app = App::new(cache, move |run| {
        let gate = at_gate.clone();
        async move {
            gate.pass().await;
            (
                AppendHeaders([("x-request-id", format!("id {run}"))]),
                "text",
            )
        }
    });
    let (client, arrivals) = serve_counted(router(app.clone())).await;
    let requests = (0..10).map(|_| tokio::spawn(async move { client.get("/identified").await }));
    let requests: Vec<_> = requests.collect();
    arrivals.arrived(10).await;
    gate.open();
    let replies = join_all(requests).await;
    let ids = replies
        .iter()
        .filter_map(|reply| reply.as_ref().unwrap().field("x-request-id"));
    let ids: Vec<_> = ids.collect();
    assert_eq!(ids.len(), app.runs(), "one for each run: {ids:?}");
}

async fn a_write_stores_no_fields_of_one_request(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let write = client.send("PUT", "/identified", &[]).await;
    assert_eq!(write.outcome(), "STORED");
    assert_eq!(write.field("x-request-id"), Some("of the write"));
    let hit = client.get("/identified").await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", "written"));
    assert_eq!(hit.field("x-request-id"), None);
}

async fn a_handler_keeps_a_response_out_of_the_cache(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        let response = format!("run {run}");
        if run == 0 {
            (DoNotStore, response).into_response()
        } else {
            response.into_response()
        }
    });
    let client = serve(router(app)).await;
    assert_eq!(asked(&client, "/plain").await, answer("BYPASS", "run 0"));
    assert_eq!(asked(&client, "/plain").await, answer("MISS", "run 1"));
    assert_eq!(asked(&client, "/plain").await, answer("HIT", "run 1"));
    let plain = client.get("/uncached").await;
    assert_eq!(plain.text(), "text");
    assert_eq!(plain.headers.len(), 3, "{:?}", plain.headers);
}

async fn a_write_that_keeps_its_response_out_evicts(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    assert_eq!(asked(&client, "/plain").await, answer("MISS", "run 0"));
    assert_eq!(client.send("PUT", "/plain", &[]).await.outcome(), "EVICTED");
    assert_eq!(asked(&client, "/plain").await, answer("MISS", "run 1"));
}

async fn a_nonce_of_a_content_security_policy_is_not_used_twice(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        let (name, policy) = [
            ("content-security-policy", "script-src 'self' 'nonce-Zm9v'"),
            (
                "content-security-policy-report-only",
                "style-src 'NONCE-YmFy'",
            ),
            (
                "content-security-policy",
                "script-src 'self' nonce-is-a-host",
            ),
        ][run];
        (AppendHeaders([(name, policy)]), "page")
    });
    let client = serve(router(app)).await;
    for id in 0..2 {
        let path = format!("/items/{id}");
        assert_eq!(client.get(&path).await.outcome(), "BYPASS");
        assert!(!is_stored(&client, &path).await);
    }
    assert_eq!(client.get("/items/2").await.outcome(), "MISS");
    assert!(is_stored(&client, "/items/2").await);
}
