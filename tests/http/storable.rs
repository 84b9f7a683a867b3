//! Responses that are never stored, with the outcome `BYPASS`.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{IdentifiesCaller, cached};
use test_support::RedisServer;

use crate::support::{
    App, KnownLength, Store, on_every_store, patient, serve, settings, tells_what_is_left,
};

#[cached(ttl = 30)]
async fn plain(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary("Accept"))]
async fn varied(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, private)]
async fn private(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, no_store)]
async fn no_store(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, public)]
async fn public(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary("authorization"), ignore(_headers))]
async fn per_user(_headers: HeaderMap, State(app): State<App>) -> Response {
    app.run().await
}

/// The caller, from a field of the request.
struct Caller(String);

impl IdentifiesCaller for Caller {}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(format!("{:?}", parts.headers.get("x-user"))))
    }
}

#[cached(ttl = 30, vary_by(caller.0))]
async fn identified(caller: Caller, State(app): State<App>) -> Response {
    let _ = caller;
    app.run().await
}

#[cached(ttl = 30, vary_by(caller.0), public)]
async fn identified_public(caller: Caller, State(app): State<App>) -> Response {
    let _ = caller;
    app.run().await
}

/// Nobody says that it identifies the caller.
struct Session(String);

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(format!("{:?}", parts.headers.get("cookie"))))
    }
}

#[cached(ttl = 30, vary_by(session.0))]
async fn per_session(session: Session, State(app): State<App>) -> Response {
    let _ = session;
    app.run().await
}

#[cached(ttl = 30, key = "session:{session.0}")]
async fn keyed_by_session(session: Session, State(app): State<App>) -> Response {
    let _ = session;
    app.run().await
}

#[cached(ttl = 30, vary_by(session.0), public)]
async fn per_session_public(session: Session, State(app): State<App>) -> Response {
    let _ = session;
    app.run().await
}

#[cached(ttl = 30, vary_by(id % 2))]
async fn by_parity(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/plain", get(plain))
        .route("/varied", get(varied))
        .route("/private", get(private))
        .route("/no-store", get(no_store))
        .route("/public", get(public))
        .route("/per-user", get(per_user))
        .route("/identified", get(identified))
        .route("/per-session", get(per_session))
        .route("/keyed-by-session", get(keyed_by_session))
        .route("/per-session-public", get(per_session_public))
        .route("/by-parity/{id}", get(by_parity))
        .route("/identified-public", get(identified_public))
        .with_state(app)
}

/// Asks twice: the handler runs twice, and its response is passed on as it is.
async fn is_bypassed<R: IntoResponse>(
    store: Store,
    response: impl Fn() -> R + Send + Sync + 'static,
) {
    let app = App::new(store.cache(), move |_| {
        std::future::ready(response().into_response())
    });
    let client = serve(router(app.clone())).await;
    for run in 1..=2 {
        let reply = client.get("/varied").await;
        assert_eq!((reply.outcome(), app.runs()), ("BYPASS", run));
        assert_eq!(reply.text(), "body");
        assert_eq!(reply.field("x-own"), Some("1"));
    }
}

