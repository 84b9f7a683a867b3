//! Why a request is, or is not, answered with a stored response.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{Cache, Explanation, LeaseState, cache_evict, cached};
use test_support::{Gate, until};

use crate::support::{App, Store, become_stale, on_every_store, request, serve, settings};

#[cached(ttl = "1h", key = "item:{id}", group = ["items", "shelf:{id}"])]
async fn item(State(app): State<App>, Path(id): Path<u64>) -> Response {
    let _ = id;
    app.run().await
}

#[cached(
    ttl = "100ms",
    query,
    vary("x-variant"),
    stale_while_revalidate = 60,
    stale_if_error = 60
)]
async fn varied(State(app): State<App>) -> Response {
    app.run().await
}

async fn plain(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(group = "items")]
async fn evict(State(app): State<App>) -> Response {
    app.run().await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/items/{id}", get(item).delete(evict))
        .nest("/nested", Router::new().route("/varied", get(varied)))
        .route("/plain", get(plain))
        .with_state(app)
}

async fn explain_with(router: &Router, target: &str, fields: &[(&str, &str)]) -> Explanation {
    let explained = Explanation::of(router.clone(), request("GET", target, fields));
    explained.await.expect("a cached handler")
}

async fn explain(router: &Router, target: &str) -> Explanation {
    explain_with(router, target, &[]).await
}

fn verdict(explanation: &Explanation) -> (&str, &str) {
    (explanation.outcome, &explanation.reason)
}

on_every_store!(
    an_explanation_names_the_key_and_the_entry_and_runs_no_handler,
    an_explanation_names_the_evicted_groups,
    an_explanation_tells_variants_and_stale_responses_apart,
    an_explanation_tells_what_the_request_rules_out_and_why_a_response_was_not_stored,
    an_explanation_tells_where_the_entry_is_filled,
    other_handlers_are_not_explained,
    an_explanation_is_readable,
);

async fn an_explanation_names_the_key_and_the_entry_and_runs_no_handler(store: Store) {
    let app = App::counting(store.cache());
    let router = router(app.clone());
    let nothing = explain(&router, "/items/7").await;
    assert_eq!(
        verdict(&nothing),
        ("MISS", "nothing is stored under the key")
    );
    assert!(nothing.handler.ends_with("explain::item"));
    assert_eq!(
        (&*nothing.key, &nothing.variant),
        ("http::explain::item item:7", &None)
    );
    assert_eq!(nothing.groups, ["items", "shelf:7"]);
    assert_eq!((&nothing.entry, nothing.lease), (&None, LeaseState::Free));
    assert!(!nothing.eviction_is_pending && !nothing.is_filled_here);
    assert_eq!((app.runs(), nothing.not_stored.len()), (0, 0));

    let client = serve(router.clone()).await;
    client.get("/items/7").await;
    let stored = explain(&router, "/items/7").await;
    assert_eq!(verdict(&stored), ("HIT", "the stored response is fresh"));
    let entry = stored.entry.as_ref().unwrap();
    assert!(entry.age < Duration::from_secs(60) && entry.evicted.is_empty());
    assert!(entry.fresh_for.unwrap() > Duration::from_secs(3500));
    let head = Explanation::of(router.clone(), request("HEAD", "/items/7", &[])).await;
    assert_eq!(verdict(&head.unwrap()).0, "HIT");
    assert_eq!(client.get("/items/7").await.outcome(), "HIT");
    assert_eq!(app.runs(), 1);
}

async fn an_explanation_names_the_evicted_groups(store: Store) {
    let cache = store.cache();
    let router = router(App::counting(cache.clone()));
    let client = serve(router.clone()).await;
    client.get("/items/7").await;
    cache.delete_group("items").await;
    let evicted = explain(&router, "/items/7").await;
    assert_eq!(
        verdict(&evicted),
        ("MISS", "the stored response has been evicted")
    );
    assert_eq!(evicted.entry.unwrap().evicted, ["items"]);
    cache.clear().await;
    let evicted = explain(&router, "/items/7").await;
    assert_eq!(evicted.entry.unwrap().evicted, ["everything", "items"]);
    assert_eq!(client.get("/items/7").await.outcome(), "MISS");
    cache.evict(item::key(7)).await;
    assert_eq!(explain(&router, "/items/7").await.entry, None);
}

async fn an_explanation_tells_variants_and_stale_responses_apart(store: Store) {
    let cache = store.cache();
    let router = router(App::counting(cache.clone()));
    let client = serve(router.clone()).await;
    let [a, b] = [[("x-variant", "a")], [("x-variant", "b")]];
    client.get_with("/nested/varied?q=1", &a).await;
    let stored = explain_with(&router, "/nested/varied?q=1", &a).await;
    let other = explain_with(&router, "/nested/varied?q=1", &b).await;
    assert_eq!(
        (&*stored.key, &stored.key),
        ("http::explain::varied?q=1", &other.key)
    );
    assert!(stored.variant.is_some() && stored.variant != other.variant);
    assert_eq!(
        verdict(&other),
        ("MISS", "nothing is stored under this variant of the key")
    );
    become_stale().await;
    let stale = explain_with(&router, "/nested/varied?q=1", &a).await;
    assert_eq!(
        verdict(&stale),
        ("STALE", "the stored response is stale, and refreshed")
    );
    assert_eq!(stale.entry.unwrap().fresh_for, Some(Duration::ZERO));
    let must = [a[0], ("cache-control", "max-age=0")];
    let stale = explain_with(&router, "/nested/varied?q=1", &must).await;
    assert_eq!(verdict(&stale), ("MISS", "the stored response is stale"));
    cache.evict(varied::key("/nested/varied?q=1")).await;
    let evicted = explain_with(&router, "/nested/varied?q=1", &a).await;
    assert_eq!(evicted.entry.unwrap().evicted, ["the variants of the key"]);
}

