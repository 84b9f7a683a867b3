//! Servers whose handler is scripted by the test.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum_redis_cache::{Cache, Settings};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use test_support::{Client, Gate, RedisServer, Reply, in_time, until};
use tokio::sync::{Notify, watch};

/// The store of a test.
#[derive(Clone, Copy)]
pub(crate) enum Store {
    Redis,
    Memory,
}

impl Store {
    pub(crate) fn cache(self) -> Cache {
        self.cache_with(settings())
    }

    pub(crate) fn cache_with(self, settings: Settings) -> Cache {
        match self {
            Self::Redis => Cache::connect(settings).unwrap(),
            Self::Memory => Cache::in_memory_with(settings),
        }
    }
}

/// The shared server, with a prefix that no other test uses, and a budget that a busy machine keeps.
pub(crate) fn settings() -> Settings {
    let prefix = RedisServer::unique_prefix();
    patient(RedisServer::shared()).prefix(prefix).unwrap()
}

/// A cache whose Redis is not there.
pub(crate) fn without_redis() -> Cache {
    let settings = Settings::from_url("redis://127.0.0.1:1").unwrap();
    Cache::connect(settings.socket_timeout(Duration::from_secs(10))).unwrap()
}

/// Tells a test when it is dropped.
pub(crate) struct OnDrop(pub(crate) Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Waits until an [`OnDrop`] is dropped.
pub(crate) async fn is_dropped(notify: &Notify) {
    in_time("a drop", notify.notified()).await;
}

/// A server of the test's own, with a budget that a busy machine keeps.
pub(crate) fn patient(redis: &RedisServer) -> Settings {
    Settings::from_url(redis.url())
        .unwrap()
        .socket_timeout(Duration::from_secs(10))
}

/// Makes two tests of each function: one with Redis, one in memory. Both keep the same promises.
macro_rules! on_every_store {
    ($($promise:ident),* $(,)?) => { $(
        mod $promise {
            use crate::support::Store;

            #[tokio::test]
            async fn in_redis() {
                super::$promise(Store::Redis).await;
            }

            #[tokio::test]
            async fn in_memory() {
                super::$promise(Store::Memory).await;
            }
        }
    )* };
}
pub(crate) use on_every_store;

type Script = dyn Fn(usize) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync;

/// The state of a server under test: a cache, and what its handlers answer.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) cache: Cache,
    script: Arc<Script>,
    runs: Arc<AtomicUsize>,
}

impl App {
    /// A script is told how often it ran before.
    pub(crate) fn new<F, R>(
        cache: Cache,
        script: impl Fn(usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: IntoResponse,
    {
        let script = move |run| -> Pin<Box<dyn Future<Output = Response> + Send>> {
            let answer = script(run);
            Box::pin(async move { answer.await.into_response() })
        };
        Self {
            cache,
            script: Arc::new(script),
            runs: Arc::default(),
        }
    }

    /// Answers `run 0`, `run 1` and so on.
    pub(crate) fn counting(cache: Cache) -> Self {
        Self::new(cache, |run| async move { format!("run {run}") })
    }

    /// The same, but one run waits at a gate first.
    pub(crate) fn counting_with_a_gate(cache: Cache, at: usize, gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::new(cache, move |run| {
            let gate = gate.clone();
            async move {
                if run == at {
                    gate.pass().await;
                }
                format!("run {run}")
            }
        })
    }

    /// Runs the script, for a handler under test.
    pub(crate) async fn run(self) -> Response {
        (self.script)(self.runs.fetch_add(1, Ordering::SeqCst)).await
    }

    /// Returns the number of runs of handlers.
    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

impl FromRef<App> for Cache {
    fn from_ref(app: &App) -> Self {
        app.cache.clone()
    }
}

/// Serves a router on a free loopback port until the test's runtime ends.
pub(crate) async fn serve(router: Router) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    Client::new(address)
}

/// Returns whether a response tells clients what is left, a moment later, of what it told when it was
/// new.
pub(crate) fn tells_what_is_left(reply: &Reply, new: &str) -> bool {
    let told = reply.field("cache-control").unwrap_or_default();
    let is_left = |(told, new): (&str, &str)| match (told.split_once('='), new.split_once('=')) {
        (Some((name, left)), Some((of, all)))
            if name == of && ["max-age", "s-maxage"].contains(&of) =>
        {
            let left: u64 = left.parse().unwrap();
            let all: u64 = all.parse().unwrap();
            (all.saturating_sub(5)..=all).contains(&left)
        }
        _ => told == new,
    };
    told.split(", ").count() == new.split(", ").count()
        && told.split(", ").zip(new.split(", ")).all(is_left)
}

/// The nonce of everything that a server has, whose name is by the handler that stored something.
pub(crate) fn nonce_of_everything(connection: &mut redis::Connection) -> String {
    let names = redis::cmd("KEYS").arg("*:cache:all:*").query(connection);
    let names: Vec<String> = names.unwrap();
    let [name] = &*names else {
        panic!("one handler stored something: {names:?}");
    };
    name.clone()
}

/// A body that tells how long it is.
pub(crate) struct KnownLength<B> {
    body: B,
    left: u64,
}

impl<B> KnownLength<B> {
    pub(crate) fn of(body: B, length: u64) -> Self {
        Self { body, left: length }
    }
}

impl<B> http_body::Body for KnownLength<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len);
            self.left = self.left.saturating_sub(length as u64);
        }
        polled
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Counts the requests that reach a router, and those that the server drops because their clients have
/// left, so that a test can wait for them. On a runtime of one thread, a request that has arrived has
/// also joined the run that it follows, if one is in progress.
#[derive(Clone, Default)]
pub(crate) struct Arrivals {
    arrived: Arc<watch::Sender<usize>>,
    dropped: Arc<watch::Sender<usize>>,
}

