//! An eviction that Redis did not take is not lost: this process obeys it at once, and tells Redis of
//! it when Redis listens again.

mod processes;
mod server;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_redis_cache::Settings;
use test_support::{Gate, RedisServer, until};
use tokio::time::timeout;

use crate::support::{App, Store, nonce_of_everything, patient, serve};
use server::{Server, evict_key, fails, numbered, read};

const ENTRY: &str = "redis:axum:cache:e:{http::backlog::server::read}";
const GROUP: &str = "redis:axum:cache:g:g";

/// Evicts while Redis is frozen, which takes `name` away from Redis in the end, or else the nonce of
/// everything.
async fn is_told_when_redis_is_back(method: &str, path: &str, name: Option<&str>) {
    let server = Server::start().await;
    let old = server.stored("/item").await;
    let all = nonce_of_everything(&mut server.redis.connection());
    let name = name.unwrap_or(&all);
    let before = server.value(name);
    assert!(before.is_some());
    server.freeze();
    server.succeeds(method, path).await;
    assert!(server.cache.pending_evictions() > 0);
    for _ in 0..10 {
        server.answers_without(&old, "/item").await;
    }
    server.thaw();
    server.is_told(&old, "/item").await;
    assert_ne!(server.value(name), before);
    assert_ne!(server.stored("/item").await, old);
}

#[tokio::test]
async fn an_eviction_of_a_key_that_redis_did_not_take_is_retried() {
    is_told_when_redis_is_back("DELETE", "/item", Some(ENTRY)).await;
}

#[tokio::test]
async fn an_eviction_of_a_group_that_redis_did_not_take_is_retried() {
    is_told_when_redis_is_back("POST", "/group", Some(GROUP)).await;
}

#[tokio::test]
async fn an_eviction_of_everything_that_redis_did_not_take_is_retried() {
    is_told_when_redis_is_back("POST", "/all", None).await;
}

#[tokio::test]
async fn a_write_that_redis_did_not_take_evicts() {
    is_told_when_redis_is_back("PUT", "/item", Some(ENTRY)).await;
}

#[tokio::test]
async fn an_eviction_by_the_application_that_redis_did_not_take_is_retried() {
    let server = Server::start().await;
    let old = server.stored("/item").await;
    server.freeze();
    server.cache.evict(read::key("/item")).await;
    server.answers_without(&old, "/item").await;
    server.thaw();
    server.is_told(&old, "/item").await;
    assert_ne!(server.stored("/item").await, old);
}

#[tokio::test]
async fn a_write_that_could_not_be_stored_evicts() {
    let server = Server::start().await;
    let old = server.stored("/slow").await;
    let client = server.client;
    let write = tokio::spawn(async move { client.send("PUT", "/slow", &[]).await });
    server.gate.entered().await;
    server.freeze();
    server.gate.open();
    assert_eq!(write.await.unwrap().text(), "written slowly");
    server.answers_without(&old, "/slow").await;
    server.thaw();
    server.is_told(&old, "/slow").await;
    assert_ne!(server.stored("/slow").await, old);
}

/// Freezes Redis before or while a handler runs whose client goes away.
async fn is_told_although_the_client_left(method: &'static str, frozen_before: bool) {
    let server = Server::start().await;
    let old = server.stored("/slow").await;
    if frozen_before {
        server.freeze();
    }
    let client = server.client;
    let request = tokio::spawn(async move { client.send(method, "/slow", &[]).await });
    server.gate.entered().await;
    if !frozen_before {
        server.freeze();
    }
    request.abort();
    server.gate.open();
    let is_pending = async || server.cache.pending_evictions() > 0;
    until("the client is missed", is_pending).await;
    server.answers_without(&old, "/slow").await;
    server.thaw();
    server.is_told(&old, "/slow").await;
    assert_ne!(server.stored("/slow").await, old);
}

#[tokio::test]
async fn an_eviction_survives_its_client_while_redis_is_away() {
    tokio::join!(
        is_told_although_the_client_left("DELETE", true),
        is_told_although_the_client_left("DELETE", false),
    );
}

#[tokio::test]
async fn the_eviction_of_a_write_survives_its_client_while_redis_is_away() {
    tokio::join!(
        is_told_although_the_client_left("PUT", true),
        is_told_although_the_client_left("PUT", false),
    );
}

#[tokio::test]
async fn a_fill_from_before_an_eviction_that_redis_did_not_take_is_not_served() {
    let redis = RedisServer::start();
    let (cache, gate) = (
        Store::Redis.cache_with(Settings::from_url(redis.url()).unwrap()),
        Gate::new(),
    );
    let held = gate.clone();
    let app = App::new(cache.clone(), move |run| {
        let gate = held.clone();
        async move {
            if run == 0 {
                gate.pass().await;
            }
            format!("run {run}")
        }
    });
    let route = get(read).delete(evict_key);
    let client = serve(Router::new().route("/item", route).with_state(app)).await;
    let fill = tokio::spawn(async move { client.get("/item").await });
    gate.entered().await;
    let process = redis.process();
    redis.signal("STOP", process);
    client.send("DELETE", "/item", &[]).await;
    gate.open();
    redis.signal("CONT", process);
    assert_eq!(fill.await.unwrap().text(), "run 0");
    until("a HIT of a later run", async || {
        let reply = client.get("/item").await;
        assert_ne!(reply.text(), "run 0");
        reply.outcome() == "HIT"
    })
    .await;
}

