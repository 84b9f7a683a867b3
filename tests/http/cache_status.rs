//! `Cache-Status` (RFC 9211): how each request was answered, and why.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};
use test_support::{Client, Gate, Reply};

use crate::structured::members;
use crate::support::{
    App, Store, become_stale, on_every_store, patient, serve, serve_counted, settings,
};

#[cached(ttl = "1h")]
async fn plain(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 0)]
async fn endless(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = "1h", vary("x-variant"))]
async fn varied(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = "100ms")]
async fn short(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = "100ms", stale_while_revalidate = 60)]
async fn while_revalidating(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = "100ms", stale_if_error = 60)]
async fn if_error(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(group = "g")]
#[cache_evict(plain)]
async fn evict() {}

#[cache_put(plain)]
#[cache_evict(group = "g")]
async fn write() -> &'static str {
    "written"
}

fn router(app: App) -> Router {
    let all = get(plain).post(plain).delete(evict).put(write);
    Router::new()
        .route("/plain", all)
        .route("/endless", get(endless))
        .route("/varied", get(varied))
        .route("/short", get(short))
        .route("/revalidate", get(while_revalidating))
        .route("/error", get(if_error))
        .with_state(app)
}

fn telling(store: Store) -> Cache {
    store.cache_with(settings().cache_status(true))
}

async fn scripted<R: IntoResponse>(
    store: Store,
    answer: impl Fn(usize) -> R + Send + Sync + 'static,
) -> Client {
    let app = App::new(telling(store), move |run| {
        std::future::ready(answer(run).into_response())
    });
    serve(router(app)).await
}

/// Returns the last member without the identifier and without the `ttl`, and the `ttl`.
fn told(reply: &Reply) -> (String, Option<i64>) {
    let members = members(reply, "cache-status");
    let member = members.last().expect("a member");
    let mut ttl = None;
    let mut parts = member.split(';');
    assert_eq!(parts.next(), Some("axum-redis-cache"));
    let others = parts.filter(|part| match part.strip_prefix("ttl=") {
        Some(seconds) => {
            ttl = Some(seconds.parse().unwrap());
            false
        }
        None => true,
    });
    let others: Vec<_> = others.collect();
    (others.join(";"), ttl)
}

fn said(reply: &Reply) -> String {
    told(reply).0
}

const HOUR: i64 = 3600;

on_every_store!(
    without_the_setting_there_is_no_field,
    a_miss_is_stored_and_a_hit_counts_down,
    a_304_says_what_the_handler_answered_if_it_ran,
    a_miss_of_a_route_that_varies_names_no_reason,
    the_request_may_rule_out_the_stored_response,
    the_request_may_rule_out_the_cache,
    a_response_that_is_not_stored_says_why,
    a_stream_does_not_say_that_it_is_stored,
    a_stale_response_is_replaced,
    a_stale_response_that_is_reused_has_a_negative_ttl,
    a_stale_response_instead_of_an_error_tells_the_status_of_the_error,
    a_request_that_waits_for_the_run_of_another_is_collapsed_with_it,
    a_504_of_the_cache_is_not_of_the_origin,
    a_write_goes_past_the_cache_once_however_many_attributes_it_has,
    the_cache_status_of_a_write_is_not_stored,
    members_of_caches_behind_the_handler_come_first_and_are_stored,
);

async fn without_the_setting_there_is_no_field(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for method in ["GET", "GET", "HEAD", "PUT", "DELETE", "POST"] {
        let reply = client.send(method, "/plain", &[]).await;
        assert_ne!(reply.outcome(), "none");
        assert_eq!(reply.field("cache-status"), None, "{method}");
    }
}

async fn a_miss_is_stored_and_a_hit_counts_down(store: Store) {
    let client = serve(router(App::counting(telling(store)))).await;
    let miss = client.get("/plain").await;
    assert_eq!(told(&miss), ("fwd=uri-miss;stored".to_owned(), Some(HOUR)));
    for method in ["GET", "HEAD"] {
        let (hit, ttl) = told(&client.send(method, "/plain", &[]).await);
        assert_eq!(hit, "hit");
        assert!((HOUR - 60..=HOUR).contains(&ttl.unwrap()), "{ttl:?}");
    }
    client.get("/endless").await;
    let endless = client.get("/endless").await;
    assert_eq!(told(&endless), ("hit".to_owned(), None));
}

