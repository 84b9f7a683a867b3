//! Runs that take longer than a lease is held that is not renewed.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_redis_cache::cached;
use test_support::Gate;

use super::processes::two_processes;
use super::{follow, outcome, router, spawn};
use crate::support::{App, Store, answer, serve, serve_counted};

/// Longer than a lease is held that is not renewed.
const NOT_RENEWED: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_slow_run_keeps_its_lease_and_is_stored() {
    let gate = Gate::new();
    let [(one, _, _), (other, arrivals, other_app)] = two_processes(&gate).await;
    let leader = spawn(one, &[]);
    gate.entered().await;
    let follower = follow(other, &arrivals).await;
    // The promise is about time.
    tokio::time::sleep(NOT_RENEWED).await;
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
    assert_eq!(outcome(follower).await, answer("HIT", "run 0"));
    assert_eq!(other_app.runs(), 0);
}

#[tokio::test]
async fn a_slow_run_keeps_its_lease_while_requests_join_it() {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(Store::Redis.cache(), 0, &gate);
    let (client, arrivals) = serve_counted(router(app.clone())).await;
    let mut requests = vec![spawn(client, &[])];
    gate.entered().await;
    // The promise is about time.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < NOT_RENEWED {
        requests.push(arrivals.arrival_of(|| spawn(client, &[])).await);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    gate.open();
    for request in requests {
        assert_eq!(request.await.unwrap().text(), "run 0");
    }
    assert_eq!(client.get("/item").await.outcome(), "HIT");
    assert_eq!(app.runs(), 1);
}

trait Asks: Clone + Send + Sync + 'static {
    /// Returns a future that the compiler does not know to be `Send`.
    #[allow(async_fn_in_trait)]
    async fn ask(&self) -> String;
}

#[derive(Clone)]
struct Slow;

impl Asks for Slow {
    async fn ask(&self) -> String {
        // The promise is about time.
        tokio::time::sleep(NOT_RENEWED).await;
        "asked".to_owned()
    }
}

#[cached(ttl = 30, ignore(slow))]
async fn generic<A: Asks>(axum::Extension(slow): axum::Extension<A>) -> String {
    slow.ask().await
}

#[tokio::test]
async fn a_slow_run_that_cannot_be_detached_keeps_its_lease_too() {
    let route = get(generic::<Slow>).layer(axum::Extension(Slow));
    let cache = Store::Redis.cache();
    let client = serve(Router::new().route("/slow", route).with_state(cache)).await;
    let (one, other) = tokio::join!(client.get("/slow"), client.get("/slow"));
    let mut outcomes = [one.outcome(), other.outcome()];
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["HIT", "MISS"]);
    assert_eq!(client.get("/slow").await.outcome(), "HIT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_runs_once_and_is_stored() {
    let blocks: [fn(); 2] = [
        || std::thread::sleep(NOT_RENEWED),
        || tokio::task::block_in_place(|| std::thread::sleep(NOT_RENEWED)),
    ];
    for block in blocks {
        let app = App::new(Store::Redis.cache(), move |run| async move {
            block();
            format!("run {run}")
        });
        let client = serve(router(app.clone())).await;
        let requests: Vec<_> = (0..10).map(|_| spawn(client, &[])).collect();
        for request in requests {
            assert_eq!(request.await.unwrap().text(), "run 0");
        }
        assert_eq!(client.get("/item").await.outcome(), "HIT");
        assert_eq!(app.runs(), 1);
    }
}
