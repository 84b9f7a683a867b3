//! `#[cache_evict]`: what is evicted, when, and what is left alone.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use axum_redis_cache::{cache_evict, cached};
use test_support::{Gate, until};
use tokio::sync::Notify;

use crate::support::{
    App, OnDrop, Store, is_dropped, is_stored, on_every_store, serve, settings, stored,
};

#[cached(ttl = 30)]
async fn root(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, query)]
async fn plain(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, group = "a")]
async fn in_a(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, group = ["b", "a"])]
async fn in_a_and_b(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, group = "a*")]
async fn in_glob(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, group = "a:{{b}}? [é]\n\0")]
async fn in_odd(State(app): State<App>) -> Response {
    app.run().await
}

/// The names begin like a group of a scope, and like the hash of a name.
#[cached(ttl = 30, group = "(a)b")]
async fn in_parentheses(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, group = "#a")]
async fn in_hash(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary("x-variant"))]
async fn varied(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(root)]
async fn evict_root() {}

#[cache_evict(plain)]
async fn evict_plain() {}

#[cache_evict(varied)]
async fn evict_varied() {}

#[cache_evict(plain("/plain?b=2&a=1"))]
async fn evict_one_query() {}

#[cache_evict(group = "a")]
async fn evict_a() {}

#[cache_evict(group = ["b", "a*"])]
async fn evict_b_and_glob() {}

#[cache_evict(group = "a:{{b}}? [é]\n\0")]
async fn evict_odd() {}

#[cache_evict(group = ["(a)b", "#a"])]
async fn evict_parentheses_and_hash() {}

#[cache_evict(all)]
async fn evict_all() {}

#[cache_evict(plain)]
async fn answers(axum::extract::Query(status): axum::extract::Query<Status>) -> StatusCode {
    StatusCode::from_u16(status.status).unwrap()
}

#[cache_evict(plain, always)]
async fn always(axum::extract::Query(status): axum::extract::Query<Status>) -> StatusCode {
    StatusCode::from_u16(status.status).unwrap()
}

#[derive(serde::Deserialize)]
struct Status {
    status: u16,
}

#[cache_evict(plain)]
async fn gated(axum::Extension(gate): axum::Extension<Gate>) {
    gate.pass().await;
}

fn router(app: App) -> Router {
    Router::new()
        .route("/", get(root).delete(evict_root))
        .route(
            "/plain",
            get(plain)
                .delete(evict_plain)
                .post(answers)
                .put(always)
                .patch(gated),
        )
        .route("/a", get(in_a))
        .route("/ab", get(in_a_and_b))
        .route("/glob", get(in_glob))
        .route("/odd", get(in_odd))
        .route("/parentheses", get(in_parentheses))
        .route("/hash", get(in_hash))
        .route("/varied", get(varied).delete(evict_varied))
        .route("/evict/plain", post(evict_plain))
        .route("/evict/query", post(evict_one_query))
        .route("/evict/a", post(evict_a))
        .route("/evict/b-glob", post(evict_b_and_glob))
        .route("/evict/odd", post(evict_odd))
        .route("/evict/both", post(evict_parentheses_and_hash))
        .route("/evict/all", post(evict_all))
        .with_state(app)
}

/// Stores a response for each path, evicts, and returns which paths still have theirs.
async fn left_after<'a>(store: Store, paths: &[&'a str], evict: (&str, &str)) -> Vec<&'a str> {
    let client = serve(router(App::counting(store.cache()))).await;
    for path in paths {
        client.get(path).await;
    }
    let reply = client.send(evict.0, evict.1, &[]).await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (200, "EVICTED"));
    let mut left = Vec::new();
    for path in paths {
        if is_stored(&client, path).await {
            left.push(*path);
        }
    }
    left
}

const PATHS: [&str; 9] = [
    "/",
    "/plain",
    "/plain?a=1&b=2",
    "/a",
    "/ab",
    "/glob",
    "/odd",
    "/parentheses",
    "/hash",
];