impl Arrivals {
    /// Counts the requests of a router.
    pub(crate) fn of(&self, router: Router) -> Router {
        let arrivals = self.clone();
        router.layer(from_fn(move |request: Request, next: Next| {
            let arrivals = arrivals.clone();
            async move {
                let mut under_way = UnderWay(Some(arrivals.dropped));
                arrivals.arrived.send_modify(|count| *count += 1);
                let response = next.run(request).await;
                under_way.0 = None;
                response
            }
        }))
    }

    /// Waits until so many requests have arrived.
    pub(crate) async fn arrived(&self, count: usize) {
        reaches(&self.arrived, count).await;
    }

    /// Sends a request, and waits until it has arrived.
    pub(crate) async fn arrival_of<T>(&self, send: impl FnOnce() -> T) -> T {
        let before = *self.arrived.borrow();
        let request = send();
        self.arrived(before + 1).await;
        request
    }

    /// Waits until the server has dropped so many requests.
    pub(crate) async fn dropped(&self, count: usize) {
        reaches(&self.dropped, count).await;
    }
}

/// Serves a router and counts its requests.
pub(crate) async fn serve_counted(router: Router) -> (Client, Arrivals) {
    let arrivals = Arrivals::default();
    (serve(arrivals.of(router)).await, arrivals)
}

/// Waits until a counter reaches a number.
pub(crate) async fn reaches(counter: &watch::Sender<usize>, count: usize) {
    let mut counter = counter.subscribe();
    let reached = counter.wait_for(|reached| *reached >= count);
    in_time("requests", reached).await.unwrap();
}

/// Counts a request that is dropped; `None`: it has a response.
struct UnderWay(Option<Arc<watch::Sender<usize>>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(dropped) = &self.0 {
            dropped.send_modify(|count| *count += 1);
        }
    }
}

/// Lets more time pass than the freshness lifetime of the handlers whose `ttl` is `100ms`.
pub(crate) async fn become_stale() {
    tokio::time::sleep(Duration::from_millis(130)).await;
}

/// A request without a body.
pub(crate) fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// Returns whether a response is stored, without a run of its handler.
pub(crate) async fn is_stored(client: &Client, path: &str) -> bool {
    let only = [("cache-control", "only-if-cached")];
    client.get_with(path, &only).await.outcome() == "HIT"
}

/// Gets a response until it is a stored one, which is returned.
pub(crate) async fn stored(client: &Client, path: &str) -> String {
    let mut text = String::new();
    until("a HIT", async || {
        let reply = client.get(path).await;
        assert_eq!(reply.status.as_u16(), 200, "{path}");
        reply.text().clone_into(&mut text);
        reply.outcome() == "HIT"
    })
    .await;
    text
}

/// The outcome and the text of a reply, to compare with.
pub(crate) fn answer(outcome: &str, text: &str) -> (String, String) {
    (outcome.to_owned(), text.to_owned())
}

/// Asks, and returns the outcome and the text of the reply.
pub(crate) async fn asked(client: &Client, path: &str) -> (String, String) {
    let reply = client.get(path).await;
    answer(reply.outcome(), reply.text())
}
