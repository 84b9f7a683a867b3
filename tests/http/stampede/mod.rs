//! Many requests at once for what is not stored: one runs the handler, the others share its response.

mod processes;
mod slow;
mod without_client;

use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{Cache, cache_evict, cached};
use test_support::{Client, Gate, Reply};
use tokio::task::JoinHandle;
use tower_service::Service;

use crate::support::{
    App, Arrivals, Store, answer, on_every_store, serve, serve_counted, settings,
};

#[cached(ttl = 30, group = "g")]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary("x-variant"))]
async fn varied(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(read)]
async fn evict_key() {}

#[cache_evict(group = "g")]
async fn evict_group() {}

fn router(app: App) -> Router {
    let route = get(read).delete(evict_key).post(evict_group);
    Router::new()
        .route("/item", route)
        .route("/varied", get(varied))
        .with_state(app)
}

/// An application whose first run waits at the gate and then answers; further ones answer at once.
fn gated(cache: Cache, gate: &Gate, first: impl Fn() -> Response + Send + Sync + 'static) -> App {
    let (gate, first) = (gate.clone(), std::sync::Arc::new(first));
    App::new(cache, move |run| {
        let (gate, first) = (gate.clone(), first.clone());
        async move {
            if run == 0 {
                gate.pass().await;
                return first();
            }
            format!("run {run}").into_response()
        }
    })
}

fn spawn(client: Client, fields: &'static [(&'static str, &'static str)]) -> JoinHandle<Reply> {
    tokio::spawn(async move { client.get_with("/item", fields).await })
}

/// Sends a request that waits for the run at the gate.
async fn follow(client: Client, arrivals: &Arrivals) -> JoinHandle<Reply> {
    let follower = arrivals.arrival_of(|| spawn(client, &[])).await;
    assert!(!follower.is_finished());
    follower
}

async fn outcome(request: JoinHandle<Reply>) -> (String, String) {
    let reply = request.await.unwrap();
    answer(reply.outcome(), reply.text())
}

on_every_store!(
    one_run_answers_all_concurrent_requests,
    a_request_for_another_variant_does_not_wait,
    followers_are_validated_too,
    after_an_eviction_no_request_shares_the_run_from_before,
    after_a_response_that_cannot_be_shared_followers_run_the_handler,
    a_request_for_a_fresher_response_makes_no_other_wait,
    no_request_waits_for_a_stream,
    a_request_that_forces_a_run_has_its_own,
);

async fn one_run_answers_all_concurrent_requests(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 0, &gate);
    let client = serve(router(app.clone())).await;
    let requests: Vec<_> = (0..200).map(|_| spawn(client, &[])).collect();
    gate.entered().await;
    gate.open();
    let mut misses = 0;
    let mut tags = std::collections::HashSet::new();
    for request in requests {
        let reply = request.await.unwrap();
        assert_eq!(reply.text(), "run 0");
        assert!(
            reply
                .field("cache-control")
                .unwrap()
                .starts_with("max-age=")
        );
        tags.insert(reply.field("etag").unwrap().to_owned());
        misses += usize::from(reply.outcome() == "MISS");
    }
    assert_eq!((misses, tags.len(), app.runs()), (1, 1, 1));
}

async fn a_request_for_another_variant_does_not_wait(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 0, &gate);
    let client = serve(router(app)).await;
    let one = tokio::spawn(async move { client.get("/varied").await });
    gate.entered().await;
    let other = client.get_with("/varied", &[("x-variant", "1")]).await;
    assert_eq!((other.outcome(), other.text()), ("MISS", "run 1"));
    gate.open();
    assert_eq!(one.await.unwrap().text(), "run 0");
}

