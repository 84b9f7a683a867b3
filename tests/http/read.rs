//! `#[cached]`: what is stored and replayed.

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{any, get};
use axum_redis_cache::cached;

use crate::support::{App, Store, on_every_store, serve, tells_what_is_left};

#[cached(ttl = 30, query)]
async fn plain(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary("accept-language", "X-Tenant"), ignore(headers))]
async fn varied(headers: HeaderMap, State(app): State<App>) -> Response {
    let language = headers
        .get("accept-language")
        .and_then(|value| value.to_str().ok());
    let language = language.unwrap_or("none").to_owned();
    ([("x-language", language)], app.run().await).into_response()
}

#[cached(ttl = 30, status(200, 404))]
async fn missing(State(app): State<App>) -> Response {
    app.run().await
}

fn says_draft(response: &Response) -> bool {
    response.headers().contains_key("x-draft")
}

#[cached(ttl = 30, unless = says_draft)]
async fn unless_draft(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30)]
async fn method(method: Method) -> String {
    method.to_string()
}

#[cached(ttl = 30)]
async fn no_arguments() -> &'static str {
    "constant"
}

struct Member;

impl FromRequestParts<App> for Member {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, StatusCode> {
        let known = parts
            .headers
            .get("x-member")
            .is_some_and(|name| name == "yes");
        known.then_some(Self).ok_or(StatusCode::FORBIDDEN)
    }
}

#[cached(ttl = 30, ignore(_member))]
async fn for_members(_member: Member, State(app): State<App>) -> Response {
    app.run().await
}

/// The cache is an extractor, and the crate may have another name.
mod renamed {
    pub(super) use axum_redis_cache as caching;
}

#[cached(ttl = 30, crate = renamed::caching)]
async fn with_cache(cache: axum_redis_cache::Cache) -> String {
    cache.faults().to_string()
}

/// The default attribute is on a function whose name an argument has too.
#[cached(ttl = 30)]
async fn echo(Path(echo): Path<String>, State(app): State<App>) -> String {
    let _ = app.run().await;
    echo
}

fn router(app: App) -> Router {
    Router::new()
        .route("/plain", any(plain))
        .route("/varied", get(varied))
        .route("/missing", get(missing))
        .route("/unless", get(unless_draft))
        .route("/method", get(method))
        .route("/constant", get(no_arguments))
        .route("/cache", get(with_cache))
        .route("/members", get(for_members))
        .route("/echo/{text}", get(echo))
        .with_state(app)
}

/// A cache in memory needs no runtime.
#[test]
fn a_router_can_be_called_without_a_runtime() {
    use tower_service::Service;

    let app = App::new(axum_redis_cache::Cache::in_memory(), |_| async {
        "x".repeat(1_000_000)
    });
    let mut router: Router = router(app);
    for outcome in ["MISS", "HIT"] {
        let request = axum::http::Request::get("/plain")
            .body(axum::body::Body::empty())
            .unwrap();
        let response = futures_executor::block_on(router.call(request)).unwrap();
        assert_eq!(response.headers()["x-redis-cache"], outcome);
    }
}

on_every_store!(
    a_hit_is_the_same_response_without_a_run,
    bodies_are_bytes,
    an_empty_body_is_stored,
    fields_are_stored_in_order_with_repeats_and_odd_bytes,
    fields_of_one_connection_or_moment_are_not_stored,
    nominated_fields_select_the_response,
    only_declared_statuses_are_stored,
    a_route_can_look_at_the_response_before_it_is_stored,
    head_is_answered_as_the_get_it_stands_for,
    other_methods_pass_through,
    extractors_run_on_a_hit_too,
    a_handler_may_have_no_arguments_the_cache_or_one_named_like_itself,
);

async fn a_hit_is_the_same_response_without_a_run(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app.clone())).await;
    let (miss, hit) = (client.get("/plain").await, client.get("/plain").await);
    assert_eq!((miss.outcome(), hit.outcome()), ("MISS", "HIT"));
    assert_eq!(miss.body, hit.body);
    assert!(tells_what_is_left(
        &hit,
        miss.field("cache-control").unwrap()
    ));
    let shared = ["content-type", "etag", "content-length"];
    for name in shared {
        assert_eq!(miss.field(name), hit.field(name), "{name}");
        assert!(hit.field(name).is_some(), "{name}");
    }
    assert!(hit.field("date").is_some());
    assert_eq!(app.runs(), 1);
}

async fn bodies_are_bytes(store: Store) {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let body = bytes.clone();
    let app = App::new(store.cache(), move |_| std::future::ready(body.clone()));
    let client = serve(router(app)).await;
    for outcome in ["MISS", "HIT"] {
        let reply = client.get("/plain").await;
        assert_eq!(reply.outcome(), outcome);
        assert_eq!(reply.body, bytes);
    }
}

async fn an_empty_body_is_stored(store: Store) {
    let client = serve(router(App::new(store.cache(), |_| async {}))).await;
    client.get("/plain").await;
    let hit = client.get("/plain").await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", ""));
    assert_eq!(hit.field("content-length"), Some("0"));
}

