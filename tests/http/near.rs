//! The near cache: copies in each process, which no process serves once an eviction is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, Settings, cache_evict, cache_put, cached};
use test_support::{Client, Proxy, RedisServer, in_time, until};

use crate::support::{App, answer, asked, serve, stored};

const MIB: usize = 1024 * 1024;

/// Long enough that a busy machine does not lose its proofs.
const WINDOW: Duration = Duration::from_secs(1);

#[cached(ttl = 60, group = "items")]
async fn item(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

#[cached(ttl = 60)]
async fn large(State(app): State<App>) -> Bytes {
    let text = app.run().await;
    let text = axum::body::to_bytes(text.into_body(), 100).await.unwrap();
    text.repeat(300 * 1024 / text.len()).into()
}

#[cache_evict(item)]
async fn evict(Path(_): Path<u32>) {}

#[cache_evict(group = "items")]
async fn evict_group() {}

#[cache_put(item)]
async fn replace(Path(_): Path<u32>) -> &'static str {
    "replaced"
}

fn near(url: &str) -> Settings {
    let settings = Settings::from_url(url).unwrap();
    let settings = settings.socket_timeout(Duration::from_secs(10));
    let settings = settings.near_cache_bytes(16 * MIB).unwrap();
    settings.near_cache_window(WINDOW).unwrap()
}

/// The URL for the user `shop`.
fn url_of_shop(redis: &RedisServer) -> String {
    format!("redis://shop:secret@{}", redis.address())
}

/// A process of an application, whose handler answers `run 0`, `run 1` and so on.
async fn process(settings: Settings) -> (Client, App) {
    start(App::counting(Cache::connect(settings).unwrap())).await
}

async fn start(app: App) -> (Client, App) {
    let router = Router::new()
        .route("/items/{id}", get(item).put(replace).delete(evict))
        .route("/evict", post(evict_group))
        .route("/large", get(large))
        .with_state(app.clone());
    (serve(router).await, app)
}

/// Returns how often Redis was asked for entries.
fn lookups(redis: &RedisServer) -> u64 {
    redis.command_count("mget")
}

/// Returns the number of connections for which evictions wait.
fn members(redis: &RedisServer) -> usize {
    let fields = redis::cmd("HKEYS")
        .arg("redis:axum:cache:near:registry")
        .query(&mut redis.connection());
    let mut fields: Vec<String> = fields.unwrap();
    fields.retain(|field| !field.starts_with("found"));
    fields.len()
}

/// Gets a path until it is answered from the near cache.
async fn near_hit(redis: &RedisServer, client: &Client, path: &str) -> String {
    let mut text = String::new();
    until("a HIT in the near cache", async || {
        let before = lookups(redis);
        text = stored(client, path).await;
        lookups(redis) == before
    })
    .await;
    text
}

#[tokio::test]
async fn a_hit_in_the_near_cache_contacts_nobody() {
    let redis = RedisServer::start();
    let (client, app) = process(near(&redis.url())).await;
    assert_eq!(near_hit(&redis, &client, "/items/1").await, "run 0");
    let before = lookups(&redis);
    for _ in 0..100 {
        assert_eq!(asked(&client, "/items/1").await, answer("HIT", "run 0"));
    }
    assert_eq!(lookups(&redis), before);
    let status = app.cache.status().near_cache.unwrap();
    assert_eq!((status.entries, status.max_bytes), (1, 16 * MIB));
    assert!(status.bytes > 0 && status.bytes < 16 * MIB, "{status:?}");
}

#[tokio::test]
async fn after_an_eviction_no_process_serves_its_copy() {
    let redis = RedisServer::start();
    let runs = Arc::new(AtomicUsize::new(0));
    // No two runs give the same answer, in whatever process.
    let process = async |settings| {
        let runs = Arc::clone(&runs);
        let app = App::new(Cache::connect(settings).unwrap(), move |_| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            async move { format!("run {run}") }
        });
        start(app).await.0
    };
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(process(near(&redis.url())).await);
    }
    let writer = process(Settings::from_url(redis.url()).unwrap()).await;
    let writers = [&writer, &others[0]];
    for round in 0..20 {
        let mut before = String::new();
        for client in &others {
            before = near_hit(&redis, client, "/items/1").await;
        }
        let writer = writers[round % 2];
        let (method, path, expected) = [
            ("DELETE", "/items/1", "EVICTED"),
            ("POST", "/evict", "EVICTED"),
            ("PUT", "/items/1", "STORED"),
        ][round % 3];
        let said = writer.send(method, path, &[]).await;
        assert_eq!(said.outcome(), expected, "round {round}");
        for client in &others {
            let reply = client.get("/items/1").await;
            assert_ne!(reply.text(), before, "round {round}");
            assert_eq!(reply.text() == "replaced", method == "PUT", "round {round}");
        }
    }
}