async fn an_explanation_tells_what_the_request_rules_out_and_why_a_response_was_not_stored(
    store: Store,
) {
    let app = App::new(store.cache(), |run| async move {
        (
            [(if run == 0 { "set-cookie" } else { "x-plain" }, "a=1")],
            "body",
        )
    });
    let router = router(app);
    let client = serve(router.clone()).await;
    client.get("/items/1").await;
    let explained = explain(&router, "/items/1").await;
    assert!(explained.not_stored.contains(&"the response sets a cookie"));
    let range = explain_with(&router, "/items/1", &[("range", "bytes=0-1")]).await;
    assert_eq!(verdict(&range), ("BYPASS", "the request asks for a range"));
    assert_eq!(
        (&*range.key, range.lease),
        ("http::explain::item item:1", LeaseState::Unknown)
    );
    client.get("/items/1").await;
    let no_cache = explain_with(&router, "/items/1", &[("cache-control", "no-cache")]).await;
    let reason = "the Cache-Control of the request rules out the stored response";
    assert_eq!(verdict(&no_cache), ("MISS", reason));
}

async fn an_explanation_tells_where_the_entry_is_filled(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 0, &gate);
    let router = router(app);
    let client = serve(router.clone()).await;
    let run = tokio::spawn(async move { client.get("/items/7").await });
    gate.entered().await;
    let filled = explain(&router, "/items/7").await;
    assert_eq!(
        (filled.lease, filled.is_filled_here),
        (LeaseState::Awaited, true)
    );
    gate.open();
    run.await.unwrap();
    let filled = explain(&router, "/items/7").await;
    assert_eq!(
        (filled.lease, filled.is_filled_here),
        (LeaseState::Free, false)
    );
}

async fn other_handlers_are_not_explained(store: Store) {
    let app = App::counting(store.cache());
    let router = router(app.clone());
    let of = |method, target| Explanation::of(router.clone(), request(method, target, &[]));
    assert_eq!(of("GET", "/nowhere").await, None);
    assert_eq!(
        of("GET", "/items/seven").await,
        None,
        "the extractor refuses it"
    );
    assert_eq!(of("DELETE", "/items/7").await, None);
    assert_eq!(app.runs(), 0, "a write is not sent");
    assert_eq!(of("GET", "/plain").await, None);
    assert_eq!(app.runs(), 1);
}

async fn an_explanation_is_readable(store: Store) {
    let cache = store.cache();
    let router = router(App::counting(cache.clone()));
    let client = serve(router.clone()).await;
    client.get("/items/7").await;
    cache.delete_group("items").await;
    let text = explain(&router, "/items/7").await.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "MISS: the stored response has been evicted");
    assert!(lines[1].starts_with("handler ") && lines[1].ends_with("explain::item"));
    assert_eq!(
        lines[2..5],
        [
            "key         http::explain::item item:7",
            "group       items",
            "group       shelf:7",
        ]
    );
    assert!(lines[5].starts_with("stored      ") && lines[5].ends_with(", evicted with items"));
    assert_eq!(lines[6], "lease       free");
}

#[tokio::test]
async fn a_pending_eviction_is_explained() {
    let redis = test_support::RedisServer::start();
    let cache = Cache::connect(crate::support::patient(&redis)).unwrap();
    let router = router(App::counting(cache.clone()));
    let client = serve(router.clone()).await;
    client.get("/items/7").await;
    drop(redis);
    cache.delete_group("items").await;
    until("pending", async || cache.pending_evictions() > 0).await;
    let pending = explain(&router, "/items/7").await;
    assert!(pending.eviction_is_pending);
    assert_eq!(
        verdict(&pending),
        ("BYPASS", "an eviction has not reached Redis yet")
    );
    let disabled = self::router(App::counting(Cache::disabled()));
    let disabled = explain(&disabled, "/items/7").await;
    assert_eq!(verdict(&disabled), ("BYPASS", "the cache is disabled"));
}

#[tokio::test]
async fn nothing_that_a_client_sends_asks_for_an_explanation() {
    let app = App::counting(Store::Memory.cache_with(settings()));
    let router = router(app.clone());
    explain(&router, "/items/7").await;
    let client = serve(router).await;
    let reply = client.get_with("/items/7", &[("explain", "1")]).await;
    assert_eq!((reply.outcome(), reply.text()), ("MISS", "run 0"));
}
