//! A cluster, while a node is away, and while a slot is on its way to another node.

mod migration;
mod near;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, Settings, cache_evict, cache_put, cached};
use test_support::{Client, RedisCluster, RedisServer, until};

use crate::support::{App, serve};

#[cached(ttl = 60, name = "item", key = "{id}")]
async fn item(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

#[cache_evict(item(id))]
async fn evict_item(Path(id): Path<u32>) {
    let _ = id;
}

#[cache_put(item(id))]
async fn put_item(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

/// In a group of its own.
#[cached(
    ttl = 60,
    name = "page",
    key = "{id}",
    group = "pages",
    vary("x-variant")
)]
async fn page(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

#[cache_evict(group = "pages")]
async fn evict_pages() {}

#[cache_put(page(id))]
async fn put_page(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

#[cache_evict(all)]
async fn evict_all() {}

struct Name(String);

impl FromRequestParts<App> for Name {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let body = app.clone().run().await.into_body();
        let bytes = to_bytes(body, 100).await.unwrap_or_default();
        Ok(Self(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Answers with what an extractor read before.
#[cached(ttl = 60, ignore(name))]
async fn name(name: Name) -> String {
    name.0
}

#[cache_evict(name)]
async fn evict_name() {}

/// The settings of a process that uses a cluster, with names of its own, and a budget that a busy
/// machine keeps.
fn patient(cluster: &RedisCluster) -> Settings {
    let settings = Settings::from_url(cluster.url()).unwrap().cluster(true);
    let settings = settings.prefix(RedisServer::unique_prefix()).unwrap();
    settings.socket_timeout(Duration::from_secs(10))
}

async fn start(settings: &Settings) -> (Cache, Client) {
    let cache = Cache::connect(settings.clone()).unwrap();
    let router = Router::new()
        .route("/items/{id}", get(item).delete(evict_item).put(put_item))
        .route("/pages/{id}", get(page).put(put_page))
        .route("/pages/evict", post(evict_pages))
        .route("/evict", post(evict_all))
        .route("/name", get(name).delete(evict_name))
        .with_state(App::counting(cache.clone()));
    (cache, serve(router).await)
}

/// A cluster that goes on while a node is away.
fn partial_cluster() -> RedisCluster {
    RedisCluster::start_with(&["--cluster-require-full-coverage", "no"])
}

const ITEMS: std::ops::Range<u32> = 0..30;

/// The items whose names are on a node, and the others.
fn by_node(cluster: &RedisCluster, node: usize) -> (Vec<String>, Vec<String>) {
    let is_there = |id: &u32| cluster.primary_of(&format!("{{item {id}}}")) == node;
    let (there, elsewhere): (Vec<u32>, Vec<u32>) = ITEMS.partition(is_there);
    let paths = |ids: Vec<u32>| ids.iter().map(|id| format!("/items/{id}")).collect();
    (paths(there), paths(elsewhere))
}

async fn outcome(client: &Client, path: &str) -> String {
    let reply = client.get(path).await;
    assert_eq!(reply.status.as_u16(), 200, "{path}");
    reply.outcome().to_owned()
}

async fn expect(client: &Client, path: &str, expected: &str) {
    assert_eq!(outcome(client, path).await, expected, "{path}");
}

/// Kills a node, and nobody takes its place.
fn kill_alone(cluster: &mut RedisCluster, node: usize) {
    for replica in cluster.replicas_of(node) {
        cluster.kill(replica);
    }
    cluster.kill(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_does_not_affect_the_keys_of_the_others() {
    for node in 0..2 {
        let mut cluster = partial_cluster();
        let (_, client) = start(&patient(&cluster)).await;
        let (there, elsewhere) = by_node(&cluster, node);
        for path in there.iter().chain(&elsewhere) {
            expect(&client, path, "MISS").await;
        }
        kill_alone(&mut cluster, node);
        until("the node is given up", async || {
            for path in &elsewhere {
                expect(&client, path, "HIT").await;
            }
            cluster.is_given_up(node)
        })
        .await;
        for path in &there {
            expect(&client, path, "BYPASS").await;
        }
        for path in &elsewhere {
            expect(&client, path, "HIT").await;
            let evicted = client.send("DELETE", path, &[]).await;
            assert_eq!(evicted.outcome(), "EVICTED");
            expect(&client, path, "MISS").await;
            expect(&client, path, "HIT").await;
        }
    }
}

/// Returns the number of commands that asked a node for values.
fn reads(cluster: &RedisCluster, node: usize) -> u64 {
    let info: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut cluster.connection(node))
        .unwrap();
    let calls = |line: &str| {
        let line = line.strip_prefix("cmdstat_mget:calls=")?;
        line.split(',').next()?.parse().ok()
    };
    info.lines().find_map(calls).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_asks_no_node_but_that_of_its_key() {
    let cluster = RedisCluster::start();
    let (_, client) = start(&patient(&cluster)).await;
    let (there, _) = by_node(&cluster, 0);
    for path in &there {
        expect(&client, path, "MISS").await;
    }
    let before = [0, 1, 2].map(|node| reads(&cluster, node));
    for path in &there {
        expect(&client, path, "HIT").await;
    }
    let after = [0, 1, 2].map(|node| reads(&cluster, node));
    assert_eq!(after[0], before[0] + there.len() as u64);
    assert_eq!(after[1..], before[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_of_everything_waits_only_for_the_node_that_is_away() {
    let mut cluster = partial_cluster();
    let settings = patient(&cluster);
    let [(cache, one), (_, other)] = [start(&settings).await, start(&settings).await];
    let (there, elsewhere) = by_node(&cluster, 1);
    for path in there.iter().chain(&elsewhere) {
        expect(&one, path, "MISS").await;
        expect(&other, path, "HIT").await;
    }
    kill_alone(&mut cluster, 1);
    let evicted = one.send("POST", "/evict", &[]).await;
    assert_eq!(evicted.outcome(), "PENDING");
    assert_eq!(cache.pending_evictions(), 1);
    for path in &elsewhere {
        expect(&other, path, "MISS").await;
        expect(&other, path, "HIT").await;
        expect(&one, path, "HIT").await;
    }
    for path in &there {
        expect(&one, path, "BYPASS").await;
        let evicted = one.send("DELETE", path, &[]).await;
        assert_eq!(evicted.outcome(), "PENDING");
    }
    cluster.start_again(1);
    until("it is told", async || cache.pending_evictions() == 0).await;
    for path in &there {
        until("a HIT", async || outcome(&one, path).await == "HIT").await;
    }
}

/// Evicts everything in a cluster, and all of it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_evicted_in_every_slot() {
    let cluster = RedisCluster::shared();
    let (_, client) = start(&patient(cluster)).await;
    for outcome in ["MISS", "HIT"] {
        for id in 0..200 {
            expect(&client, &format!("/items/{id}"), outcome).await;
            expect(&client, &format!("/pages/{id}"), outcome).await;
        }
    }
    assert_eq!(
        client.send("POST", "/evict", &[]).await.outcome(),
        "EVICTED"
    );
    for id in 0..200 {
        expect(&client, &format!("/items/{id}"), "MISS").await;
        expect(&client, &format!("/pages/{id}"), "MISS").await;
    }
}

/// No node is told of every eviction, so that a process has to see the entry's own names twice.
#[tokio::test]
async fn a_response_made_of_an_earlier_read_is_stored_by_the_second_run_without_an_eviction() {
    let cluster = RedisCluster::start();
    let (_, client) = start(&patient(&cluster)).await;
    for _ in 0..2 {
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            outcomes.push(outcome(&client, "/name").await);
        }
        assert_eq!(outcomes, ["MISS", "MISS", "HIT"]);
        assert_eq!(
            client.send("DELETE", "/name", &[]).await.outcome(),
            "EVICTED"
        );
    }
}