#[tokio::test]
async fn a_process_that_hears_nothing_stops_serving_its_copies_before_an_eviction_is_answered() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let patient = near(&proxy.url());
    let (deaf, _) = process(patient.socket_timeout(Duration::from_millis(250))).await;
    let (writer, _) = process(near(&redis.url())).await;
    near_hit(&redis, &deaf, "/items/1").await;
    proxy.hang();
    assert_eq!(
        writer.send("DELETE", "/items/1", &[]).await.outcome(),
        "EVICTED"
    );
    let reply = deaf.get("/items/1").await;
    assert_eq!((reply.outcome(), reply.text()), ("BYPASS", "run 1"));
}

#[tokio::test]
async fn a_process_that_hears_nothing_delays_two_evictions_only() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let (deaf, _) = process(near(&proxy.url())).await;
    near_hit(&redis, &deaf, "/items/1").await;
    let (writer, _) = process(Settings::from_url(redis.url()).unwrap()).await;
    let members = || members(&redis);
    assert_eq!(
        writer.send("DELETE", "/items/1", &[]).await.outcome(),
        "EVICTED"
    );
    assert_eq!(members(), 1);
    proxy.hang();
    for _ in 0..2 {
        assert_eq!(members(), 1);
        assert_eq!(
            writer.send("DELETE", "/items/1", &[]).await.outcome(),
            "EVICTED"
        );
    }
    assert_eq!(members(), 0);
    // It is a member again when it hears.
    proxy.pass();
    until("a member", async || {
        deaf.get("/items/1").await;
        members() == 1
    })
    .await;
    near_hit(&redis, &deaf, "/items/1").await;
}

#[tokio::test]
async fn after_a_shutdown_no_eviction_waits_for_the_process() {
    let redis = RedisServer::start();
    let (client, app) = process(near(&redis.url())).await;
    near_hit(&redis, &client, "/items/1").await;
    assert_eq!(members(&redis), 1);
    app.cache.shutdown().await;
    assert_eq!(members(&redis), 0);
    // Requests that are still answered read from Redis.
    let before = lookups(&redis);
    assert_eq!(asked(&client, "/items/1").await, answer("HIT", "run 0"));
    assert_eq!(lookups(&redis), before + 1);
}

#[tokio::test]
async fn a_flush_of_redis_empties_the_near_cache() {
    let redis = RedisServer::start();
    let (client, _) = process(near(&redis.url())).await;
    near_hit(&redis, &client, "/items/1").await;
    redis.command(&["FLUSHALL"]);
    until("a run", async || {
        client.get("/items/1").await.text() == "run 1"
    })
    .await;
    assert_eq!(near_hit(&redis, &client, "/items/1").await, "run 1");
    // The connection is in the registry again.
    assert_eq!(
        client.send("DELETE", "/items/1", &[]).await.outcome(),
        "EVICTED"
    );
    assert_eq!(stored(&client, "/items/1").await, "run 2");
}

#[tokio::test]
async fn a_long_entry_is_not_kept() {
    let redis = RedisServer::start();
    let (client, app) = process(near(&redis.url())).await;
    near_hit(&redis, &client, "/items/1").await;
    stored(&client, "/large").await;
    let before = lookups(&redis);
    for _ in 0..5 {
        assert_eq!(client.get("/large").await.outcome(), "HIT");
    }
    assert_eq!(lookups(&redis), before + 5);
    assert_eq!(app.cache.status().near_cache.unwrap().entries, 1);
}

#[tokio::test]
async fn without_tracking_lookups_go_to_redis() {
    let redis = RedisServer::start();
    redis.command(&[
        "ACL",
        "SETUSER",
        "shop",
        "on",
        ">secret",
        "~*",
        "&*",
        "+@all",
        "-client|tracking",
    ]);
    let (client, app) = process(near(&url_of_shop(&redis))).await;
    assert_eq!(stored(&client, "/items/1").await, "run 0");
    let before = lookups(&redis);
    for _ in 0..5 {
        assert_eq!(asked(&client, "/items/1").await, answer("HIT", "run 0"));
    }
    assert_eq!(lookups(&redis), before + 5);
    assert_eq!(app.cache.status().near_cache.unwrap().entries, 0);
}

#[tokio::test]
async fn an_evictor_that_cannot_read_the_registry_waits_for_the_window() {
    let redis = RedisServer::start();
    redis.command(&[
        "ACL", "SETUSER", "shop", "on", ">secret", "~*", "&*", "+@all", "-hgetall",
    ]);
    let proxy = Proxy::start(redis.address().into()).await;
    let patient = near(&proxy.url());
    let (deaf, _) = process(patient.socket_timeout(Duration::from_millis(250))).await;
    near_hit(&redis, &deaf, "/items/1").await;
    let (writer, _) = process(near(&url_of_shop(&redis))).await;
    proxy.hang();
    let said = in_time("an eviction", writer.send("DELETE", "/items/1", &[])).await;
    assert_eq!(said.outcome(), "EVICTED");
    assert_eq!(deaf.get("/items/1").await.outcome(), "BYPASS");
}