#[tokio::test]
async fn a_read_only_redis_learns_of_evictions_when_it_is_writable() {
    let redis = RedisServer::start();
    let settings = patient(&redis);
    let server = Server::start_with(redis, settings).await;
    for (method, path, evicted) in [("DELETE", "/item", "/item"), ("POST", "/group", "/item/1")] {
        let old = server.stored(evicted).await;
        server.redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
        server.succeeds(method, path).await;
        assert!(server.cache.pending_evictions() > 0);
        server.answers_without(&old, evicted).await;
        server.redis.command(&["REPLICAOF", "NO", "ONE"]);
        server.is_told(&old, evicted).await;
        assert_ne!(server.stored(evicted).await, old);
    }
}

#[tokio::test]
async fn an_evicted_entry_that_is_still_readable_replaces_neither_an_error_nor_a_504() {
    let redis = RedisServer::start();
    let settings = patient(&redis);
    let server = Server::start_with(redis, settings).await;
    assert_eq!(server.client.get("/fails").await.text(), "worked once");
    assert_eq!(server.client.get("/fails").await.outcome(), "HIT");
    server.redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    server.cache.evict(fails::key("/fails")).await;
    assert_eq!(server.client.get("/fails").await.status.as_u16(), 500);
    let only = [("cache-control", "only-if-cached")];
    let reply = server.client.get_with("/fails", &only).await;
    assert_eq!(reply.status.as_u16(), 504);
}

#[tokio::test]
async fn hundreds_of_evictions_that_redis_did_not_take_are_all_retried() {
    let server = Server::start().await;
    let paths: Vec<_> = (0..600).map(|number| format!("/item/{number}")).collect();
    let entry = |number| format!("redis:axum:cache:e:{{http::backlog::server::numbered/{number}}}");
    for path in &paths {
        server.client.get(path).await;
    }
    assert!(server.value(&entry(599)).is_some());
    server.freeze();
    for number in 0..600 {
        server.cache.evict(numbered::key(number)).await;
    }
    assert_eq!(server.cache.pending_evictions(), paths.len());
    server.thaw();
    let is_told = async || server.cache.pending_evictions() == 0;
    until("Redis takes the evictions", is_told).await;
    for number in 0..600 {
        assert_eq!(server.value(&entry(number)), None);
    }
}

#[tokio::test]
async fn more_pending_evictions_than_the_queue_holds_evict_everything() {
    let server = Server::start().await;
    let old = server.stored("/item").await;
    server.freeze();
    for number in 0..5000 {
        server.cache.evict(numbered::key(number)).await;
    }
    assert!(server.cache.pending_evictions() < 5000);
    server.answers_without(&old, "/item").await;
    server.thaw();
    server.is_told(&old, "/item").await;
    assert_ne!(server.stored("/item").await, old);
}

#[tokio::test]
async fn a_shutdown_waits_until_redis_took_the_evictions() {
    let server = Server::start().await;
    server.stored("/item").await;
    let before = server.value(ENTRY);
    server.freeze();
    server.succeeds("DELETE", "/item").await;
    let mut shutdown = Box::pin(server.cache.shutdown());
    let early = timeout(Duration::from_millis(500), &mut shutdown).await;
    assert!(early.is_err(), "Redis has not taken the eviction");
    server.thaw();
    shutdown.await;
    assert_eq!(server.cache.pending_evictions(), 0);
    assert_ne!(server.value(ENTRY), before);
}

#[tokio::test]
async fn a_shutdown_waits_for_a_limited_time() {
    let server = Server::start().await;
    server.stored("/item").await;
    server.freeze();
    server.succeeds("DELETE", "/item").await;
    let shutdown = timeout(Duration::from_secs(15), server.cache.shutdown()).await;
    assert!(shutdown.is_ok(), "it takes as long as Redis is away");
    assert!(server.cache.pending_evictions() > 0);
}

#[test]
fn an_eviction_outlives_its_runtime() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let redis = RedisServer::start();
    let cache = Store::Redis.cache_with(Settings::from_url(redis.url()).unwrap());
    let process = redis.process();
    redis.signal("STOP", process);
    runtime().block_on(cache.evict(read::key("/item")));
    redis.signal("CONT", process);
    runtime().block_on(async {
        let is_told = async || {
            // Redis works, and is used.
            cache.evict(numbered::key(1)).await;
            cache.pending_evictions() == 0
        };
        until("Redis takes the eviction", is_told).await;
    });
}
