//! While Redis is away, a handler is not stormed: one run at a time answers all who came before it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cached};
use test_support::{Client, Gate, Proxy, RedisServer, Reply, until};
use tokio::task::JoinHandle;

use crate::support::{App, Arrivals, serve, without_redis};

#[cached(ttl = 30)]
async fn warm(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30)]
async fn shared(State(app): State<App>) -> Response {
    app.run().await
}

/// May have been read from what can change.
struct User;

impl FromRequestParts<App> for User {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

#[cached(ttl = 30, ignore(_user))]
async fn for_user(_user: User, State(app): State<App>) -> Response {
    app.run().await
}

/// The requests that have arrived, and the most runs at a time.
#[derive(Clone, Default)]
struct Counts {
    arrivals: Arrivals,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Counts {
    async fn run<T>(&self, run: impl Future<Output = T>) -> T {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let made = run.await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        made
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

async fn start(app: App, counts: &Counts) -> Client {
    let router = Router::new()
        .route("/warm", get(warm))
        .route("/shared", get(shared))
        .route("/user", get(for_user))
        .with_state(app);
    serve(counts.arrivals.of(router)).await
}

/// An application whose runs wait at a gate, and answer with the `response` to their number.
fn gated(counts: &Counts, gate: &Gate, response: fn(usize) -> Response) -> App {
    gated_with(without_redis(), counts, gate, response)
}

fn gated_with(cache: Cache, counts: &Counts, gate: &Gate, response: fn(usize) -> Response) -> App {
    let (counts, gate) = (counts.clone(), gate.clone());
    App::new(cache, move |number| {
        let (counts, gate) = (counts.clone(), gate.clone());
        async move {
            counts.run(gate.pass()).await;
            response(number)
        }
    })
}

fn numbered(number: usize) -> Response {
    number.to_string().into_response()
}

fn spawn(client: &Client, path: &'static str, count: usize) -> Vec<JoinHandle<Reply>> {
    let one = |_| {
        let client = *client;
        tokio::spawn(async move { client.get(path).await })
    };
    (0..count).map(one).collect()
}

/// Lets every run pass from now on.
fn open_for_good(gate: &Gate) {
    for _ in 0..1000 {
        gate.open();
    }
}

#[tokio::test]
async fn requests_that_arrive_during_a_run_share_the_next_one() {
    let (counts, gate) = (Counts::default(), Gate::new());
    let app = gated(&counts, &gate, numbered);
    let client = start(app.clone(), &counts).await;
    let first = spawn(&client, "/shared", 1);
    gate.entered().await;
    let others = spawn(&client, "/shared", 199);
    counts.arrivals.arrived(200).await;
    gate.open();
    // A request that comes now may have missed the beginning of this run, and gets the next one.
    gate.entered().await;
    let late = spawn(&client, "/shared", 1);
    counts.arrivals.arrived(201).await;
    open_for_good(&gate);
    for reply in first {
        let reply = reply.await.unwrap();
        assert_eq!((reply.text(), reply.outcome()), ("0", "BYPASS"));
    }
    for reply in others {
        let reply = reply.await.unwrap();
        assert_eq!(reply.outcome(), "BYPASS");
        assert_ne!(reply.text(), "0", "a run that began before the request");
    }
    for reply in late {
        assert_eq!(reply.await.unwrap().text(), "2", "a run that began before");
    }
    assert_eq!((app.runs(), counts.most()), (3, 1));
}

/// A Redis that stops under an open connection, or hangs there, is no other than one that is not there.
#[tokio::test]
async fn a_redis_that_goes_away_under_a_connection_does_not_start_a_storm() {
    for stop in [Proxy::refuse, Proxy::hang] {
        let redis = RedisServer::start();
        let proxy = Proxy::start(redis.address().into()).await;
        let cache = Cache::connect(Settings::from_url(proxy.url()).unwrap()).unwrap();
        let (counts, gate) = (Counts::default(), Gate::new());
        let app = gated_with(cache, &counts, &gate, numbered);
        let client = start(app.clone(), &counts).await;
        gate.open();
        assert_eq!(client.get("/warm").await.text(), "0");
        gate.entered().await;

        stop(&proxy);
        let replies = spawn(&client, "/shared", 200);
        gate.entered().await;
        counts.arrivals.arrived(201).await;
        open_for_good(&gate);
        for reply in replies {
            assert_eq!(reply.await.unwrap().outcome(), "BYPASS");
        }
        assert_eq!(counts.most(), 1);
        // One that began before the others came, one that they share, and one for who was late to ask.
        assert!(app.runs() <= 1 + 3, "{}", app.runs());
    }
}

#[tokio::test]
async fn responses_that_cannot_be_shared_are_made_a_few_at_a_time() {
    let (counts, gate) = (Counts::default(), Gate::new());
    let with_cookie = |number| ([(header::SET_COOKIE, "a=b")], numbered(number)).into_response();
    let app = gated(&counts, &gate, with_cookie);
    let client = start(app.clone(), &counts).await;
    let replies = spawn(&client, "/shared", 40);
    counts.arrivals.arrived(40).await;
    open_for_good(&gate);
    let mut texts = std::collections::BTreeSet::new();
    for reply in replies {
        texts.insert(reply.await.unwrap().text().to_owned());
    }
    assert_eq!((texts.len(), app.runs()), (40, 40));
    // One whose turn it is, and four others.
    assert!(counts.most() <= 5, "{} at a time", counts.most());
}

/// Forty requests have a run each, and four of them run at a time.
async fn run_four_at_a_time(
    replies: Vec<JoinHandle<Reply>>,
    app: &App,
    counts: &Counts,
    gate: &Gate,
) {
    for _ in 0..4 {
        gate.entered().await;
    }
    counts.arrivals.arrived(40).await;
    open_for_good(gate);
    for reply in replies {
        assert_eq!(reply.await.unwrap().status, StatusCode::OK);
    }
    assert_eq!((app.runs(), counts.most()), (40, 4));
}

#[tokio::test]
async fn a_value_read_by_an_extractor_is_not_shared_with_later_requests() {
    let (counts, gate) = (Counts::default(), Gate::new());
    let app = gated(&counts, &gate, numbered);
    let client = start(app.clone(), &counts).await;
    run_four_at_a_time(spawn(&client, "/user", 40), &app, &counts, &gate).await;
}

#[tokio::test]
async fn clients_that_insist_on_a_run_have_theirs_a_few_at_a_time() {
    let (counts, gate) = (Counts::default(), Gate::new());
    let app = gated(&counts, &gate, numbered);
    let client = start(app.clone(), &counts).await;
    let insist = |_| {
        let fields = [("cache-control", "no-cache")];
        tokio::spawn(async move { client.get_with("/shared", &fields).await })
    };
    let replies = (0..40).map(insist).collect();
    run_four_at_a_time(replies, &app, &counts, &gate).await;
}

#[tokio::test]
async fn another_request_takes_the_turn_of_one_whose_client_left() {
    let (counts, gate) = (Counts::default(), Gate::new());
    let app = gated(&counts, &gate, numbered);
    let client = start(app.clone(), &counts).await;
    let leaving = spawn(&client, "/shared", 1);
    gate.entered().await;
    let others = spawn(&client, "/shared", 9);
    counts.arrivals.arrived(10).await;
    leaving[0].abort();
    gate.entered().await;
    open_for_good(&gate);
    for reply in others {
        assert_ne!(reply.await.unwrap().text(), "0");
    }
}

#[tokio::test]
async fn a_panic_is_not_shared_without_redis_either() {
    let (counts, gate) = (Counts::default(), Gate::new());
    let app = gated(&counts, &gate, |number| {
        assert!(number > 0, "the first run panics");
        numbered(number)
    });
    let client = start(app.clone(), &counts).await;
    let first = spawn(&client, "/shared", 1);
    gate.entered().await;
    let others = spawn(&client, "/shared", 9);
    counts.arrivals.arrived(10).await;
    open_for_good(&gate);
    assert!(first.into_iter().next().unwrap().await.is_err(), "its own");
    for reply in others {
        assert_eq!(reply.await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_value_is_made_for_all_earlier_callers() {
    let (cache, gate, runs) = (without_redis(), Gate::new(), Arc::new(AtomicUsize::new(0)));
    let ask = || {
        let (cache, gate, runs) = (cache.clone(), gate.clone(), Arc::clone(&runs));
        tokio::spawn(async move {
            let make = async || {
                let number = runs.fetch_add(1, Ordering::SeqCst);
                gate.pass().await;
                number
            };
            cache.get_or_insert_with("value", make).await
        })
    };
    let first = ask();
    gate.entered().await;
    let others: Vec<_> = (0..20).map(|_| ask()).collect();
    until("the others have asked", async || cache.faults() >= 21).await;
    open_for_good(&gate);
    assert_eq!(first.await.unwrap(), 0);
    for other in others {
        assert_ne!(other.await.unwrap(), 0, "made before it was asked for");
    }
    assert!(runs.load(Ordering::SeqCst) < 4);
}
