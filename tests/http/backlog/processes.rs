//! Several processes on one Redis that was away: what one of them wrote, the others do not answer
//! without, although Redis still has the old response when it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cache_evict, cached};
use test_support::{Client, Proxy, RedisServer, until};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::{App, Store, serve};

#[cached(ttl = 30)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(read)]
async fn write(Extension(database): Extension<Database>) -> String {
    (database.version.fetch_add(1, Ordering::SeqCst) + 1).to_string()
}

/// The data that every process reads and writes.
#[derive(Clone, Default)]
struct Database {
    version: Arc<AtomicUsize>,
    /// The newest version of which a client knows that it was written.
    acknowledged: Arc<AtomicUsize>,
}

/// One of the processes, whose readers never rest.
struct Process {
    cache: Cache,
    client: Client,
    database: Database,
    hits: Arc<AtomicUsize>,
    reader: JoinHandle<()>,
}

impl Process {
    async fn start(proxy: &Proxy, database: &Database) -> Self {
        let settings = Settings::from_url(proxy.url()).unwrap();
        let cache = Store::Redis.cache_with(settings);
        let version = Arc::clone(&database.version);
        let app = App::new(cache.clone(), move |_| {
            let version = version.load(Ordering::SeqCst);
            async move { version.to_string() }
        });
        let router = Router::new()
            .route("/item", get(read).put(write))
            .layer(Extension(database.clone()))
            .with_state(app);
        let (client, hits) = (serve(router).await, Arc::<AtomicUsize>::default());
        let reader = tokio::spawn(reads(client, database.clone(), Arc::clone(&hits)));
        Self {
            cache,
            client,
            database: database.clone(),
            hits,
            reader,
        }
    }

    /// Writes, and tells every reader.
    async fn writes(&self) {
        let reply = self.client.send("PUT", "/item", &[]).await;
        let version = reply.text().parse().unwrap();
        let acknowledged = &self.database.acknowledged;
        acknowledged.fetch_max(version, Ordering::SeqCst);
    }

    /// Waits until Redis is of no use to it, several times so that it has noticed for sure.
    async fn misses_redis(&self) {
        let before = self.cache.faults();
        let is_missed = async || self.cache.faults() > before + 5;
        until("a process notices that Redis is away", is_missed).await;
    }

    async fn hits_again(&self) {
        let before = self.hits.load(Ordering::SeqCst);
        let hits = async || self.hits.load(Ordering::SeqCst) > before;
        until("a HIT", hits).await;
    }

    /// Ends its reader, which must not have failed.
    async fn end(self) {
        self.reader.abort();
        let end = self.reader.await;
        assert!(end.is_err_and(|error| error.is_cancelled()));
    }
}

/// Reads all the time, and never anything older than what was acknowledged before it asked.
async fn reads(client: Client, database: Database, hits: Arc<AtomicUsize>) {
    loop {
        let acknowledged = database.acknowledged.load(Ordering::SeqCst);
        let reply = client.get("/item").await;
        let version: usize = reply.text().parse().unwrap();
        assert!(
            version >= acknowledged,
            "{} {version} instead of {acknowledged}",
            reply.outcome()
        );
        if reply.outcome() == "HIT" {
            hits.fetch_add(1, Ordering::SeqCst);
        }
        // The pace of a reader, which waits for nothing.
        sleep(Duration::from_millis(2)).await;
    }
}

struct Pair {
    redis: RedisServer,
    proxies: [Proxy; 2],
    both: [Process; 2],
}

impl Pair {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let address = redis.address().into();
        let proxies = [Proxy::start(address).await, Proxy::start(address).await];
        let database = Database::default();
        let [one, other] = &proxies;
        let both = [
            Process::start(one, &database).await,
            Process::start(other, &database).await,
        ];
        Self {
            redis,
            proxies,
            both,
        }
    }

    /// Takes Redis away from both, writes, and gives it back, again and again.
    async fn lose(self, take: impl Fn(&Self), give: impl Fn(&Self)) {
        let [one, other] = &self.both;
        for writer in [one, other, one, other] {
            tokio::join!(one.hits_again(), other.hits_again());
            take(&self);
            tokio::join!(one.misses_redis(), other.misses_redis());
            writer.writes().await;
            give(&self);
        }
        tokio::join!(one.hits_again(), other.hits_again());
        for process in self.both {
            process.end().await;
        }
    }
}

#[tokio::test]
async fn after_redis_hung_no_process_answers_with_what_another_has_overwritten() {
    let pair = Pair::start().await;
    let process = pair.redis.process();
    let signal = |name| move |this: &Pair| this.redis.signal(name, process);
    pair.lose(signal("STOP"), signal("CONT")).await;
}

#[tokio::test]
async fn after_redis_was_unreachable_no_process_answers_with_what_another_has_overwritten() {
    let pair = Pair::start().await;
    let refuse = |this: &Pair| this.proxies.iter().for_each(Proxy::refuse);
    let pass = |this: &Pair| this.proxies.iter().for_each(Proxy::pass);
    pair.lose(refuse, pass).await;
}
