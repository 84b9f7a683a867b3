//! The default key: what shares an entry, and what never does.

use axum::Router;
use axum::extract::{OriginalUri, Path, Query, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::cached;
use serde::Deserialize;

use crate::support::{App, Store, on_every_store, serve};

#[cached(ttl = 30)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30)]
async fn pairs(Query(_): Query<Vec<(String, String)>>, State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30)]
async fn raw(RawQuery(_): RawQuery, State(app): State<App>) -> Response {
    app.run().await
}

#[derive(Deserialize)]
struct Fields {
    a: Option<u8>,
    b: Option<u8>,
    x: Option<String>,
}

#[cached(ttl = 30)]
async fn fields(
    Path(text): Path<String>,
    Query(fields): Query<Fields>,
    State(app): State<App>,
) -> Response {
    let _ = (text, fields.a, fields.b, fields.x);
    app.run().await
}

#[cached(ttl = 30)]
async fn number(Path(number): Path<u8>, State(app): State<App>) -> Response {
    let _ = number;
    app.run().await
}

/// Answers with the target it was asked for.
#[cached(ttl = 30)]
async fn echo(OriginalUri(uri): OriginalUri, State(app): State<App>) -> String {
    let _ = app.run().await;
    uri.to_string()
}

fn router(app: App) -> Router {
    Router::new().fallback(echo).with_state(app)
}

on_every_store!(
    hostile_paths_and_queries_never_collide,
    equivalent_targets_share_an_entry,
    a_handler_that_sees_the_order_or_the_spelling_has_an_entry_for_each,
    a_handler_that_sees_nothing_of_the_path_has_an_entry_for_each_query,
    a_handler_that_sees_the_original_uri_has_an_entry_for_each,
    nested_routers_do_not_share_entries,
);

async fn hostile_paths_and_queries_never_collide(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app.clone())).await;
    let long = "x".repeat(10_000);
    let targets = [
        "/",
        "//",
        "/a",
        "/a/",
        "/a/b",
        "/a%2Fb",
        "/a:b",
        "/a%3Ab",
        "/a{b}",
        "/a%7Bb%7D",
        "/}",
        "/{}",
        "/a?b",
        "/a%3Fb",
        "/a?b=1",
        "/a/b=1",
        "/a?b=1&b=2",
        "/a?b=2&b=1",
        "/a?b=1%26b=2",
        "/a?b=1;b=2",
        "/a*",
        "/a?*",
        "/a[a-z]",
        "/a%",
        "/a%2",
        "/a%25",
        "/a%252F",
        "/a%+A",
        "/a%0A",
        "/a?%+1",
        "/a?%01",
        "/%C3%A4",
        "/%E2%82%AC",
        "/a%00",
        "/a%0D%0A",
        "/a%20b",
        "/a+b",
        "/a%2Bb",
        "/a%23b",
        "/cache:e:",
        "/..",
        "/a/../b",
        "/%23",
        "/a?a=%2526",
    ];
    let long = [
        format!("/{long}"),
        format!("/{long}y"),
        format!("/?{long}"),
        format!("/?{long}=y"),
    ];
    let targets: Vec<&str> = targets
        .into_iter()
        .chain(long.iter().map(String::as_str))
        .collect();
    for outcome in ["MISS", "HIT"] {
        for target in &targets {
            let reply = client.get(target).await;
            assert_eq!(reply.outcome(), outcome, "{target}");
            assert_eq!(reply.text(), *target);
        }
        assert_eq!(app.runs(), targets.len());
    }
}

async fn equivalent_targets_share_an_entry(store: Store) {
    let app = App::counting(store.cache());
    let router = Router::new()
        .route("/{text}", get(fields))
        .route("/numbers/{number}", get(number))
        .route("/pairs", get(pairs));
    let client = serve(router.with_state(app.clone())).await;
    let equivalents = [
        ["/a?b=1&a=2", "/a?a=2&b=1"],
        ["/b?x=1&&", "/b?&x=1"],
        ["/c?", "/c"],
        ["/%64%2d", "/d-"],
        ["/e%2f", "/e%2F"],
        ["/f?x=a+b", "/f?x=a%20b"],
        ["/g?a=01", "/g?a=1"],
        ["/numbers/01", "/numbers/1"],
        ["/pairs?x=1&&", "/pairs?&x=1"],
        ["/pairs?x=%41", "/pairs?%78=A"],
    ];
    for [one, other] in equivalents {
        assert_eq!(client.get(one).await.outcome(), "MISS", "{one}");
        assert_eq!(client.get(other).await.outcome(), "HIT", "{other}");
    }
}

async fn a_handler_that_sees_the_order_or_the_spelling_has_an_entry_for_each(store: Store) {
    let app = App::counting(store.cache());
    let router = Router::new()
        .route("/{text}", get(fields))
        .route("/pairs", get(pairs))
        .route("/raw", get(raw));
    let client = serve(router.with_state(app.clone())).await;
    let targets = [
        "/pairs?b=1&a=2",
        "/pairs?a=2&b=1",
        "/raw?b=1&a=2",
        "/raw?a=2&b=1",
        "/raw?a=2&b=%31",
        "/raw?",
        "/raw",
        "/1",
        "/01",
    ];
    for outcome in ["MISS", "HIT"] {
        for target in targets {
            assert_eq!(client.get(target).await.outcome(), outcome, "{target}");
        }
    }
}

async fn a_handler_that_sees_nothing_of_the_path_has_an_entry_for_each_query(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(Router::new().fallback(raw).with_state(app)).await;
    for (target, outcome) in [("/a?b", "MISS"), ("/c?b", "HIT"), ("/a?c", "MISS")] {
        assert_eq!(client.get(target).await.outcome(), outcome, "{target}");
    }
}

async fn a_handler_that_sees_the_original_uri_has_an_entry_for_each(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let targets = [
        "/a?b=1&a=2",
        "/a?a=2&b=1",
        "http://other.example/a?a=2&b=1",
        "http://other.example/a",
        "/a",
    ];
    for outcome in ["MISS", "HIT"] {
        for target in targets {
            let reply = client.get(target).await;
            assert_eq!((reply.outcome(), reply.text()), (outcome, target));
        }
    }
}

async fn nested_routers_do_not_share_entries(store: Store) {
    let app = App::counting(store.cache());
    let inner = Router::new().route("/x", get(read));
    let router = Router::new()
        .nest("/v1", inner.clone())
        .nest("/v2", inner)
        .with_state(app);
    let client = serve(router).await;
    for outcome in ["MISS", "HIT"] {
        for (run, path) in ["/v1/x", "/v2/x"].iter().enumerate() {
            let reply = client.get(path).await;
            assert_eq!(
                (reply.outcome(), reply.text()),
                (outcome, &*format!("run {run}"))
            );
        }
    }
}
