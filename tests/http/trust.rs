//! Redis is trusted while it proves that it takes evictions, and has not lost any.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{Cache, ConnectionState, Settings, cache_evict, cached};
use test_support::{Client, Proxy, RedisServer, TempDir, until};

use crate::support::{App, Store, serve, stored};

#[cached(ttl = 30)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(read)]
async fn evict() {}

/// A text that no other process answers with either.
fn unique_text() -> String {
    RedisServer::unique_prefix()
}

#[cached(ttl = 30)]
async fn read_large(State(app): State<App>) -> Response {
    let name = app.run().await;
    let name = axum::body::to_bytes(name.into_body(), usize::MAX).await;
    let name = String::from_utf8(name.unwrap().to_vec()).unwrap();
    format!("{name} {}", "large ".repeat(100_000)).into_response()
}

#[cache_evict(read_large)]
async fn evict_large() {}

/// One process. Its budget is one that a busy machine keeps, and shorter than a pulse.
async fn process(settings: Settings) -> (Client, Cache) {
    let cache = Store::Redis.cache_with(settings);
    let router = Router::new()
        .route("/item", get(read).delete(evict))
        .route("/large", get(read_large).delete(evict_large))
        .with_state(App::new(cache.clone(), |_| async { unique_text() }));
    (serve(router).await, cache)
}

fn settings(url: String) -> Settings {
    let settings = Settings::from_url(url).unwrap();
    settings.socket_timeout(Duration::from_millis(800))
}

async fn is_up(cache: &Cache) -> bool {
    cache.status().servers[0].connections == [ConnectionState::Up]
}

/// The default of `REDIS_PULSE`.
const PULSE: Duration = Duration::from_secs(1);

/// A process evicts what another has seen, which Redis refuses. The other must not serve it for longer
/// than a pulse, and must serve the new one when Redis takes evictions again.
async fn a_refused_eviction_is_noticed(
    redis: &RedisServer,
    refuse: impl AsyncFnOnce(),
    allow: impl AsyncFnOnce(),
) {
    let (writer, writers) = process(settings(redis.url())).await;
    let (reader, readers) = process(settings(redis.url())).await;
    let old = stored(&writer, "/item").await;
    assert_eq!(stored(&reader, "/item").await, old);

    refuse().await;
    let reply = writer.send("DELETE", "/item", &[]).await;
    assert_eq!(reply.outcome(), "PENDING");
    // The time after which the reader must have noticed.
    tokio::time::sleep(PULSE).await;
    assert_ne!(reader.get("/item").await.text(), old);
    for _ in 0..50 {
        assert_ne!(reader.get("/item").await.outcome(), "HIT");
    }
    assert!(!is_up(&readers).await);

    allow().await;
    until("the eviction is taken", async || {
        assert_ne!(reader.get("/item").await.text(), old);
        writers.pending_evictions() == 0
    })
    .await;
    assert_ne!(stored(&reader, "/item").await, old);
    assert!(is_up(&readers).await);
}

#[tokio::test]
async fn a_redis_that_lacks_replicas_for_writes_is_not_trusted() {
    let redis = RedisServer::start();
    let set = async |replicas: &str| {
        redis.command(&["CONFIG", "SET", "min-replicas-to-write", replicas]);
    };
    a_refused_eviction_is_noticed(&redis, async || set("1").await, async || set("0").await).await;
}

