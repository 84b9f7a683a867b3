//! How an application tests what it caches. Copy it: it needs no server, and the tests may run side
//! by side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRef, Path, State};
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum_redis_cache::{Cache, X_REDIS_CACHE, cache_evict, cached};
use tower::ServiceExt;

// What an application has: a state with a cache, handlers, and a function that makes its router.

#[derive(Clone, FromRef)]
struct AppState {
    cache: Cache,
    /// In place of a database.
    reads: Arc<AtomicUsize>,
}

#[cached(ttl = 300, group = "products")]
async fn get_product(Path(id): Path<u64>, State(reads): State<Arc<AtomicUsize>>) -> String {
    let read = reads.fetch_add(1, Ordering::Relaxed) + 1;
    format!("product {id}, read {read}")
}

#[cache_evict(get_product)]
async fn delete_product(Path(_): Path<u64>) -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn count(State(cache): State<Cache>, State(reads): State<Arc<AtomicUsize>>) -> String {
    let statistics = cache.group("products").ttl(60);
    let count = statistics.get_or_insert_with("count", async || {
        reads.fetch_add(1, Ordering::Relaxed);
        7
    });
    count.await.to_string()
}

fn router(cache: Cache) -> Router {
    let reads = Arc::default();
    Router::new()
        .route("/products", get(count))
        .route("/products/{id}", get(get_product).delete(delete_product))
        .with_state(AppState { cache, reads })
}

/// Sends a request to the router, without a server. Returns how the cache answered, and the body.
async fn send(app: &Router, method: &str, uri: &str) -> (String, String) {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let outcome = response.headers().get(X_REDIS_CACHE);
    let outcome = outcome.map_or("", |value| value.to_str().unwrap());
    let outcome = outcome.to_owned();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (outcome, String::from_utf8(body.to_vec()).unwrap())
}

fn answer(outcome: &str, body: &str) -> (String, String) {
    (outcome.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_product_is_read_once_until_it_is_deleted() {
    let app = router(Cache::in_memory());
    let product = "/products/42";
    let get = async || send(&app, "GET", product).await;
    assert_eq!(get().await, answer("MISS", "product 42, read 1"));
    assert_eq!(get().await, answer("HIT", "product 42, read 1"));
    send(&app, "DELETE", product).await;
    assert_eq!(get().await, answer("MISS", "product 42, read 2"));
    assert_eq!(get().await, answer("HIT", "product 42, read 2"));
}

#[tokio::test]
async fn another_product_is_another_entry() {
    let app = router(Cache::in_memory());
    send(&app, "GET", "/products/1").await;
    let other = send(&app, "GET", "/products/2").await;
    assert_eq!(other, answer("MISS", "product 2, read 2"));
}

#[tokio::test]
async fn a_group_can_be_evicted_from_the_test() {
    let cache = Cache::in_memory();
    let app = router(cache.clone());
    send(&app, "GET", "/products/42").await;
    send(&app, "GET", "/products").await;
    assert_eq!(cache.group("products").get("count").await, Some(7));
    cache.delete_group("products").await;
    assert!(!cache.group("products").has("count").await);
    let again = send(&app, "GET", "/products/42").await;
    assert_eq!(again, answer("MISS", "product 42, read 3"));
}

#[tokio::test]
async fn without_a_cache_every_handler_runs() {
    let cache = Cache::disabled();
    let app = router(cache.clone());
    for read in 1..=3 {
        let expected = answer("BYPASS", &format!("product 42, read {read}"));
        assert_eq!(send(&app, "GET", "/products/42").await, expected);
    }
    assert_eq!(
        send(&app, "DELETE", "/products/42").await,
        answer("EVICTED", "")
    );
    for _ in 0..2 {
        assert_eq!(send(&app, "GET", "/products").await, answer("", "7"));
    }
    let six = send(&app, "GET", "/products/42").await;
    assert_eq!(six, answer("BYPASS", "product 42, read 6"));
    assert_eq!(cache.faults(), 0);
}

#[tokio::test]
async fn a_handler_can_be_called_without_the_cache() {
    let reads = State(Arc::default());
    let body = get_product::uncached(Path(42), reads).await;
    assert_eq!(body, "product 42, read 1");
}