async fn a_304_says_what_the_handler_answered_if_it_ran(store: Store) {
    let client = serve(router(App::counting(telling(store)))).await;
    let any = [("if-none-match", "*")];
    let miss = client.get_with("/plain", &any).await;
    assert_eq!(miss.status.as_u16(), 304);
    assert_eq!(said(&miss), "fwd=uri-miss;fwd-status=200;stored");
    let hit = client.get_with("/plain", &any).await;
    assert_eq!((hit.status.as_u16(), &*said(&hit)), (304, "hit"));
}

async fn a_miss_of_a_route_that_varies_names_no_reason(store: Store) {
    let client = serve(router(App::counting(telling(store)))).await;
    let a = client.get_with("/varied", &[("x-variant", "a")]).await;
    assert_eq!(said(&a), "fwd=miss;stored");
    let b = client.get_with("/varied", &[("x-variant", "b")]).await;
    assert_eq!(said(&b), "fwd=miss;stored");
}

async fn the_request_may_rule_out_the_stored_response(store: Store) {
    let client = serve(router(App::counting(telling(store)))).await;
    let no_cache = [("cache-control", "no-cache")];
    let first = client.get_with("/plain", &no_cache).await;
    assert_eq!(
        said(&first),
        "fwd=uri-miss;stored",
        "nothing was there to rule out"
    );
    let second = client.get_with("/plain", &no_cache).await;
    assert_eq!(said(&second), "fwd=request;stored");
    let hungry = [("cache-control", "min-fresh=7200")];
    assert!(said(&client.get_with("/plain", &hungry).await).starts_with("fwd=request"));
}

async fn the_request_may_rule_out_the_cache(store: Store) {
    let client = serve(router(App::counting(telling(store)))).await;
    for (name, value, detail) in [
        ("cache-control", "no-store", "request-no-store"),
        ("range", "bytes=0-1", "range"),
        ("authorization", "hunter2", "authorization"),
    ] {
        let reply = client.get_with("/plain", &[(name, value)]).await;
        assert_eq!(reply.outcome(), "BYPASS");
        assert_eq!(told(&reply), (format!("fwd=request;detail={detail}"), None));
    }
    let post = client.send("POST", "/plain", &[]).await;
    assert_eq!(said(&post), "fwd=method;detail=method");
}

async fn a_response_that_is_not_stored_says_why(store: Store) {
    let client = scripted(store, |run| match run {
        0 => StatusCode::NOT_FOUND.into_response(),
        1 => ([("set-cookie", "a=1")], "").into_response(),
        2 => ([("cache-control", "private")], "").into_response(),
        3 => ([("vary", "*")], "").into_response(),
        4 => ([("content-type", "text/event-stream")], "").into_response(),
        _ => ([("cache-control", "max-age=0")], "").into_response(),
    })
    .await;
    for detail in [
        "status",
        "set-cookie",
        "cache-control",
        "vary",
        "event-stream",
        "already-stale",
    ] {
        let reply = client.get("/plain").await;
        assert_eq!(reply.outcome(), "BYPASS");
        assert_eq!(said(&reply), format!("fwd=uri-miss;detail={detail}"));
    }
}

async fn a_stream_does_not_say_that_it_is_stored(store: Store) {
    let client = scripted(store, |_| {
        Body::from_stream(futures_util::stream::iter([Ok::<_, axum::Error>("x")]))
    })
    .await;
    let miss = client.get("/plain").await;
    assert_eq!(told(&miss), ("fwd=uri-miss".to_owned(), Some(HOUR)));
    assert_eq!(said(&client.get("/plain").await), "hit");
}

async fn a_stale_response_is_replaced(store: Store) {
    let client = serve(router(App::counting(telling(store)))).await;
    // Kept longer than it is fresh only where a window lasts.
    client.get("/error").await;
    become_stale().await;
    assert_eq!(said(&client.get("/error").await), "fwd=stale;stored");
    client.get("/short").await;
    become_stale().await;
    assert_eq!(said(&client.get("/short").await), "fwd=uri-miss;stored");
}