async fn followers_are_validated_too(store: Store) {
    let gate = Gate::new();
    let app = gated(store.cache(), &gate, || {
        ([("etag", "\"v1\"")], "run 0").into_response()
    });
    let (client, arrivals) = serve_counted(router(app)).await;
    let leader = spawn(client, &[]);
    gate.entered().await;
    let follower = spawn(client, &[("if-none-match", "\"v1\"")]);
    let head = tokio::spawn(async move { client.send("HEAD", "/item", &[]).await });
    arrivals.arrived(3).await;
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
    let reply = follower.await.unwrap();
    assert_eq!(
        (reply.status, reply.outcome(), reply.text()),
        (StatusCode::NOT_MODIFIED, "HIT", "")
    );
    let head = head.await.unwrap();
    assert_eq!(
        (head.outcome(), head.field("content-length")),
        ("HIT", Some("5"))
    );
}

async fn after_an_eviction_no_request_shares_the_run_from_before(store: Store) {
    for method in ["DELETE", "POST"] {
        let gate = Gate::new();
        let app = App::counting_with_a_gate(store.cache(), 0, &gate);
        let (client, arrivals) = serve_counted(router(app.clone())).await;
        let leader = spawn(client, &[]);
        gate.entered().await;
        let before = follow(client, &arrivals).await;
        client.send(method, "/item", &[]).await;
        let reply = client.get("/item").await;
        assert_eq!(
            (reply.outcome(), reply.text()),
            ("MISS", "run 1"),
            "{method}"
        );
        gate.open();
        assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
        assert_eq!(outcome(before).await, answer("HIT", "run 0"));
        assert_eq!(client.get("/item").await.text(), "run 1", "{method}");
        assert_eq!(app.runs(), 2);
    }
}

async fn after_a_response_that_cannot_be_shared_followers_run_the_handler(store: Store) {
    let failures: [fn() -> Response; 4] = [
        || StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        || ([("set-cookie", "user=1")], "secret").into_response(),
        || ([("cache-control", "private")], "secret").into_response(),
        || panic!("the handler panics"),
    ];
    for failure in failures {
        let gate = Gate::new();
        let app = gated(store.cache(), &gate, failure);
        let (client, arrivals) = serve_counted(router(app.clone())).await;
        let leader = tokio::spawn(async move { client.try_open("GET", "/item", &[]).await });
        gate.entered().await;
        let followers = [
            follow(client, &arrivals).await,
            follow(client, &arrivals).await,
        ];
        gate.open();
        if let Some(reply) = leader.await.unwrap() {
            assert_eq!(reply.headers()["x-redis-cache"], "BYPASS");
        }
        for follower in followers {
            let (_, text) = outcome(follower).await;
            assert!(["run 1", "run 2"].contains(&&*text), "{text}");
        }
        assert_eq!(client.get("/item").await.outcome(), "HIT");
    }
}

async fn a_request_for_a_fresher_response_makes_no_other_wait(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 1, &gate);
    let client = serve(router(app)).await;
    client.get("/item").await;
    let fresher = spawn(client, &[("cache-control", "min-fresh=1000")]);
    gate.entered().await;
    for _ in 0..2 {
        let reply = client.get("/item").await;
        assert_eq!((reply.outcome(), reply.text()), ("HIT", "run 0"));
    }
    gate.open();
    assert_eq!(outcome(fresher).await, answer("MISS", "run 1"));
    assert_eq!(client.get("/item").await.text(), "run 1");
}

async fn no_request_waits_for_a_stream(store: Store) {
    let app = App::new(store.cache(), move |run| async move {
        if run > 0 {
            return format!("run {run}").into_response();
        }
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>("first")]);
        let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        axum::body::Body::from_stream(endless).into_response()
    });
    let client = serve(router(app)).await;
    let stream = client.open("GET", "/item", &[]).await;
    let reply = client.get("/item").await;
    assert_eq!((reply.outcome(), reply.text()), ("MISS", "run 1"));
    drop(stream);
}