on_every_store!(
    a_handler_is_evicted_alone_with_every_query,
    a_key_is_evicted_alone,
    a_group_is_evicted_and_others_are_left_alone_whatever_their_names,
    all_evicts_everything_with_or_without_a_group,
    a_key_is_evicted_with_all_its_variants,
    only_success_evicts_unless_always,
    an_eviction_survives_its_client,
);

async fn a_handler_is_evicted_alone_with_every_query(store: Store) {
    for evict in [
        ("DELETE", "/plain"),
        ("DELETE", "/plain?b=2&a=1"),
        ("DELETE", "/plain?a=2"),
        ("POST", "/evict/plain"),
    ] {
        let left = left_after(store, &PATHS, evict).await;
        assert_eq!(
            left,
            ["/", "/a", "/ab", "/glob", "/odd", "/parentheses", "/hash"],
            "{evict:?}"
        );
    }
    let left = left_after(store, &PATHS, ("DELETE", "/")).await;
    assert_eq!(
        left,
        [
            "/plain",
            "/plain?a=1&b=2",
            "/a",
            "/ab",
            "/glob",
            "/odd",
            "/parentheses",
            "/hash"
        ]
    );
}

async fn a_key_is_evicted_alone(store: Store) {
    let left = left_after(store, &PATHS, ("POST", "/evict/query")).await;
    assert_eq!(
        left,
        [
            "/",
            "/plain",
            "/a",
            "/ab",
            "/glob",
            "/odd",
            "/parentheses",
            "/hash"
        ]
    );
}

async fn a_group_is_evicted_and_others_are_left_alone_whatever_their_names(store: Store) {
    let left = left_after(store, &PATHS, ("POST", "/evict/a")).await;
    assert_eq!(
        left,
        [
            "/",
            "/plain",
            "/plain?a=1&b=2",
            "/glob",
            "/odd",
            "/parentheses",
            "/hash"
        ]
    );
    let left = left_after(store, &PATHS, ("POST", "/evict/b-glob")).await;
    assert_eq!(
        left,
        [
            "/",
            "/plain",
            "/plain?a=1&b=2",
            "/a",
            "/odd",
            "/parentheses",
            "/hash"
        ]
    );
    let left = left_after(store, &PATHS, ("POST", "/evict/odd")).await;
    assert_eq!(
        left,
        [
            "/",
            "/plain",
            "/plain?a=1&b=2",
            "/a",
            "/ab",
            "/glob",
            "/parentheses",
            "/hash"
        ]
    );
    let left = left_after(store, &PATHS, ("POST", "/evict/both")).await;
    assert_eq!(left, PATHS[..7]);
}

async fn all_evicts_everything_with_or_without_a_group(store: Store) {
    let left = left_after(store, &PATHS, ("POST", "/evict/all")).await;
    assert_eq!(left, [""; 0]);
}

async fn a_key_is_evicted_with_all_its_variants(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let variants: [&[(&str, &str)]; 2] = [&[], &[("x-variant", "1")]];
    for fields in variants {
        client.get_with("/varied", fields).await;
        assert_eq!(client.get_with("/varied", fields).await.outcome(), "HIT");
    }
    client.send("DELETE", "/varied", &[]).await;
    for fields in variants {
        assert_eq!(client.get_with("/varied", fields).await.outcome(), "MISS");
    }
}

async fn only_success_evicts_unless_always(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for (status, evicts) in [
        (200, true),
        (204, true),
        (303, true),
        (404, false),
        (500, false),
    ] {
        let path = format!("/plain?status={status}");
        client.get(&path).await;
        assert_eq!(
            client.send("POST", &path, &[]).await.status.as_u16(),
            status
        );
        assert_eq!(is_stored(&client, &path).await, !evicts, "{status}");
        client.get(&path).await;
        assert_eq!(client.send("PUT", &path, &[]).await.status.as_u16(), status);
        assert!(!is_stored(&client, &path).await, "{status}");
    }
}

