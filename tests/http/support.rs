//! Servers whose handler is scripted by the test.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRef, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum_redis_cache::{Cache, Settings};
use test_support::{Client, RedisServer, Reply};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

/// Where the responses of a test are stored.
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

/// Says when it is dropped.
pub(crate) struct OnDrop(pub(crate) Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A server of the test's own, with the same budget.
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

    /// What a handler under test does.
    pub(crate) async fn run(self) -> Response {
        (self.script)(self.runs.fetch_add(1, Ordering::SeqCst)).await
    }

    /// How often a handler ran.
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

/// Counts the requests that reach a router, and those that the server drops because their clients have
/// left, so that a test can wait for them.
#[derive(Clone)]
pub(crate) struct Arrivals {
    arrived: Arc<watch::Sender<usize>>,
    dropped: Arc<watch::Sender<usize>>,
}

impl Arrivals {
    pub(crate) fn new() -> Self {
        Self {
            arrived: Arc::new(watch::Sender::new(0)),
            dropped: Arc::new(watch::Sender::new(0)),
        }
    }

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

/// Waits until a counter reaches a number.
pub(crate) async fn reaches(counter: &watch::Sender<usize>, count: usize) {
    let mut counter = counter.subscribe();
    let reached = counter.wait_for(|reached| *reached >= count);
    timeout(LIMIT, reached)
        .await
        .expect("requests in time")
        .unwrap();
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

/// The longest wait for something that must happen.
const LIMIT: Duration = Duration::from_secs(20);

/// Looks again and again until something is so, and fails when that takes too long.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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

/// Holds a handler in the middle of its run until the test lets it go on.
#[derive(Clone)]
pub(crate) struct Gate {
    entered: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            entered: Arc::new(Semaphore::new(0)),
            opened: Arc::new(Semaphore::new(0)),
        }
    }

    /// What the handler calls.
    pub(crate) async fn pass(&self) {
        self.entered.add_permits(1);
        self.opened.acquire().await.unwrap().forget();
    }

    /// Waits until a handler is at the gate.
    pub(crate) async fn entered(&self) {
        let entered = timeout(LIMIT, self.entered.acquire()).await;
        entered
            .expect("a handler comes to the gate")
            .unwrap()
            .forget();
    }

    /// Lets one handler go on.
    pub(crate) fn open(&self) {
        self.opened.add_permits(1);
    }
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
