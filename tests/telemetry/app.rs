//! An application in which everything happens that is told of.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, Path, State};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{get, post};
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};
use futures_util::{StreamExt, stream};
use opentelemetry::Context;
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use test_support::{Gate, Proxy, Reply};
use tokio::time::sleep;
use tower::ServiceExt;

/// In keys, groups and values.
pub(crate) const SECRET: &str = "hunter2";

/// The start of the SHA-256 of `telemetry::app::get_product product:1`.
pub(crate) const KEY_HASH: &str = "ec1f703bf06ec028";

/// The trace and the span that every request is part of.
pub(crate) const TRACE: TraceId = TraceId::from_bytes([7; 16]);
pub(crate) const SPAN: SpanId = SpanId::from_bytes([8; 8]);

#[derive(Clone, FromRef)]
pub(crate) struct App {
    cache: Cache,
    proxy: Option<Arc<Proxy>>,
    gate: Gate,
}

#[cached(ttl = 30, key = "product:{id}", group = ["products", "product:{id}"])]
async fn get_product(Path(id): Path<String>) -> String {
    format!("product {id}")
}

#[cached(ttl = Duration::from_millis(20), stale_while_revalidate = 60)]
async fn ages_at_once() -> &'static str {
    "old already"
}

#[cached(ttl = 30)]
async fn waits_at_the_gate(State(gate): State<Gate>) -> &'static str {
    gate.pass().await;
    "at last"
}

#[cached(ttl = 30)]
async fn sets_a_cookie() -> ([(&'static str, &'static str); 1], &'static str) {
    ([("set-cookie", SECRET)], "body")
}

#[cached(ttl = 30, key = "evicted")]
async fn is_evicted_meanwhile(State(cache): State<Cache>) -> &'static str {
    cache.evict(is_evicted_meanwhile::key()).await;
    "old"
}

/// Stale before its end.
#[cached(ttl = Duration::from_millis(20))]
async fn streams_slowly() -> Body {
    let chunks = stream::iter(["a", "b"]).then(async |chunk| {
        // The time after which the response is stale.
        sleep(Duration::from_millis(40)).await;
        Ok::<_, Infallible>(chunk)
    });
    Body::from_stream(chunks)
}

#[cached(ttl = 30)]
async fn read_loses_redis(State(proxy): State<Option<Arc<Proxy>>>) -> &'static str {
    proxy.unwrap().hang();
    "body"
}

#[cache_put(read_loses_redis)]
async fn write_loses_redis(State(proxy): State<Option<Arc<Proxy>>>) -> &'static str {
    proxy.unwrap().hang();
    "body"
}

#[cache_put(get_product(id))]
async fn rename_product(Path(id): Path<String>) -> String {
    format!("product {id}, renamed")
}

#[cache_put(get_product(id))]
async fn hide_product(Path(id): Path<String>) -> (HeaderMap, String) {
    let mut fields = HeaderMap::new();
    fields.insert("set-cookie", SECRET.parse().unwrap());
    (fields, id)
}

#[cache_evict(get_product(id), group = "products", group = "product:{id}")]
async fn delete_product(Path(id): Path<String>) -> StatusCode {
    let _ = id;
    StatusCode::NO_CONTENT
}

#[cache_evict(all)]
async fn import() {}

impl App {
    pub(crate) fn new(cache: Cache, proxy: Option<Proxy>) -> Self {
        let proxy = proxy.map(Arc::new);
        let gate = Gate::new();
        Self { cache, proxy, gate }
    }

    fn router(&self) -> Router {
        let product = get(get_product).put(rename_product).delete(delete_product);
        Router::new()
            .route("/products/{id}", product)
            .route("/products/{id}/hide", post(hide_product))
            .route("/ages", get(ages_at_once))
            .route("/slow", get(waits_at_the_gate))
            .route("/stream", get(streams_slowly))
            .route("/cookie", get(sets_a_cookie))
            .route("/evicted", get(is_evicted_meanwhile))
            .route("/loses", get(read_loses_redis).put(write_loses_redis))
            .route("/import", post(import))
            .with_state(self.clone())
    }

    /// Sends a request, and returns its outcome.
    async fn send(&self, method: &str, target: &str, field: Option<(&str, &str)>) -> String {
        let mut request = Request::builder().method(method).uri(target);
        if let Some((name, value)) = field {
            request = request.header(name, value);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = async {
            let response = self.router().oneshot(request).await.unwrap();
            Reply::of(response).await.outcome().to_owned()
        };
        answer.with_context(trace()).await
    }

    async fn get(&self, target: &str) -> String {
        self.send("GET", target, None).await
    }

    pub(crate) async fn do_everything(&self) {
        let secret = &*format!("/products/{SECRET}");
        for (target, result) in [
            ("/products/1", "MISS"),
            ("/products/1", "HIT"),
            (secret, "MISS"),
        ] {
            assert_eq!(self.get(target).await, result);
        }
        let no_store = Some(("cache-control", "no-store"));
        assert_eq!(self.send("GET", "/products/1", no_store).await, "BYPASS");
        assert_eq!(self.get("/cookie").await, "BYPASS");
        assert_eq!(self.get("/stream").await, "MISS");
        assert_eq!(self.get("/evicted").await, "MISS");
        self.age().await;
        self.collapse().await;
        for (method, target, result) in [
            ("PUT", secret, "STORED"),
            ("POST", "/products/1/hide", "EVICTED"),
            ("DELETE", secret, "EVICTED"),
            ("POST", "/import", "EVICTED"),
        ] {
            assert_eq!(self.send(method, target, None).await, result);
        }
        self.use_values().with_context(trace()).await;
    }

    async fn age(&self) {
        assert_eq!(self.get("/ages").await, "MISS");
        // The time after which the response is stale.
        sleep(Duration::from_millis(40)).await;
        assert_eq!(self.get("/ages").await, "STALE");
    }

    async fn collapse(&self) {
        let get = || self.get("/slow");
        let followers = async {
            self.gate.entered().await;
            // A request follows a run in progress as soon as it is polled.
            tokio::join!(get(), get(), get(), async { self.gate.open() })
        };
        let (leader, (a, b, c, ())) = tokio::join!(get(), followers);
        assert_eq!([&*leader, &a, &b, &c], ["MISS", "HIT", "HIT", "HIT"]);
    }

    async fn use_values(&self) {
        let values = self.cache.group(SECRET);
        assert_eq!(values.get::<String>(SECRET).await, None);
        values.set(SECRET, SECRET).await;
        assert_eq!(values.get::<String>(SECRET).await.as_deref(), Some(SECRET));
        values.get_or_insert_with("made", async || 1).await;
        values.set(SECRET, &HashMap::from([((1, 2), SECRET)])).await;
    }

    /// While a handler runs, and for good. Evictions wait then.
    pub(crate) async fn lose_redis(&self, method: &str) {
        self.send(method, "/loses", None).await;
        assert_eq!(self.get("/products/1").await, "BYPASS");
        self.send("POST", "/import", None).await;
        assert!(self.cache.pending_evictions() > 0);
    }
}

/// A trace that began elsewhere.
fn trace() -> Context {
    let (flags, state) = (TraceFlags::SAMPLED, TraceState::default());
    let remote = SpanContext::new(TRACE, SPAN, flags, true, state);
    Context::new().with_remote_span_context(remote)
}
