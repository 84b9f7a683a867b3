//! Near caches in a cluster, where copies are read on all nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, Settings, cache_evict, cache_put, cached};
use test_support::{Client, RedisCluster, until};

use crate::support::{App, serve, stored};

/// Long enough that a busy machine does not lose its proofs.
const WINDOW: Duration = Duration::from_secs(1);

/// The number of HITs that shows whether they are in the near cache.
const HITS: u64 = 40;

/// The group is in another slot than the entry, and for some of the entries on another node.
#[cached(ttl = 60, name = "near-item", key = "{id}", group = "near-items")]
async fn item(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

#[cache_evict(item(id))]
async fn evict(Path(id): Path<u32>) {
    let _ = id;
}

#[cache_evict(group = "near-items")]
async fn evict_group() {}

#[cache_evict(all)]
async fn evict_all() {}

#[cache_put(item(id))]
async fn replace(Path(id): Path<u32>) -> &'static str {
    let _ = id;
    "replaced"
}

/// Starts processes on a cluster. No two runs of the handler give the same answer. The last process has
/// no near cache.
async fn processes(cluster: &RedisCluster, count: usize) -> Vec<Client> {
    let runs = Arc::new(AtomicUsize::new(0));
    let settings = Settings::from_url(cluster.url()).unwrap().cluster(true);
    let settings = settings.socket_timeout(Duration::from_secs(10));
    let mut processes = Vec::new();
    for number in 1..=count {
        let bytes = if number == count { 0 } else { 16 << 20 };
        let settings = settings.clone().near_cache_bytes(bytes).unwrap();
        let settings = settings.near_cache_window(WINDOW).unwrap();
        let runs = Arc::clone(&runs);
        let app = App::new(Cache::connect(settings).unwrap(), move |_| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            async move { format!("run {run}") }
        });
        let router = Router::new()
            .route("/items/{id}", get(item).put(replace).delete(evict))
            .route("/evict-group", post(evict_group))
            .route("/evict-all", post(evict_all))
            .with_state(app);
        processes.push(serve(router).await);
    }
    processes
}

/// Returns the number of commands that lookups, and the proofs of near caches, have sent.
fn lookups(cluster: &RedisCluster) -> u64 {
    let counts = cluster.command_counts().into_iter();
    let counts = counts.filter_map(|(name, count)| (name == "mget").then_some(count));
    counts.sum()
}

/// Gets a path until it is answered from the near cache.
async fn near_hit(cluster: &RedisCluster, client: &Client, path: &str) -> String {
    let mut text = String::new();
    until("HITs in the near cache", async || {
        text = stored(client, path).await;
        let before = lookups(cluster);
        for _ in 0..HITS {
            text = stored(client, path).await;
        }
        lookups(cluster) < before + HITS
    })
    .await;
    text
}

#[tokio::test]
async fn after_an_eviction_no_process_serves_its_copy() {
    let cluster = RedisCluster::start();
    let processes = processes(&cluster, 3).await;
    let (writer, others) = processes.split_last().unwrap();
    let writers = [writer, &others[0]];
    let turns = [
        ("DELETE", "/items/{id}", "EVICTED"),
        ("POST", "/evict-group", "EVICTED"),
        ("PUT", "/items/{id}", "STORED"),
        ("POST", "/evict-all", "EVICTED"),
    ];
    for round in 0..16 {
        // Entries on different nodes.
        let path = format!("/items/{}", round % 6);
        let mut before = String::new();
        for client in others {
            before = near_hit(&cluster, client, &path).await;
        }
        let (method, written, expected) = turns[round % 4];
        let written = written.replace("/items/{id}", &path);
        let said = writers[round % 2].send(method, &written, &[]).await;
        assert_eq!(said.outcome(), expected, "round {round}");
        for client in others {
            let reply = client.get(&path).await;
            assert_ne!(reply.text(), before, "round {round}");
            assert_eq!(reply.text() == "replaced", method == "PUT", "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_end_when_their_slot_or_that_of_the_registry_is_migrated() {
    let cluster = Arc::new(RedisCluster::start());
    let processes = processes(&cluster, 2).await;
    let [near, writer] = processes[..] else {
        panic!("two processes");
    };
    let names = ["{near-item 1}", "{redis:axum:near}"];
    for name in names.into_iter().cycle().take(4) {
        let before = near_hit(&cluster, &near, "/items/1").await;
        let migrated = Arc::clone(&cluster);
        let migration = move || {
            let to = (migrated.primary_of(name) + 1) % 3;
            migrated.migrate_slot(migrated.slot_of(name), to, Duration::ZERO);
        };
        tokio::task::spawn_blocking(migration).await.unwrap();
        let said = writer.send("DELETE", "/items/1", &[]).await;
        assert_eq!(said.outcome(), "EVICTED", "{name}");
        let reply = near.get("/items/1").await;
        assert_ne!(reply.text(), before, "{name}");
    }
    near_hit(&cluster, &near, "/items/1").await;
}

#[tokio::test]
async fn copies_are_served_again_after_a_while_without_requests() {
    let cluster = RedisCluster::start();
    let processes = processes(&cluster, 2).await;
    for id in 0..3 {
        let path = format!("/items/{id}");
        near_hit(&cluster, &processes[0], &path).await;
        // The proofs have ended by then.
        tokio::time::sleep(WINDOW * 2).await;
        near_hit(&cluster, &processes[0], &path).await;
    }
}