async fn a_stale_response_that_is_reused_has_a_negative_ttl(store: Store) {
    let client = serve(router(App::counting(telling(store)))).await;
    client.get("/revalidate").await;
    become_stale().await;
    let stale = client.get("/revalidate").await;
    assert_eq!(stale.outcome(), "STALE");
    let (hit, ttl) = told(&stale);
    assert_eq!(hit, "hit");
    assert!((-60..0).contains(&ttl.unwrap()), "{ttl:?}");
}

async fn a_stale_response_instead_of_an_error_tells_the_status_of_the_error(store: Store) {
    let client = scripted(store, |run| {
        assert!(run != 2, "a panic");
        if run == 0 {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    })
    .await;
    client.get("/error").await;
    become_stale().await;
    for status in ["503", "500"] {
        let reply = client.get("/error").await;
        assert_eq!((reply.status.as_u16(), reply.outcome()), (200, "STALE"));
        let (failed, ttl) = told(&reply);
        assert_eq!(failed, format!("fwd=stale;fwd-status={status}"));
        assert!(ttl.unwrap() < 0, "{ttl:?}");
    }
}

async fn a_request_that_waits_for_the_run_of_another_is_collapsed_with_it(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(telling(store), 0, &gate);
    let (client, arrivals) = serve_counted(router(app)).await;
    let leader = tokio::spawn(async move { client.get("/plain").await });
    gate.entered().await;
    let follower = tokio::spawn(async move { client.get("/plain").await });
    arrivals.arrived(2).await;
    gate.open();
    assert_eq!(said(&leader.await.unwrap()), "fwd=uri-miss;stored");
    let follower = follower.await.unwrap();
    assert_eq!(follower.outcome(), "HIT");
    let (collapsed, ttl) = told(&follower);
    assert_eq!(collapsed, "fwd=miss;collapsed");
    assert!(ttl.unwrap() > 0, "{ttl:?}");
}

async fn a_504_of_the_cache_is_not_of_the_origin(store: Store) {
    let client = serve(router(App::counting(telling(store)))).await;
    let only = [("cache-control", "only-if-cached")];
    let reply = client.get_with("/plain", &only).await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (504, "MISS"));
    assert_eq!(reply.field("cache-status"), None);
}

async fn a_write_goes_past_the_cache_once_however_many_attributes_it_has(store: Store) {
    let client = serve(router(App::counting(telling(store)))).await;
    for method in ["PUT", "DELETE"] {
        let reply = client.send(method, "/plain", &[]).await;
        assert_eq!(
            reply.field("cache-status"),
            Some("axum-redis-cache;fwd=bypass")
        );
    }
}

async fn the_cache_status_of_a_write_is_not_stored(store: Store) {
    let client = serve(router(App::counting(telling(store)))).await;
    client.send("PUT", "/plain", &[]).await;
    let hit = client.get("/plain").await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", "written"));
    assert_eq!(members(&hit, "cache-status").len(), 1);
    assert_eq!(said(&hit), "hit");
}

async fn members_of_caches_behind_the_handler_come_first_and_are_stored(store: Store) {
    let client = scripted(store, |_| {
        (
            [("cache-status", "Origin;hit;ttl=7, \"Other one\";fwd=stale")],
            "body",
        )
    })
    .await;
    for ours in ["fwd=uri-miss;stored", "hit", "hit"] {
        let reply = client.get("/plain").await;
        let members = members(&reply, "cache-status");
        assert_eq!(
            members[..2],
            ["Origin;hit;ttl=7", "\"Other one\";fwd=stale"]
        );
        assert_eq!((members.len(), &*said(&reply)), (3, ours));
    }
    let validated = client.get_with("/plain", &[("if-none-match", "*")]).await;
    assert_eq!(members(&validated, "cache-status").len(), 3);
}

#[tokio::test]
async fn a_cache_without_its_store_is_not_in_the_field() {
    let redis = test_support::RedisServer::start();
    let settings = patient(&redis)
        .cache_status(true)
        .socket_connect_timeout(Duration::from_millis(100));
    drop(redis);
    let client = serve(router(App::counting(Cache::connect(settings).unwrap()))).await;
    let reply = client.get("/plain").await;
    assert_eq!((reply.outcome(), &*said(&reply)), ("BYPASS", "fwd=bypass"));
}