#[tokio::test]
async fn a_redis_that_cannot_save_is_not_trusted() {
    let directory = TempDir::new();
    let path = directory.path().to_str().unwrap().to_owned();
    let redis = RedisServer::start_with(&["--dir", &path, "--save", "3600 1"]);
    let refuse = async || {
        std::fs::remove_dir_all(&path).unwrap();
        let refuses = async || {
            // It is refused while an earlier save is under way.
            let save = redis::cmd("BGSAVE").arg("SCHEDULE").to_owned();
            let _ = save.exec(&mut redis.connection());
            let set = redis::cmd("DEL")
                .arg("x")
                .query::<i64>(&mut redis.connection());
            set.is_err_and(|error| error.code() == Some("MISCONF"))
        };
        until("a save fails", refuses).await;
    };
    let allow = async || {
        redis.command(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    };
    a_refused_eviction_is_noticed(&redis, refuse, allow).await;
}

#[tokio::test]
async fn a_redis_with_paused_writes_is_not_trusted() {
    let redis = RedisServer::start();
    let refuse = async || redis.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let allow = async || redis.command(&["CLIENT", "UNPAUSE"]);
    a_refused_eviction_is_noticed(&redis, refuse, allow).await;
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_not_trusted() {
    let (redis, other) = (RedisServer::start(), RedisServer::start());
    let port = other.address().port().to_string();
    let refuse = async || redis.command(&["REPLICAOF", "127.0.0.1", &port]);
    let allow = async || redis.command(&["REPLICAOF", "NO", "ONE"]);
    a_refused_eviction_is_noticed(&redis, refuse, allow).await;
}

#[tokio::test]
async fn the_reply_to_an_eviction_can_be_held_until_no_process_serves_the_old_entry() {
    let redis = RedisServer::start();
    let holding = settings(redis.url()).hold_pending(true);
    let (writer, _) = process(holding).await;
    let (reader, _) = process(settings(redis.url())).await;
    let old = stored(&writer, "/item").await;
    assert_eq!(stored(&reader, "/item").await, old);
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let reply = writer.send("DELETE", "/item", &[]).await;
    assert_eq!(reply.outcome(), "PENDING");
    assert_ne!(reader.get("/item").await.text(), old);
}

#[tokio::test]
async fn a_new_process_recognises_data_from_before_an_eviction() {
    let directory = TempDir::new();
    let mut redis = RedisServer::start_with(&["--dir", directory.path().to_str().unwrap()]);
    let (before, _) = process(settings(redis.url())).await;
    let old = stored(&before, "/item").await;
    redis.command(&["SAVE"]);
    let reply = before.send("DELETE", "/item", &[]).await;
    assert_eq!(reply.outcome(), "EVICTED");
    redis.kill();
    redis.start_again();

    let (new, _) = process(settings(redis.url())).await;
    let reply = new.get("/item").await;
    assert_eq!(reply.outcome(), "MISS");
    let (newest, _) = process(settings(redis.url())).await;
    let kept = newest.get("/item").await;
    assert_eq!((kept.outcome(), kept.text()), ("HIT", reply.text()));
    drop(old);
}

#[tokio::test]
async fn a_first_replica_evicts_nothing() {
    let (redis, replica) = (RedisServer::start(), RedisServer::start());
    let (client, _) = process(settings(redis.url())).await;
    let old = stored(&client, "/item").await;
    let replication_id = || {
        let info: String = redis::cmd("INFO")
            .arg("replication")
            .query(&mut redis.connection())
            .unwrap();
        info.lines()
            .find(|line| line.starts_with("master_replid:"))
            .unwrap()
            .to_owned()
    };
    let before = replication_id();
    let port = redis.address().port().to_string();
    replica.command(&["REPLICAOF", "127.0.0.1", &port]);
    until("another replication id", async || {
        replication_id() != before
    })
    .await;
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let reply = client.get("/item").await;
    assert_eq!((reply.outcome(), reply.text()), ("HIT", &*old));
}

#[tokio::test]
async fn a_short_pause_of_redis_costs_the_lookups_in_it_and_no_connection() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let budget = Duration::from_secs(4);
    let (client, cache) = process(settings(proxy.url()).socket_timeout(budget)).await;
    let text = stored(&client, "/item").await;
    let connected = redis.command_counts();
    let times = |counts: &[(String, u64)]| {
        let info = counts.iter().find(|(name, _)| name == "info");
        info.map_or(0, |(_, times)| *times)
    };
    proxy.hang();
    // Longer than a lookup waits, and shorter than an eviction does.
    assert_eq!(client.get("/item").await.outcome(), "BYPASS");
    assert_eq!(
        cache.status().servers[0].connections,
        [ConnectionState::Untrusted]
    );
    proxy.pass();
    assert_eq!(stored(&client, "/item").await, text);
    assert!(is_up(&cache).await);
    let counts = redis.command_counts();
    assert!(times(&connected) > 0);
    // One more for each look at the counts.
    assert_eq!(times(&counts), times(&connected) + 1);
}

#[tokio::test]
async fn a_process_that_was_frozen_connects_anew_and_serves_hits_at_once() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let (client, _) = process(settings(proxy.url())).await;
    let text = stored(&client, "/item").await;
    proxy.strand();
    // The time for which everything in this process stops.
    std::thread::sleep(Duration::from_millis(2500));
    let reply = client.get("/item").await;
    assert_eq!((reply.outcome(), reply.text()), ("HIT", &*text));
}

#[tokio::test]
async fn a_connection_that_is_opened_after_a_refusal_is_not_trusted_at_once() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let (writer, _) = process(settings(proxy.url())).await;
    let (reader, readers) = process(settings(redis.url())).await;
    let old = stored(&writer, "/large").await;
    // From now on it has a connection of its own, which nobody has needed yet.
    assert_eq!(reader.get("/large").await.text(), old);
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let reply = writer.send("DELETE", "/large", &[]).await;
    assert_eq!(reply.outcome(), "PENDING");
    let state = async || readers.status().servers[0].connections[0];
    let is = async |expected| state().await == expected;
    until("the reader notices", async || {
        is(ConnectionState::Untrusted).await
    })
    .await;
    // The writer cannot tell Redis of its eviction yet.
    proxy.hang();
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    until("Redis takes evictions", async || {
        is(ConnectionState::Settling).await
    })
    .await;
    assert_ne!(reader.get("/large").await.text(), old);
}
