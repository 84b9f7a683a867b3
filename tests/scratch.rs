//! scratch
use axum::extract::{FromRef, Path, Query, State};
use axum::{Router, body::Body, http::Request, routing::get};
use axum_redis_cache::{Cache, X_REDIS_CACHE, cache_evict, cache_put, cached};
use tower::ServiceExt;

#[cached(ttl = 60)]
async fn item(Path(id): Path<u64>) -> String {
    format!("item {id}")
}

#[cache_evict(item)]
async fn del(Path(id): Path<u64>) -> String {
    format!("no {id}")
}
#[cache_put(item)]
async fn put(Path(id): Path<u64>) -> String {
    format!("put {id}")
}
#[cached(ttl = 60)]
async fn list(
    Path(ab): Path<std::collections::BTreeMap<String, String>>,
    Query(q): Query<std::collections::HashMap<String, String>>,
) -> String {
    format!("{ab:?} {q:?}")
}

async fn go(app: &Router, method: &str, uri: &str) -> String {
    let r = app
        .clone()
        .oneshot(
            Request::builder()
                .method(method)
                .uri(uri)
                .body(Body::empty())
                .unwrap(),
        )
        .await
        .unwrap();
    let o = r
        .headers()
        .get(X_REDIS_CACHE)
        .map_or("-", |v| v.to_str().unwrap())
        .to_owned();
    let b = axum::body::to_bytes(r.into_body(), 1000).await.unwrap();
    format!("{method} {uri}: {o} {}", String::from_utf8_lossy(&b))
}

#[tokio::test]
async fn x() {
    let cache = Cache::in_memory();
    let app = Router::new()
        .route("/items/{id}", get(item).put(put))
        .route("/admin/{id}", axum::routing::delete(del))
        .route("/l/{a}/{b}", get(list))
        .with_state(cache.clone());
    for (m, u) in [
        ("GET", "/items/1"),
        ("GET", "/items/01"),
        ("DELETE", "/admin/01"),
        ("GET", "/items/1"),
        ("PUT", "/items/001"),
        ("GET", "/items/1"),
        ("GET", "/l/x/02?b=1"),
        ("GET", "/l/x/2?b=1"),
    ] {
        println!("{}", go(&app, m, u).await);
    }
    println!("{:?}", item::key(5));
    println!(
        "{:?}",
        axum_redis_cache::Explanation::of(
            app.clone(),
            Request::get("/l/x/2?b=1").body(Body::empty()).unwrap()
        )
        .await
        .unwrap()
        .key
    );
}