async fn an_eviction_survives_its_client(store: Store) {
    let gate = Gate::new();
    let app = App::counting(store.cache());
    let client = serve(router(app).layer(axum::Extension(gate.clone()))).await;
    client.get("/plain").await;
    let request = tokio::spawn(async move { client.send("PATCH", "/plain", &[]).await });
    gate.entered().await;
    request.abort();
    gate.open();
    until("the entry is evicted", async || {
        !is_stored(&client, "/plain").await
    })
    .await;
}

#[tokio::test]
async fn after_the_reply_to_an_eviction_no_process_serves_the_old_entry() {
    let settings = settings();
    let cache = || Store::Redis.cache_with(settings.clone());
    let one = serve(router(App::counting(cache()))).await;
    let other = serve(router(App::new(cache(), |_| async { "other" }))).await;
    for _ in 0..50 {
        one.get("/a").await;
        assert_eq!(other.get("/a").await.outcome(), "HIT");
        other.send("POST", "/evict/a", &[]).await;
        assert_eq!(one.get("/a").await.outcome(), "MISS");
        one.send("POST", "/evict/all", &[]).await;
        assert_eq!(other.get("/a").await.text(), "other");
        one.send("POST", "/evict/a", &[]).await;
    }
}

#[cached(ttl = 30)]
async fn kept(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(all)]
async fn refused(Extension(gate): Extension<Gate>) -> StatusCode {
    gate.pass().await;
    StatusCode::FORBIDDEN
}

on_every_store!(a_client_that_leaves_early_evicts_no_more_than_the_answer_would);

async fn a_client_that_leaves_early_evicts_no_more_than_the_answer_would(store: Store) {
    let (gate, left) = (Gate::new(), Arc::new(Notify::new()));
    let cache = store.cache();
    let watched = Arc::clone(&left);
    let watch = move |request: Request, next: Next| {
        let watched = OnDrop(Arc::clone(&watched));
        async move {
            let response = next.run(request).await;
            drop(watched);
            response
        }
    };
    let router = Router::new()
        .route("/", delete(refused).layer(from_fn(watch)).get(kept))
        .layer(Extension(gate.clone()))
        .with_state(App::counting(cache.clone()));
    let client = serve(router).await;
    stored(&client, "/").await;
    let leaving = tokio::spawn(async move { client.send("DELETE", "/", &[]).await });
    gate.entered().await;
    leaving.abort();
    is_dropped(&left).await;
    gate.open();
    // Waits for the run that has lost its client.
    cache.shutdown().await;
    assert_eq!(client.get("/").await.outcome(), "HIT");
}

#[cached(ttl = 30, group = "one")]
async fn of_one(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, group = "other")]
async fn of_other(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(group = "one")]
#[cache_evict(group = "other")]
async fn evict_both(Extension(gate): Extension<Gate>, stopped: Extension<Arc<Notify>>) {
    let _stopped = OnDrop(Arc::clone(&stopped));
    gate.pass().await;
}

on_every_store!(a_write_that_takes_too_long_without_its_client_ends_as_a_whole);

async fn a_write_that_takes_too_long_without_its_client_ends_as_a_whole(store: Store) {
    let (gate, stopped) = (Gate::new(), Arc::new(Notify::new()));
    let lease = std::time::Duration::from_millis(600);
    let cache = store.cache_with(settings().lease_ttl(lease));
    let router = Router::new()
        .route("/", get(of_one).delete(evict_both))
        .route("/other", get(of_other))
        .layer(Extension(gate.clone()))
        .layer(Extension(Arc::clone(&stopped)))
        .with_state(App::counting(cache.clone()));
    let client = serve(router).await;
    let old = [stored(&client, "/").await, stored(&client, "/other").await];
    let leaving = tokio::spawn(async move { client.send("DELETE", "/", &[]).await });
    gate.entered().await;
    leaving.abort();
    // Nobody knows how far the handler came: once its time is over, it evicts everything it names.
    is_dropped(&stopped).await;
    cache.shutdown().await;
    assert_ne!(client.get("/").await.text(), old[0]);
    assert_ne!(client.get("/other").await.text(), old[1]);
}
