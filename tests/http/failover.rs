//! While a cluster or a set of servers with Sentinel changes, no request fails and nothing stale is
//! answered, and afterwards there are hits again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use axum_redis_cache::{Cache, ConnectionState, Settings, cache_put};
use test_support::{Proxy, RedisCluster, RedisSentinels, RedisServer, until};
use tokio::task::JoinSet;

use crate::load::{ITEMS, Load, Shop, change, item};
use crate::support::{serve, stored};

pub(crate) fn of_cluster(cluster: &RedisCluster) -> Settings {
    Settings::from_url(cluster.url()).unwrap().cluster(true)
}

/// The names of an item in the store begin with this and its key in braces.
const AN_ITEM: &str = "{item:7}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_of_a_cluster_that_dies_is_replaced() {
    let cluster = RedisCluster::start();
    let load = Load::start(of_cluster(&cluster)).await;
    replace_a_primary(cluster, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_of_a_cluster_with_near_caches_is_replaced() {
    let cluster = RedisCluster::start();
    let load = Load::start_with_near_cache(of_cluster(&cluster)).await;
    replace_a_primary(cluster, load).await;
}

async fn replace_a_primary(mut cluster: RedisCluster, (load, tasks): (Arc<Load>, JoinSet<()>)) {
    load.hits_are_back().await;
    let killed = Instant::now();
    let dead = cluster.primary_of(AN_ITEM);
    cluster.kill(dead);
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.wait_until_ok();
        cluster
    });
    let cluster = cluster.await.unwrap();
    assert_ne!(cluster.primary_of(AN_ITEM), dead);
    load.hits_are_back().await;
    load.end(tasks, "a primary of a cluster was killed", killed.elapsed())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_of_a_cluster_are_migrated() {
    let cluster = RedisCluster::start();
    let load = Load::start(of_cluster(&cluster)).await;
    migrate_slots(cluster, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_of_a_cluster_with_near_caches_are_migrated() {
    let cluster = RedisCluster::start();
    let load = Load::start_with_near_cache(of_cluster(&cluster)).await;
    migrate_slots(cluster, load).await;
}

async fn migrate_slots(cluster: RedisCluster, (load, tasks): (Arc<Load>, JoinSet<()>)) {
    load.hits_are_back().await;
    let begun = Instant::now();
    let migrated = tokio::task::spawn_blocking(move || {
        for id in 0..ITEMS {
            let slot = cluster.slot_of(&format!("{{item:{id}}}"));
            let to = (cluster.primary_of(&format!("{{item:{id}}}")) + 1) % 3;
            cluster.migrate_slot(slot, to, Duration::from_millis(100));
        }
        cluster
    });
    let _cluster = migrated.await.unwrap();
    load.hits_are_back().await;
    load.end(tasks, "12 slots were migrated", begun.elapsed())
        .await;
}

pub(crate) fn of_sentinels(servers: &RedisSentinels) -> Settings {
    let nodes = servers.sentinel_addresses();
    Settings::default()
        .sentinel(true)
        .sentinel_master_name(servers.master_name())
        .unwrap()
        .sentinel_nodes(nodes.iter().map(ToString::to_string))
        .unwrap()
}

/// Some of the Sentinels may be cut off from the others, together with the old primary. Here, such a
/// Sentinel answers first.
#[tokio::test]
async fn a_sentinel_that_has_not_heard_of_a_failover_is_not_believed() {
    let (servers, cut_off) = (RedisSentinels::start(), RedisSentinels::start());
    let primary = servers.fail_over();
    let mut proxies = Vec::new();
    for sentinel in &servers.sentinel_addresses()[..2] {
        let proxy = Proxy::start((*sentinel).into()).await;
        proxy.delay(Duration::from_millis(50));
        proxies.push(proxy);
    }
    let nodes = proxies.iter().map(|proxy| proxy.address().to_string());
    let nodes = nodes.chain([cut_off.sentinel_addresses()[0].to_string()]);
    let settings = of_sentinels(&servers).sentinel_nodes(nodes).unwrap();
    let cache = Cache::connect(settings).unwrap();
    let router = Router::new()
        .route("/items/{id}", get(item).put(change))
        .with_state(Shop {
            cache,
            items: Arc::default(),
        });
    let client = serve(router).await;
    let entries = |servers: &RedisSentinels, primary| -> usize {
        let mut names = redis::cmd("KEYS");
        names.arg("*:cache:e:*");
        let names: Vec<String> = names.query(&mut servers.connection(primary)).unwrap();
        names.len()
    };
    until("the new primary is used", async || {
        stored(&client, "/items/1").await;
        client.send("PUT", "/items/1", &[]).await;
        stored(&client, "/items/1").await;
        entries(&servers, primary) > 0
    })
    .await;
    let old = cut_off.primary();
    let before = entries(&cut_off, old);
    for id in 2..ITEMS.min(8) {
        let mut kill = redis::cmd("CLIENT");
        kill.arg(&["KILL", "TYPE", "normal"]);
        let _: usize = kill.query(&mut servers.connection(primary)).unwrap();
        stored(&client, &format!("/items/{id}")).await;
    }
    assert_eq!(entries(&cut_off, old), before);
}

#[cache_put(item(id))]
async fn replace(Path(id): Path<usize>) -> &'static str {
    "replaced"
}

/// Other processes may still read from the primary that was there before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_on_a_new_primary_is_pending_until_the_others_have_moved_too() {
    let mut servers = RedisSentinels::start();
    let settings = of_sentinels(&servers).prefix(RedisServer::unique_prefix());
    let cache = Cache::connect(settings.unwrap()).unwrap();
    let router = Router::new()
        .route("/items/{id}", get(item).put(change).post(replace))
        .with_state(Shop {
            cache: cache.clone(),
            items: Arc::default(),
        });
    let client = serve(router).await;
    stored(&client, "/items/1").await;
    let dead = servers.kill_primary();
    let failover = tokio::task::spawn_blocking(move || {
        servers.wait_for_failover(dead);
        servers
    });
    let is_settling = || cache.status().servers[0].connections == [ConnectionState::Settling];
    let mut pending = 0;
    until("an eviction on the new primary is done", async || {
        let was_settling = is_settling();
        let replaced = client.send("POST", "/items/1", &[]).await;
        let reply = client.send("PUT", "/items/1", &[]).await;
        if was_settling && is_settling() {
            assert_eq!(
                (replaced.outcome(), reply.outcome()),
                ("PENDING", "PENDING")
            );
            pending += 1;
        }
        reply.outcome() == "EVICTED"
    })
    .await;
    assert!(pending > 0);
    until("nothing is pending", async || {
        cache.pending_evictions() == 0
    })
    .await;
    let _servers = failover.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_sentinels_watch_is_replaced_when_it_dies() {
    let servers = RedisSentinels::start();
    let load = Load::start(of_sentinels(&servers)).await;
    replace_the_primary(servers, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_with_near_caches_that_sentinels_watch_is_replaced_when_it_dies() {
    let servers = RedisSentinels::start();
    let load = Load::start_with_near_cache(of_sentinels(&servers)).await;
    replace_the_primary(servers, load).await;
}

async fn replace_the_primary(mut servers: RedisSentinels, (load, tasks): (Arc<Load>, JoinSet<()>)) {
    load.hits_are_back().await;
    let killed = Instant::now();
    let dead = servers.kill_primary();
    let servers = tokio::task::spawn_blocking(move || {
        servers.wait_for_failover(dead);
        servers
    });
    let servers = servers.await.unwrap();
    assert_ne!(servers.primary(), dead);
    load.hits_are_back().await;
    load.end(
        tasks,
        "the primary of a Sentinel set was killed",
        killed.elapsed(),
    )
    .await;
}
