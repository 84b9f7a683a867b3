//! One run answers the requests of several processes.

use std::time::Duration;

use axum_redis_cache::Settings;
use test_support::{Client, Gate, RedisServer, until};

use super::{outcome, router, spawn};
use crate::support::{App, Arrivals, Store, answer, patient, serve, serve_counted, settings};

/// Two processes, as far as the cache can tell.
pub(super) async fn two_processes(gate: &Gate) -> [(Client, Arrivals, App); 2] {
    two_processes_with(settings(), gate).await
}

async fn two_processes_with(settings: Settings, gate: &Gate) -> [(Client, Arrivals, App); 2] {
    let app = || App::counting_with_a_gate(Store::Redis.cache_with(settings.clone()), 0, gate);
    let (one, other) = (app(), app());
    let served = async |app: App| {
        let (client, arrivals) = serve_counted(router(app.clone())).await;
        (client, arrivals, app)
    };
    [served(one).await, served(other).await]
}

#[tokio::test]
async fn one_run_answers_all_processes() {
    let gate = Gate::new();
    let [(one, _, one_app), (other, arrivals, other_app)] = two_processes(&gate).await;
    let leader = spawn(one, &[]);
    gate.entered().await;
    let followers: Vec<_> = (0..50).map(|_| spawn(other, &[])).collect();
    arrivals.arrived(50).await;
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
    for follower in followers {
        assert_eq!(outcome(follower).await, answer("HIT", "run 0"));
    }
    assert_eq!((one_app.runs(), other_app.runs()), (1, 0));
}

/// Keeps the handler of one process running until `is_waiting` shows that another process waits for it.
async fn wait_for_another(redis: &RedisServer, is_waiting: impl Fn() -> bool) {
    let gate = Gate::new();
    let [(one, ..), (other, _, other_app)] = two_processes_with(patient(redis), &gate).await;
    let leader = spawn(one, &[]);
    gate.entered().await;
    let follower = spawn(other, &[]);
    until("the other process waits", async || is_waiting()).await;
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
    assert_eq!(outcome(follower).await, answer("HIT", "run 0"));
    assert_eq!(other_app.runs(), 0);
}

#[tokio::test]
async fn redis_tells_a_process_when_the_run_of_another_ends() {
    let redis = RedisServer::start();
    let is_waiting = || {
        let clients: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query(&mut redis.connection())
            .unwrap();
        let mut clients = clients.lines();
        clients.any(|client| client.contains(" flags=t ") && client.contains(" cmd=mget "))
    };
    wait_for_another(&redis, is_waiting).await;
}

#[tokio::test]
async fn a_process_that_redis_tells_nothing_looks_up_again() {
    let redis = RedisServer::start();
    redis.command(&["ACL", "SETUSER", "default", "-client|tracking"]);
    // Seven are the lookups and claims of both processes and the attempt to be notified.
    wait_for_another(&redis, || redis.command_count("mget") > 10).await;
}

#[tokio::test]
async fn no_process_waits_for_the_stream_of_another() {
    let settings = settings();
    let app = || {
        App::new(Store::Redis.cache_with(settings.clone()), |_| async {
            let first = futures_util::stream::iter([Ok::<_, std::io::Error>("first")]);
            let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
            axum::body::Body::from_stream(endless)
        })
    };
    let (one, other) = (app(), app());
    let stream = serve(router(one)).await.open("GET", "/item", &[]).await;
    let client = serve(router(other.clone())).await;
    let own = client.open("GET", "/item", &[]).await;
    assert_eq!(own.headers()["x-redis-cache"], "MISS");
    assert_eq!(other.runs(), 1);
    drop(stream);
}

#[tokio::test]
async fn the_lease_of_a_dead_process_blocks_no_request_for_long() {
    let redis = RedisServer::start();
    let settings = patient(&redis);
    // The runtime of the process that holds the lease ends in the middle of the run.
    let dying = settings.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let gate = Gate::new();
            let app = App::counting_with_a_gate(Store::Redis.cache_with(dying), 0, &gate);
            let client = serve(router(app)).await;
            spawn(client, &[]);
            gate.entered().await;
        });
        runtime.shutdown_background();
    })
    .join()
    .unwrap();
    let app = App::counting(Store::Redis.cache_with(settings));
    let client = serve(router(app.clone())).await;
    let waiting = tokio::time::timeout(Duration::from_secs(10), client.get("/item")).await;
    assert_eq!(waiting.expect("the lease ends").text(), "run 0");
    assert_eq!(app.runs(), 1);
}
