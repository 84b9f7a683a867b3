//! Two processes under load: no request may fail, and no response may be stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRef, Path, State};
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cache_evict, cached};
use test_support::{Client, RedisServer};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{serve, stored};

pub(crate) const ITEMS: usize = 12;
const READERS: usize = 8;

/// The state of two processes: the number of an item is its version.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) cache: Cache,
    pub(crate) items: Arc<[AtomicU64; ITEMS]>,
}

impl FromRef<Shop> for Cache {
    fn from_ref(shop: &Shop) -> Self {
        shop.cache.clone()
    }
}

#[cached(ttl = 60, key = "item:{id}", group = ["items", "item {id}"])]
pub(crate) async fn item(Path(id): Path<usize>, State(shop): State<Shop>) -> String {
    let version = shop.items[id].load(Ordering::SeqCst);
    // A run takes time, so that writes happen during it.
    sleep(Duration::from_millis(3)).await;
    version.to_string()
}

#[cache_evict(item(id))]
pub(crate) async fn change(Path(id): Path<usize>, State(shop): State<Shop>) -> String {
    (shop.items[id].fetch_add(1, Ordering::SeqCst) + 1).to_string()
}

#[cache_evict(group = "item {id}")]
async fn change_by_group(Path(id): Path<usize>, State(shop): State<Shop>) -> String {
    (shop.items[id].fetch_add(1, Ordering::SeqCst) + 1).to_string()
}

/// Two processes under load, and the counts of their responses.
pub(crate) struct Load {
    pub(crate) processes: [Client; 2],
    pub(crate) caches: [Cache; 2],
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
    pub(crate) async fn start(settings: Settings) -> (Arc<Self>, JoinSet<()>) {
        Self::start_with(0, settings).await
    }

    /// Starts the load. The first of the processes has a near cache, which may serve a copy for a while
    /// after a write is pending. So the answer to such a write waits.
    pub(crate) async fn start_with_near_cache(settings: Settings) -> (Arc<Self>, JoinSet<()>) {
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
    pub(crate) async fn hits_are_back(&self) -> Duration {
        let begun = Instant::now();
        for process in &self.processes {
            for id in 0..ITEMS {
                stored(process, &format!("/items/{id}")).await;
            }
        }
        begun.elapsed()
    }

    /// Ends the load, and checks that no request failed and no response was stale.
    pub(crate) async fn end(&self, tasks: JoinSet<()>, what: &str, hits_back: Duration) {
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