async fn a_request_that_forces_a_run_has_its_own(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 0, &gate);
    let client = serve(router(app)).await;
    let leader = spawn(client, &[]);
    gate.entered().await;
    let forced = client
        .get_with("/item", &[("cache-control", "no-cache")])
        .await;
    assert_eq!((forced.outcome(), forced.text()), ("MISS", "run 1"));
    let cached = client
        .get_with("/item", &[("cache-control", "only-if-cached")])
        .await;
    assert_eq!(cached.status, StatusCode::GATEWAY_TIMEOUT);
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
}

#[tokio::test]
async fn after_a_server_error_requests_share_the_next_run() {
    let gate = Gate::new();
    let handler = gate.clone();
    let app = App::new(Store::Redis.cache(), move |run| {
        let gate = handler.clone();
        async move {
            if run == 0 {
                return StatusCode::BAD_GATEWAY.into_response();
            }
            gate.pass().await;
            format!("run {run}").into_response()
        }
    });
    let (client, arrivals) = serve_counted(router(app.clone())).await;
    assert_eq!(client.get("/item").await.status, StatusCode::BAD_GATEWAY);
    let leader = spawn(client, &[]);
    gate.entered().await;
    let follower = follow(client, &arrivals).await;
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 1"));
    assert_eq!(outcome(follower).await, answer("HIT", "run 1"));
    assert_eq!(app.runs(), 2);
}

#[tokio::test]
async fn requests_do_not_wait_for_a_run_that_will_probably_not_be_shared() {
    let gate = Gate::new();
    let handler = gate.clone();
    // Longer than the test waits for anything.
    let settings = settings().lease_ttl(Duration::from_secs(300));
    let app = App::new(Store::Redis.cache_with(settings), move |run| {
        let gate = handler.clone();
        async move {
            gate.pass().await;
            ([("set-cookie", "a=b")], format!("run {run}"))
        }
    });
    let client = serve(router(app)).await;
    let first = spawn(client, &[]);
    gate.entered().await;
    gate.open();
    assert_eq!(first.await.unwrap().text(), "run 0");
    let others: Vec<_> = (0..5).map(|_| spawn(client, &[])).collect();
    for _ in &others {
        gate.entered().await;
    }
    for other in others {
        gate.open();
        assert_eq!(other.await.unwrap().outcome(), "BYPASS");
    }
}

/// Handlers that ask each other, as they do through a router in their state.
#[derive(Clone)]
struct Nested {
    cache: Cache,
    router: std::sync::Arc<std::sync::OnceLock<Router>>,
    gate: Gate,
}

impl FromRef<Nested> for Cache {
    fn from_ref(nested: &Nested) -> Self {
        nested.cache.clone()
    }
}

#[cached(ttl = 30)]
async fn nested(State(state): State<Nested>, Path(name): Path<String>) -> String {
    state.gate.pass().await;
    let other = if name == "one" { "/other" } else { "/one" };
    let mut router = state.router.get().unwrap().clone();
    let request = Request::get(other).body(axum::body::Body::empty()).unwrap();
    let response = router.call(request).await.unwrap();
    format!("{name} asked {other}: {}", response.status())
}

#[tokio::test]
async fn runs_that_ask_for_each_other_do_not_wait_for_each_other() {
    let gate = Gate::new();
    let state = Nested {
        cache: Store::Redis.cache(),
        router: std::sync::Arc::default(),
        gate: gate.clone(),
    };
    let router = Router::new()
        .route("/{name}", get(nested))
        .with_state(state.clone());
    state.router.set(router.clone()).unwrap();
    let client = serve(router).await;
    let one = tokio::spawn(async move { client.get("/one").await });
    gate.entered().await;
    let other = tokio::spawn(async move { client.get("/other").await });
    gate.entered().await;
    // Both lead, and each now asks for the response of the other. The one that would close the circle
    // runs that handler itself.
    gate.open();
    gate.open();
    gate.entered().await;
    one.abort();
    other.abort();
}
