//! The freshness lifetime of a response, as routes and handlers set it and clients are told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{AppendHeaders, Response};
use axum::routing::get;
use axum::{Extension, Router};
use axum_redis_cache::{cache_evict, cache_put, cached};
use test_support::Reply;

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

#[cached(ttl = 100, jitter = "10%", query)]
async fn with_jitter(
    Query(_): Query<BTreeMap<String, String>>,
    State(app): State<App>,
) -> Response {
    app.run().await
}

#[cached(ttl = "1s", jitter = "50%", query)]
async fn with_jitter_of_a_second(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 300, max_age = 10, cdn_max_age = 60, query)]
async fn for_cdns(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 20, no_store, cdn_max_age = "1h")]
async fn for_cdns_alone(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 300, cdn_max_age = 60, vary_by(user.0))]
async fn for_one_user(Extension(user): Extension<User>, State(app): State<App>) -> Response {
    let _ = user;
    app.run().await
}

#[derive(Clone)]
struct User(u32);

const SHORT: Duration = Duration::from_secs(5);

#[cached(ttl = 30, status(200, 404 = "10s", 410 = SHORT, 301 = 0))]
async fn by_status(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

#[cache_evict(by_status)]
async fn evict_by_status() {}

#[cache_put(by_status)]
async fn write_by_status() -> &'static str {
    "written"
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
        .route("/cdn", get(for_cdns))
        .route("/cdn-alone", get(for_cdns_alone))
        .route("/user", get(for_one_user).layer(Extension(User(7))))
        .route("/jitter", get(with_jitter))
        .route("/second", get(with_jitter_of_a_second))
        .route(
            "/status/{id}",
            get(by_status).delete(evict_by_status).put(write_by_status),
        )
        .with_state(app)
}

on_every_store!(
    clients_are_told_what_is_left_and_a_stale_response_is_not_reused,
    without_expiry_clients_revalidate,
    a_route_without_ttl_takes_the_default,
    a_route_can_tell_clients_something_else,
    a_handler_can_set_the_lifetime,
    cdns_have_a_lifetime_of_their_own,
    the_lifetime_that_a_handler_sets_for_cdns_counts,
    entries_that_are_stored_together_expire_apart,
    a_short_lifetime_with_jitter_is_never_said_to_be_over,
    statuses_have_lifetimes_of_their_own,
    the_shorter_of_the_lifetimes_of_a_status_and_a_handler_applies,
    writes_replace_and_evict_what_was_not_found,
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

/// Returns the `max-age` of a reply.
fn max_age(reply: &Reply) -> Option<u64> {
    let field = reply.field("cache-control")?;
    field.strip_prefix("max-age=")?.parse().ok()
}

async fn entries_that_are_stored_together_expire_apart(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let mut lifetimes = BTreeSet::new();
    for number in 0..100 {
        let path = format!("/jitter?number={number}");
        let lifetime = max_age(&client.get(&path).await).unwrap();
        assert!((89..=100).contains(&lifetime), "{lifetime}");
        let hit = client.get(&path).await;
        assert_eq!(hit.outcome(), "HIT");
        assert!(max_age(&hit).unwrap() <= lifetime);
        lifetimes.insert(lifetime);
    }
    assert!(lifetimes.len() >= 8, "{lifetimes:?}");
}

async fn a_short_lifetime_with_jitter_is_never_said_to_be_over(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for number in 0..20 {
        let reply = client.get(&format!("/second?{number}")).await;
        assert_eq!(reply.outcome(), "MISS");
        assert_eq!(reply.field("cache-control"), Some("no-cache"));
    }
}

async fn statuses_have_lifetimes_of_their_own(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        StatusCode::from_u16([200, 404, 410, 301, 500][run]).unwrap()
    });
    let client = serve(router(app)).await;
    for (id, told) in ["max-age=30", "max-age=10", "max-age=5", "no-cache"]
        .iter()
        .enumerate()
    {
        for outcome in ["MISS", "HIT"] {
            let reply = client.get(&format!("/status/{id}")).await;
            assert_eq!(reply.outcome(), outcome);
            assert!(tells_what_is_left(&reply, told), "{reply:?}");
        }
    }
    assert_eq!(client.get("/status/4").await.outcome(), "BYPASS");
}

