//! Runs that go on after their clients have left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use test_support::{Client, Gate, Reply};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{follow, outcome, router, spawn};
use crate::support::{
    App, Arrivals, OnDrop, Store, answer, is_dropped, on_every_store, serve, serve_counted,
    settings,
};

/// Sends a request that begins to run and a second one that follows it. The client of the first leaves
/// before the run ends. Returns the second one.
async fn follow_a_leader_that_leaves(
    (client, arrivals): &(Client, Arrivals),
    gate: &Gate,
) -> JoinHandle<Reply> {
    let leader = spawn(*client, &[]);
    gate.entered().await;
    let follower = follow(*client, arrivals).await;
    leader.abort();
    arrivals.dropped(1).await;
    gate.open();
    follower
}

on_every_store!(
    a_run_survives_its_client,
    the_panic_of_a_run_without_its_client_reaches_no_follower,
    a_run_without_followers_survives_its_client_and_is_stored,
);

async fn a_run_survives_its_client(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 0, &gate);
    let served = serve_counted(router(app.clone())).await;
    let follower = follow_a_leader_that_leaves(&served, &gate).await;
    assert_eq!(outcome(follower).await, answer("HIT", "run 0"));
    assert_eq!(served.0.get("/item").await.outcome(), "HIT");
    assert_eq!(app.runs(), 1);
}

async fn the_panic_of_a_run_without_its_client_reaches_no_follower(store: Store) {
    let gate = Gate::new();
    let gated = gate.clone();
    let app = App::new(store.cache(), move |run| {
        let gate = gated.clone();
        async move {
            if run == 0 {
                gate.pass().await;
                panic!("the run that lost its client");
            }
            format!("run {run}")
        }
    });
    let served = serve_counted(router(app.clone())).await;
    let follower = follow_a_leader_that_leaves(&served, &gate).await;
    assert_eq!(outcome(follower).await, answer("MISS", "run 1"));
    assert_eq!(served.0.get("/item").await.text(), "run 1");
}

async fn a_run_without_followers_survives_its_client_and_is_stored(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 0, &gate);
    let (client, arrivals) = serve_counted(router(app.clone())).await;
    let leader = spawn(client, &[]);
    gate.entered().await;
    leader.abort();
    arrivals.dropped(1).await;
    gate.open();
    assert_eq!(client.get("/item").await.text(), "run 0");
    assert_eq!(app.runs(), 1);
}

#[tokio::test]
async fn shutdown_waits_for_a_run_without_its_client() {
    let (gate, ended) = (Gate::new(), Arc::new(AtomicBool::new(false)));
    let (handler, end) = (gate.clone(), Arc::clone(&ended));
    let app = App::new(Store::Redis.cache(), move |_| {
        let (gate, end) = (handler.clone(), Arc::clone(&end));
        async move {
            gate.pass().await;
            end.store(true, Ordering::SeqCst);
            "body"
        }
    });
    let (client, arrivals) = serve_counted(router(app.clone())).await;
    let leader = spawn(client, &[]);
    gate.entered().await;
    leader.abort();
    arrivals.dropped(1).await;
    let shutdown = async {
        app.cache.shutdown().await;
        assert!(ended.load(Ordering::SeqCst), "the run has ended before");
    };
    tokio::join!(shutdown, async { gate.open() });
}

#[tokio::test]
async fn the_settings_limit_the_runs_without_clients() {
    let (gate, dropped) = (Gate::new(), Arc::new(Notify::new()));
    let (handler, watched) = (gate.clone(), Arc::clone(&dropped));
    let cache = Store::Redis.cache_with(settings().max_detached_runs(1));
    let app = App::new(cache.clone(), move |run| {
        let (gate, watched) = (handler.clone(), OnDrop(Arc::clone(&watched)));
        async move {
            if run < 2 {
                gate.pass().await;
            }
            drop(watched);
            format!("run {run}")
        }
    });
    let client = serve(router(app)).await;
    let leaving =
        ["/item", "/varied"].map(|path| tokio::spawn(async move { client.get(path).await }));
    for request in leaving {
        gate.entered().await;
        request.abort();
    }
    // One of the two is stopped, the other goes on.
    is_dropped(&dropped).await;
    gate.open();
    cache.shutdown().await;
    let outcomes = [client.get("/item").await, client.get("/varied").await];
    let hits = outcomes.iter().filter(|reply| reply.outcome() == "HIT");
    assert_eq!(hits.count(), 1);
}

tokio::task_local! {
    static OF_THE_REQUEST: &'static str;
}

/// Returns the span and the task-local value that a handler sees.
fn surroundings() -> String {
    let span = tracing::Span::current();
    let span = span.metadata().map_or("none", tracing::Metadata::name);
    let local = OF_THE_REQUEST.try_with(|text| *text).unwrap_or("none");
    format!("{span}, {local}")
}

#[tokio::test]
async fn a_run_without_its_client_keeps_its_span_and_loses_its_task_locals() {
    use tracing::Instrument;

    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry());
    let gate = Gate::new();
    let handler = gate.clone();
    let app = App::new(Store::Redis.cache(), move |_| {
        let gate = handler.clone();
        async move {
            gate.pass().await;
            surroundings()
        }
    });
    let around = |request: Request, next: axum::middleware::Next| async {
        let run = next.run(request).instrument(tracing::info_span!("request"));
        OF_THE_REQUEST.scope("local", run).await
    };
    let router = router(app).layer(axum::middleware::from_fn(around));
    let (client, arrivals) = serve_counted(router).await;
    let alone = tokio::spawn(async move { client.get("/varied").await });
    gate.entered().await;
    gate.open();
    assert_eq!(alone.await.unwrap().text(), "request, local");
    let leader = spawn(client, &[]);
    gate.entered().await;
    let follower = follow(client, &arrivals).await;
    leader.abort();
    arrivals.dropped(1).await;
    gate.open();
    assert_eq!(outcome(follower).await, answer("HIT", "request, none"));
}
