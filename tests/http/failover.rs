//! While a cluster or a set of servers with Sentinel changes, no request fails and nothing stale is
//! answered, and afterwards there are hits again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRef, Path, State};
use axum::routing::get;
use axum_redis_cache::{Cache, ConnectionState, Settings, cache_evict, cache_put, cached};
use test_support::{Client, RedisCluster, RedisSentinels, RedisServer, until};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{serve, stored};

const ITEMS: usize = 12;
const READERS: usize = 8;

/// The state of two processes: an item is as new as its number.
#[derive(Clone)]
struct Shop {
    cache: Cache,
    items: Arc<[AtomicU64; ITEMS]>,
}

impl FromRef<Shop> for Cache {
    fn from_ref(shop: &Shop) -> Self {
        shop.cache.clone()
    }
}

#[cached(ttl = 60, key = "item:{id}", group = ["items", "item {id}"])]
async fn item(Path(id): Path<usize>, State(shop): State<Shop>) -> String {
    let version = shop.items[id].load(Ordering::SeqCst);
    // A run lasts, so that writes come in the middle of it.
    sleep(Duration::from_millis(3)).await;
    version.to_string()
}

#[cache_evict(item(id))]
async fn change(Path(id): Path<usize>, State(shop): State<Shop>) -> String {
    (shop.items[id].fetch_add(1, Ordering::SeqCst) + 1).to_string()
}

#[cache_evict(group = "item {id}")]
async fn change_by_group(Path(id): Path<usize>, State(shop): State<Shop>) -> String {
    (shop.items[id].fetch_add(1, Ordering::SeqCst) + 1).to_string()
}

/// Two processes under load, and what is seen of them.
struct Load {
    processes: [Client; 2],
    caches: [Cache; 2],
    /// The versions that every reader must see, because their writes have been answered.
    written: [AtomicU64; ITEMS],
    reads: AtomicUsize,
    writes: AtomicUsize,
    hits: AtomicUsize,
    stale: AtomicUsize,
    failed: AtomicUsize,
    slowest: AtomicU64,
    ends: AtomicBool,
}

impl Load {
    /// Starts the load.
    async fn start(settings: Settings) -> (Arc<Self>, JoinSet<()>) {
        Self::start_with(0, settings).await
    }

    /// Starts the load. The first of the processes has a near cache, which may serve a copy for a while
    /// after a write is pending. So the answer to such a write waits.
    async fn start_with_near_cache(settings: Settings) -> (Arc<Self>, JoinSet<()>) {
        Self::start_with(16 << 20, settings.hold_pending(true)).await
    }

    async fn start_with(near_bytes: usize, settings: Settings) -> (Arc<Self>, JoinSet<()>) {
        let settings = settings.prefix(RedisServer::unique_prefix()).unwrap();
        let items = Arc::default();
        let first = settings.clone().near_cache_bytes(near_bytes).unwrap();
        let caches = [first, settings].map(|settings| Cache::connect(settings).unwrap());
        let routers = caches.clone().map(|cache| {
            Router::new()
                .route("/items/{id}", get(item).put(change).post(change_by_group))
                .with_state(Shop {
                    cache,
                    items: Arc::clone(&items),
                })
        });
        let [one, two] = routers;
        let load = Arc::new(Self {
            processes: [serve(one).await, serve(two).await],
            caches,
            written: Default::default(),
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            hits: AtomicUsize::new(0),
            stale: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            slowest: AtomicU64::new(0),
            ends: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for reader in 0..READERS {
            tasks.spawn(Arc::clone(&load).read(reader));
        }
        tasks.spawn(Arc::clone(&load).write());
        (load, tasks)
    }

    async fn read(self: Arc<Self>, reader: usize) {
        let process = self.processes[reader % 2];
        while !self.ends.load(Ordering::Relaxed) {
            let id = fastrand::usize(..ITEMS);
            let at_least = self.written[id].load(Ordering::SeqCst);
            let begun = Instant::now();
            let reply = process.get(&format!("/items/{id}")).await;
            let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
            self.slowest.fetch_max(took, Ordering::Relaxed);
            self.reads.fetch_add(1, Ordering::Relaxed);
            if reply.status.as_u16() != 200 {
                self.failed.fetch_add(1, Ordering::Relaxed);
            } else if reply.text().parse::<u64>().unwrap() < at_least {
                self.stale.fetch_add(1, Ordering::Relaxed);
            }
            if reply.outcome() == "HIT" {
                self.hits.fetch_add(1, Ordering::Relaxed);
            }
            // The pace of a reader, which waits for nothing.
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn write(self: Arc<Self>) {
        while !self.ends.load(Ordering::Relaxed) {
            let id = fastrand::usize(..ITEMS);
            let method = fastrand::choice(["PUT", "POST"]).unwrap();
            let process = fastrand::choice(self.processes).unwrap();
            let reply = process.send(method, &format!("/items/{id}"), &[]).await;
            if reply.status.as_u16() == 200 {
                self.written[id].fetch_max(reply.text().parse().unwrap(), Ordering::SeqCst);
            } else {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            self.writes.fetch_add(1, Ordering::Relaxed);
            // The pace of the writer, which waits for nothing.
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until every process answers every item from the store. Returns how long that took.
    async fn hits_are_back(&self) -> Duration {
        let begun = Instant::now();
        for process in &self.processes {
            for id in 0..ITEMS {
                stored(process, &format!("/items/{id}")).await;
            }
        }
        begun.elapsed()
    }

    /// Ends the load, and holds it to the promise.
    async fn end(&self, tasks: JoinSet<()>, what: &str, hits_back: Duration) {
        self.ends.store(true, Ordering::Relaxed);
        tasks.join_all().await;
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        println!(
            "{what}: {} reads ({} hits), {} writes, {} failed, {} stale, slowest {} ms, all hits \
             again after {} ms, {} faults",
            count(&self.reads),
            count(&self.hits),
            count(&self.writes),
            count(&self.failed),
            count(&self.stale),
            self.slowest.load(Ordering::Relaxed),
            hits_back.as_millis(),
            self.caches.iter().map(Cache::faults).sum::<u64>(),
        );
        assert_eq!((count(&self.failed), count(&self.stale)), (0, 0), "{what}");
        for cache in &self.caches {
            assert_eq!(cache.pending_evictions(), 0);
        }
    }
}

fn of_cluster(cluster: &RedisCluster) -> Settings {
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

fn of_sentinels(servers: &RedisSentinels) -> Settings {
    let nodes = servers.sentinel_addresses();
    Settings::default()
        .sentinel(true)
        .sentinel_master_name(servers.master_name())
        .unwrap()
        .sentinel_nodes(nodes.iter().map(ToString::to_string))
        .unwrap()
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