fn with(fields: &'static [(&'static str, &'static str)]) -> Response {
    let mut response = ([("x-own", "1")], "body").into_response();
    response.headers_mut().remove("content-type");
    for (name, value) in fields {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

on_every_store!(
    responses_for_one_request_are_not_stored,
    a_vary_that_the_route_nominates_is_stored,
    bodies_with_trailers_pass_through,
    bodies_over_the_limit_pass_through,
    a_body_as_long_as_its_content_length_is_stored,
    directives_of_a_route_are_on_responses_that_are_not_stored_too,
    a_response_with_a_key_that_proxies_do_not_see_is_private_unless_the_route_is_public,
    a_body_of_known_length_that_breaks_is_passed_on_and_not_stored,
    a_body_that_breaks_where_it_should_end_is_not_stored,
    the_rest_of_a_lifetime_is_told_only_of_stored_responses,
    a_request_for_a_range_passes_through,
    a_request_with_authorization_passes_through_unless_the_route_accounts_for_it,
);

async fn responses_for_one_request_are_not_stored(store: Store) {
    is_bypassed(store, || with(&[("set-cookie", "a=1")])).await;
    is_bypassed(store, || with(&[("cache-control", "no-store")])).await;
    is_bypassed(store, || with(&[("cache-control", "public, PRIVATE")])).await;
    is_bypassed(store, || {
        with(&[("cache-control", "no-cache=\"set-cookie\"")])
    })
    .await;
    is_bypassed(store, || with(&[("cache-control", "max-age=0")])).await;
    is_bypassed(store, || {
        with(&[("cache-control", "max-age=60, s-maxage=0")])
    })
    .await;
    is_bypassed(store, || with(&[("cache-control", "max-age=soon")])).await;
    is_bypassed(store, || with(&[("expires", "0")])).await;
    is_bypassed(store, || {
        with(&[("expires", "Sun, 06 Nov 1994 08:49:37 GMT")])
    })
    .await;
    is_bypassed(store, || {
        with(&[("cache-control", "max-age=60"), ("age", "60")])
    })
    .await;
    is_bypassed(store, || with(&[("vary", "*")])).await;
    is_bypassed(store, || {
        with(&[("vary", "accept"), ("vary", "accept, cookie")])
    })
    .await;
    is_bypassed(store, || with(&[("content-range", "bytes 0-3/9")])).await;
    is_bypassed(store, || with(&[("trailer", "x-checksum")])).await;
    is_bypassed(store, || {
        with(&[("content-type", "Text/Event-Stream; charset=utf-8")])
    })
    .await;
}

async fn a_vary_that_the_route_nominates_is_stored(store: Store) {
    let app = App::new(store.cache(), |_| async { with(&[("vary", "ACCEPT")]) });
    let client = serve(router(app)).await;
    for outcome in ["MISS", "HIT"] {
        let reply = client.get("/varied").await;
        assert_eq!(
            (reply.outcome(), reply.field("vary")),
            (outcome, Some("ACCEPT"))
        );
    }
}

async fn bodies_with_trailers_pass_through(store: Store) {
    is_bypassed(store, || {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
        let frames = [
            Ok::<_, std::convert::Infallible>(http_body::Frame::data("body".into())),
            Ok(http_body::Frame::trailers(trailers)),
        ];
        let stream = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        (
            AppendHeaders([("x-own", "1")]),
            Body::new(KnownLength::of(stream, 4)),
        )
    })
    .await;
}

async fn bodies_over_the_limit_pass_through(store: Store) {
    let cache = store.cache_with(settings().max_body_bytes(100));
    let app = App::new(cache, |run| async move {
        "x".repeat(if run < 2 { 101 } else { 100 })
    });
    let client = serve(router(app)).await;
    for (outcome, length) in [
        ("BYPASS", 101),
        ("BYPASS", 101),
        ("MISS", 100),
        ("HIT", 100),
    ] {
        let reply = client.get("/plain").await;
        assert_eq!((reply.outcome(), reply.body.len()), (outcome, length));
    }
}

async fn a_body_as_long_as_its_content_length_is_stored(store: Store) {
    let app = App::new(store.cache(), |_| async {
        ([("content-length", "4")], "body")
    });
    let client = serve(router(app)).await;
    for outcome in ["MISS", "HIT"] {
        let reply = client.get("/plain").await;
        assert_eq!((reply.outcome(), reply.text()), (outcome, "body"));
        assert_eq!(reply.field("content-length"), Some("4"));
    }
}

async fn directives_of_a_route_are_on_responses_that_are_not_stored_too(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        let own = (run == 2).then_some(("cache-control", "max-age=5, private"));
        (axum::http::StatusCode::NOT_FOUND, AppendHeaders(own))
    });
    let client = serve(router(app)).await;
    let told = [("/private", "private"), ("/no-store", "no-store")];
    for (path, told) in told {
        assert_eq!(client.get(path).await.field("cache-control"), Some(told));
    }
    let own = client.get("/private").await;
    assert_eq!(own.field("cache-control"), Some("max-age=5, private"));
    assert_eq!(client.get("/varied").await.field("vary"), Some("accept"));
}

async fn a_response_with_a_key_that_proxies_do_not_see_is_private_unless_the_route_is_public(
    store: Store,
) {
    let client = serve(router(App::counting(store.cache()))).await;
    for outcome in ["MISS", "HIT"] {
        for (path, told) in [
            ("/per-user", "private, max-age=30"),
            ("/identified", "private, max-age=30"),
            ("/identified-public", "public, max-age=30"),
            ("/per-session", "private, max-age=30"),
            ("/keyed-by-session", "private, max-age=30"),
            ("/per-session-public", "public, max-age=30"),
            ("/by-parity/1", "max-age=30"),
            ("/plain", "max-age=30"),
        ] {
            let reply = client.get_with(path, &[("x-user", "alice")]).await;
            assert_eq!(reply.outcome(), outcome);
            assert!(tells_what_is_left(&reply, told), "{path}: {reply:?}");
        }
    }
}

async fn a_body_of_known_length_that_breaks_is_passed_on_and_not_stored(store: Store) {
    let app = App::new(store.cache(), |_| async {
        let chunks = futures_util::stream::iter([Ok("half"), Err(std::io::Error::other("x"))]);
        let chunks = futures_util::StreamExt::then(chunks, |chunk| async {
            tokio::task::yield_now().await;
            chunk.map(|chunk| http_body::Frame::data(bytes::Bytes::from(chunk)))
        });
        Body::new(KnownLength::of(
            Box::pin(http_body_util::StreamBody::new(chunks)),
            9,
        ))
    });
    let client = serve(router(app.clone())).await;
    for run in 1..=2 {
        let response = client.try_open("GET", "/plain", &[]).await;
        // The head was sent before the body broke.
        assert!(response.is_none_or(|response| response.headers()["x-redis-cache"] == "MISS"));
        assert_eq!(app.runs(), run);
    }
}

