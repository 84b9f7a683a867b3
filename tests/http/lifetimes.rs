//! The freshness lifetime of a response, as routes and handlers set it and clients are told of it.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::cached;

use crate::support::{App, Store, on_every_store, serve, settings, tells_what_is_left};

#[cached(ttl = 30, query)]
async fn plain(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = "300ms")]
async fn short(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 0, query)]
async fn unbounded(State(app): State<App>) -> Response {
    app.run().await
}

#[cached]
async fn by_default(State(app): State<App>) -> Response {
    app.run().await
}

const TTL: Duration = Duration::from_secs(40);

#[cached(ttl = TTL, max_age = Duration::from_secs(7))]
async fn shorter_for_clients(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, private)]
async fn private(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, public)]
async fn public(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, no_store)]
async fn no_store(State(app): State<App>) -> Response {
    app.run().await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/plain", get(plain))
        .route("/short", get(short))
        .route("/unbounded", get(unbounded))
        .route("/default", get(by_default))
        .route("/shorter", get(shorter_for_clients))
        .route("/private", get(private))
        .route("/public", get(public))
        .route("/no-store", get(no_store))
        .with_state(app)
}

on_every_store!(
    clients_are_told_what_is_left_and_a_stale_response_is_not_reused,
    without_expiry_clients_revalidate,
    a_route_without_ttl_takes_the_default,
    a_route_can_tell_clients_something_else,
    a_handler_can_set_the_lifetime,
);

async fn clients_are_told_what_is_left_and_a_stale_response_is_not_reused(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app)).await;
    for _ in 0..2 {
        let reply = client.get("/short").await;
        assert_eq!(
            reply.field("cache-control"),
            Some("no-cache"),
            "less than a second is left"
        );
    }
    // The time after which the response is stale.
    tokio::time::sleep(Duration::from_millis(350)).await;
    let reply = client.get("/short").await;
    assert_eq!((reply.outcome(), reply.text()), ("MISS", "run 1"));

    client.get("/plain").await;
    // The time that is taken off the lifetime that clients are told.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let reply = client.get("/plain").await;
    assert_eq!(reply.field("cache-control"), Some("max-age=28"));
}

async fn without_expiry_clients_revalidate(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for path in ["/unbounded", "/default"] {
        for outcome in ["MISS", "HIT"] {
            let reply = client.get(path).await;
            assert_eq!(reply.outcome(), outcome);
            assert_eq!(reply.field("cache-control"), Some("no-cache"));
        }
    }
}

async fn a_route_without_ttl_takes_the_default(store: Store) {
    let settings = settings().default_ttl(Duration::from_secs(9));
    let client = serve(router(App::counting(store.cache_with(settings)))).await;
    assert_eq!(
        client.get("/default").await.field("cache-control"),
        Some("max-age=9")
    );
    let unbounded = client.get("/unbounded").await;
    assert_eq!(
        unbounded.field("cache-control"),
        Some("no-cache"),
        "0 is no expiry"
    );
}

async fn a_route_can_tell_clients_something_else(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let told = [
        ("/shorter", "max-age=7"),
        ("/private", "private, max-age=30"),
        ("/public", "public, max-age=30"),
        ("/no-store", "no-store"),
    ];
    for (path, told) in told {
        for outcome in ["MISS", "HIT"] {
            let reply = client.get(path).await;
            assert_eq!(reply.outcome(), outcome);
            assert!(tells_what_is_left(&reply, told), "{reply:?}");
        }
    }
}

async fn a_handler_can_set_the_lifetime(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        let directives = [
            "max-age=5, immutable",
            "max-age=100",
            "max-age=3, s-maxage=60",
        ];
        let expires = httpdate::fmt_http_date(std::time::SystemTime::now() + TTL);
        match directives.get(run) {
            Some(directives) => [("cache-control", directives.to_string())],
            None => [("expires", expires)],
        }
    });
    let client = serve(router(app)).await;
    let told = [
        "max-age=5, immutable",
        "max-age=100",
        "max-age=3, s-maxage=60",
    ];
    for (path, told) in ["/plain?a", "/plain?b", "/unbounded"].into_iter().zip(told) {
        for outcome in ["MISS", "HIT"] {
            let reply = client.get(path).await;
            assert_eq!(reply.outcome(), outcome);
            assert!(tells_what_is_left(&reply, told), "{reply:?}");
        }
    }
    let reply = client.get("/plain?c").await;
    assert_eq!(
        reply.field("cache-control"),
        Some("max-age=30"),
        "Expires is later"
    );
    let reply = client.get("/unbounded?c").await;
    assert!(["max-age=40", "max-age=39"].contains(&reply.field("cache-control").unwrap()));
}