async fn fields_are_stored_in_order_with_repeats_and_odd_bytes(store: Store) {
    let app = App::new(store.cache(), |_| async {
        let fields = [
            ("x-b", "1"),
            ("x-a", "2"),
            ("x-b", "3"),
            ("link", "<a>"),
            ("x-b", ""),
        ];
        let mut response = (AppendHeaders(fields), "body").into_response();
        let odd = axum::http::HeaderValue::from_bytes(b"caf\xe9").unwrap();
        response.headers_mut().insert("x-odd", odd);
        response
    });
    let client = serve(router(app)).await;
    let (miss, hit) = (client.get("/plain").await, client.get("/plain").await);
    assert_eq!(hit.outcome(), "HIT");
    let ignored = [
        "x-redis-cache",
        "date",
        "cache-control",
        "etag",
        "content-length",
    ];
    let own = |headers: &HeaderMap| -> Vec<_> {
        let fields = headers
            .iter()
            .filter(|(name, _)| !ignored.contains(&name.as_str()));
        fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    assert_eq!(own(&miss.headers), own(&hit.headers));
    assert_eq!(hit.headers.get_all("x-b").iter().count(), 3);
}

async fn fields_of_one_connection_or_moment_are_not_stored(store: Store) {
    let app = App::new(store.cache(), |_| async {
        let fields = [
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("age", "100"),
            ("x-redis-cache", "mine"),
            ("x-kept", "1"),
        ];
        (AppendHeaders(fields), "body")
    });
    let client = serve(router(app)).await;
    client.get("/plain").await;
    let hit = client.get("/plain").await;
    assert_eq!(hit.outcome(), "HIT");
    assert_eq!(hit.field("x-kept"), Some("1"));
    assert_ne!(hit.field("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    let gone = [
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-authenticate",
        "upgrade",
        "te",
        "age",
    ];
    for name in gone {
        assert_eq!(hit.field(name), None, "{name}");
    }
}

async fn nominated_fields_select_the_response(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app)).await;
    let requests: [&[(&str, &str)]; 5] = [
        &[("accept-language", "de")],
        &[("accept-language", "en")],
        &[("accept-language", "en"), ("x-tenant", "a")],
        &[],
        &[("accept-language", "")],
    ];
    for outcome in ["MISS", "HIT"] {
        for (run, fields) in requests.iter().enumerate() {
            let reply = client.get_with("/varied", fields).await;
            assert_eq!(
                (reply.outcome(), reply.text()),
                (outcome, &*format!("run {run}"))
            );
            assert_eq!(reply.field("vary"), Some("accept-language, x-tenant"));
        }
    }
    let other = client.get_with("/varied", &[("x-other", "1")]).await;
    assert_eq!(other.outcome(), "HIT");
}

async fn only_declared_statuses_are_stored(store: Store) {
    let not_found = |_| async { (StatusCode::NOT_FOUND, "nothing here") };
    let app = App::new(store.cache(), not_found);
    let client = serve(router(app)).await;
    for outcome in ["MISS", "HIT"] {
        let reply = client.get("/missing").await;
        assert_eq!((reply.outcome(), reply.status.as_u16()), (outcome, 404));
        assert_eq!(reply.text(), "nothing here");
    }
    for _ in 0..2 {
        let reply = client.get("/plain").await;
        assert_eq!((reply.outcome(), reply.status.as_u16()), ("BYPASS", 404));
        assert_eq!(reply.field("cache-control"), None);
    }
}

async fn a_route_can_look_at_the_response_before_it_is_stored(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        let draft = (run == 0).then_some(("x-draft", "1"));
        (AppendHeaders(draft), "body")
    });
    let client = serve(router(app)).await;
    let outcomes = ["BYPASS", "MISS", "HIT"];
    for outcome in outcomes {
        assert_eq!(client.get("/unless").await.outcome(), outcome);
    }
}

async fn head_is_answered_as_the_get_it_stands_for(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let miss = client.send("HEAD", "/plain", &[]).await;
    let hit = client.send("HEAD", "/plain", &[]).await;
    let get = client.get("/plain").await;
    assert_eq!(
        [miss.outcome(), hit.outcome(), get.outcome()],
        ["MISS", "HIT", "HIT"]
    );
    assert_eq!((miss.text(), hit.text(), get.text()), ("", "", "run 0"));
    for reply in [&hit, &get] {
        assert!(tells_what_is_left(
            reply,
            miss.field("cache-control").unwrap()
        ));
    }
    for name in ["etag", "content-length", "content-type"] {
        assert_eq!(miss.field(name), get.field(name), "{name}");
        assert_eq!(hit.field(name), get.field(name), "{name}");
    }
    client.send("HEAD", "/method", &[]).await;
    assert_eq!(client.get("/method").await.text(), "GET");
}

async fn other_methods_pass_through(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for (run, method) in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
        .iter()
        .enumerate()
    {
        let reply = client.send(method, "/plain", &[]).await;
        let outcome = if *method == "OPTIONS" {
            "BYPASS"
        } else {
            "EVICTED"
        };
        assert_eq!(
            (reply.outcome(), reply.text()),
            (outcome, &*format!("run {run}"))
        );
    }
    assert_eq!(client.get("/plain").await.outcome(), "MISS");
}

async fn extractors_run_on_a_hit_too(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app.clone())).await;
    let member = [("x-member", "yes")];
    for outcome in ["MISS", "HIT"] {
        assert_eq!(
            client.get_with("/members", &member).await.outcome(),
            outcome
        );
        assert_eq!(client.get("/members").await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(app.runs(), 1);
}

async fn a_handler_may_have_no_arguments_the_cache_or_one_named_like_itself(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for outcome in ["MISS", "HIT"] {
        let constant = client.get("/constant").await;
        assert_eq!((constant.outcome(), constant.text()), (outcome, "constant"));
        let cache = client.get("/cache").await;
        assert_eq!((cache.outcome(), cache.text()), (outcome, "0"));
        let echo = client.get("/echo/x").await;
        assert_eq!((echo.outcome(), echo.text()), (outcome, "x"));
    }
}