async fn a_body_that_breaks_where_it_should_end_is_not_stored(store: Store) {
    let app = App::new(store.cache(), |_| async {
        let chunks = futures_util::stream::iter([Ok("body"), Err(std::io::Error::other("x"))]);
        let chunks = futures_util::StreamExt::then(chunks, |chunk| async {
            if chunk.is_ok() {
                tokio::task::yield_now().await;
            }
            chunk.map(|chunk| http_body::Frame::data(bytes::Bytes::from(chunk)))
        });
        Body::new(KnownLength::of(
            Box::pin(http_body_util::StreamBody::new(chunks)),
            4,
        ))
    });
    let client = serve(router(app.clone())).await;
    for run in 1..=2 {
        assert_eq!(client.get("/plain").await.outcome(), "MISS");
        assert_eq!(app.runs(), run);
    }
}

async fn the_rest_of_a_lifetime_is_told_only_of_stored_responses(store: Store) {
    let cache = store.cache_with(settings().max_body_bytes(3));
    let app = App::new(cache, |_| async {
        ([("cache-control", "max-age=60"), ("age", "50")], "body")
    });
    let client = serve(router(app)).await;
    let reply = client.get("/plain").await;
    assert_eq!(reply.outcome(), "BYPASS");
    assert_eq!(reply.field("cache-control"), Some("max-age=60"));
    assert_eq!(reply.field("age"), Some("50"));
}

async fn a_request_for_a_range_passes_through(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app)).await;
    client.get("/plain").await;
    let reply = client.get_with("/plain", &[("range", "bytes=0-1")]).await;
    assert_eq!((reply.outcome(), reply.text()), ("BYPASS", "run 1"));
    assert_eq!(client.get("/plain").await.text(), "run 0");
}

async fn a_request_with_authorization_passes_through_unless_the_route_accounts_for_it(
    store: Store,
) {
    let app = App::counting(store.cache());
    let client = serve(router(app)).await;
    let alice = [("authorization", "Bearer alice")];
    let bob = [("authorization", "Bearer bob")];
    assert_eq!(client.get("/plain").await.outcome(), "MISS");
    assert_eq!(client.get_with("/plain", &alice).await.outcome(), "BYPASS");
    assert_eq!(client.get("/plain").await.text(), "run 0");
    assert_eq!(client.get_with("/public", &alice).await.outcome(), "MISS");
    assert_eq!(client.get_with("/public", &bob).await.outcome(), "HIT");
    assert_eq!(client.get_with("/per-user", &alice).await.outcome(), "MISS");
    assert_eq!(client.get_with("/per-user", &bob).await.outcome(), "MISS");
    let own = client.get_with("/per-user", &alice).await;
    assert_eq!((own.outcome(), own.text()), ("HIT", "run 3"));
}

#[cached(ttl = 3600, group = "brand:{brand}", vary("accept-language"))]
async fn brand(Path(brand): Path<String>) -> StatusCode {
    if brand == "known" {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    }
}

#[tokio::test]
async fn responses_that_are_not_stored_leave_no_name_that_outlives_a_lease() {
    let prefix = RedisServer::unique_prefix();
    let settings = patient(RedisServer::shared())
        .prefix(prefix.clone())
        .unwrap();
    let cache = Store::Redis.cache_with(settings);
    let client = serve(
        Router::new()
            .route("/{brand}", get(brand))
            .with_state(cache),
    )
    .await;
    for number in 0..20 {
        let reply = client.get(&format!("/{number}")).await;
        assert_eq!(reply.outcome(), "BYPASS");
    }
    let mut redis = RedisServer::shared().connection();
    let mut names = |pattern: &str| -> Vec<(String, i64)> {
        let pattern = format!("{prefix}:{pattern}");
        let names = redis::cmd("KEYS").arg(pattern).query(&mut redis);
        let names: Vec<String> = names.unwrap();
        let with_ttl = names.into_iter().map(|name| {
            let left = redis::cmd("TTL").arg(&name).query(&mut redis).unwrap();
            (name, left)
        });
        with_ttl.collect()
    };
    for (name, left) in names("*")
        .iter()
        .filter(|(name, _)| !name.contains(":all:"))
    {
        assert!((0..=30).contains(left), "{name} is kept for {left} s");
    }
    // A stored response has nonces that last as long.
    assert_eq!(client.get("/known").await.outcome(), "MISS");
    assert_eq!(client.get("/known").await.outcome(), "HIT");
    let nonces: Vec<_> = names("*known*");
    assert_eq!(nonces.len(), 3, "{nonces:?}");
    assert!(nonces.iter().all(|(_, left)| *left > 3000), "{nonces:?}");
}