async fn the_shorter_of_the_lifetimes_of_a_status_and_a_handler_applies(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        let directives = ["max-age=3600", "max-age=4"][run];
        (
            StatusCode::NOT_FOUND,
            AppendHeaders([(CACHE_CONTROL, directives)]),
        )
    });
    let client = serve(router(app)).await;
    for (id, told) in ["max-age=10", "max-age=4"].iter().enumerate() {
        for outcome in ["MISS", "HIT"] {
            let reply = client.get(&format!("/status/{id}")).await;
            assert_eq!(reply.outcome(), outcome);
            assert!(tells_what_is_left(&reply, told), "{reply:?}");
        }
    }
}

async fn writes_replace_and_evict_what_was_not_found(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        let found = run % 2 == 1;
        (
            if found {
                StatusCode::OK
            } else {
                StatusCode::NOT_FOUND
            },
            format!("run {run}"),
        )
    });
    let client = serve(router(app)).await;
    for _ in 0..2 {
        assert_eq!(client.get("/status/7").await.status.as_u16(), 404);
    }
    let evicted = client.send("DELETE", "/status/7", &[]).await;
    assert_eq!(evicted.outcome(), "EVICTED");
    assert_eq!(client.get("/status/7").await.status.as_u16(), 200);
    assert_eq!(client.get("/status/8").await.status.as_u16(), 404);
    let written = client.send("PUT", "/status/8", &[]).await;
    assert_eq!(written.outcome(), "STORED");
    let hit = client.get("/status/8").await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", "written"));
    assert!(tells_what_is_left(&hit, "max-age=30"), "{hit:?}");
}

async fn cdns_have_a_lifetime_of_their_own(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for (path, for_clients, for_cdns) in [
        ("/cdn", "max-age=10", Some("max-age=60")),
        ("/cdn-alone", "no-store", Some("max-age=20")),
        ("/user", "private, max-age=300", None),
    ] {
        for outcome in ["MISS", "HIT"] {
            let reply = client.get(path).await;
            assert_eq!(reply.outcome(), outcome);
            assert!(tells_what_is_left(&reply, for_clients), "{reply:?}");
            let seconds = |field: &str| field.strip_prefix("max-age=")?.parse::<u64>().ok();
            let told = reply.field("cdn-cache-control").and_then(seconds);
            let new = for_cdns.and_then(seconds);
            assert_eq!(told.is_some(), new.is_some(), "{reply:?}");
            assert!(
                told <= new && new.unwrap_or(0) - told.unwrap_or(0) <= 5,
                "{reply:?}"
            );
        }
    }
    let etag = client.get("/cdn").await.field("etag").unwrap().to_owned();
    let current = client.get_with("/cdn", &[("if-none-match", &etag)]).await;
    assert_eq!(current.status.as_u16(), 304);
    assert!(current.field("cdn-cache-control").is_some());
}

async fn the_lifetime_that_a_handler_sets_for_cdns_counts(store: Store) {
    let app = App::new(store.cache(), |_| async {
        (AppendHeaders([("cdn-cache-control", "max-age=7")]), "text")
    });
    let client = serve(router(app)).await;
    for outcome in ["MISS", "HIT"] {
        let reply = client.get("/cdn").await;
        assert_eq!(reply.outcome(), outcome);
        let told = reply.field("cdn-cache-control").unwrap();
        assert!(
            ["max-age=7", "max-age=6", "max-age=5"].contains(&told),
            "{told}"
        );
        assert_eq!(reply.headers.get_all("cdn-cache-control").iter().count(), 1);
    }
}
