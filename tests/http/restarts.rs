//! Redis starts again: without its data, or while it loads what it had.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{Cache, cache_evict, cached};
use test_support::{Client, RedisServer, TempDir, until};

use crate::support::{App, Store, patient, serve, stored};

#[cached(ttl = 30)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30)]
async fn read_kept(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(read)]
async fn evict() {}

async fn start(redis: &RedisServer) -> (Client, Cache) {
    let cache = Store::Redis.cache_with(patient(redis));
    let router = Router::new()
        .route("/item", get(read).delete(evict))
        .route("/kept", get(read_kept))
        .with_state(App::counting(cache.clone()));
    (serve(router).await, cache)
}

#[tokio::test]
async fn a_redis_that_restarted_empty_is_filled_anew() {
    let mut redis = RedisServer::start();
    let (client, _) = start(&redis).await;
    let old = stored(&client, "/item").await;
    redis.kill();
    redis.start_again();
    assert_ne!(client.get("/item").await.text(), old);
    assert_ne!(stored(&client, "/item").await, old);
}

/// A Redis that keeps in a directory what survives a restart. It loads what it saved there, a
/// millisecond for each key, and refuses commands meanwhile.
fn redis_in(directory: &TempDir) -> RedisServer {
    let options = [
        ["--dir", directory.path().to_str().unwrap()],
        ["--key-load-delay", "1000"],
        ["--loading-process-events-interval-bytes", "1024"],
    ];
    RedisServer::start_with(options.as_flattened())
}

#[tokio::test]
async fn while_redis_loads_its_data_handlers_run_and_evictions_wait() {
    let directory = TempDir::new();
    let mut redis = redis_in(&directory);
    let (client, cache) = start(&redis).await;
    let old = stored(&client, "/item").await;
    let kept = stored(&client, "/kept").await;
    let others = "for i = 1, 2000 do redis.call('SET', 'other' .. i, i) end";
    let fill = redis::cmd("EVAL").arg(others).arg(0).to_owned();
    let () = fill.query(&mut redis.connection()).unwrap();
    redis.command(&["SAVE"]);
    redis.kill();
    redis.start_again();
    let dbsize = redis::cmd("DBSIZE").query::<i64>(&mut redis.connection());
    assert_eq!(dbsize.unwrap_err().code(), Some("LOADING"));
    assert_eq!(client.get("/kept").await.outcome(), "BYPASS");
    let reply = client.send("DELETE", "/item", &[]).await;
    assert_eq!(reply.status.as_u16(), 200);
    assert!(cache.pending_evictions() > 0);
    until("Redis takes the eviction", async || {
        assert_ne!(client.get("/item").await.text(), old);
        cache.pending_evictions() == 0
    })
    .await;
    assert_ne!(stored(&client, "/item").await, old);
    // Nobody knows which evictions happened after the data was saved.
    assert_ne!(stored(&client, "/kept").await, kept);
}

#[tokio::test]
async fn an_entry_evicted_after_redis_saved_its_data_does_not_come_back_with_them() {
    let directory = TempDir::new();
    let mut redis = redis_in(&directory);
    let (client, cache) = start(&redis).await;
    let old = stored(&client, "/item").await;
    redis.command(&["SAVE"]);
    client.send("DELETE", "/item", &[]).await;
    assert_eq!(cache.pending_evictions(), 0);
    redis.kill();
    redis.start_again();
    assert_ne!(stored(&client, "/item").await, old);
}

#[tokio::test]
async fn several_processes_agree_again_after_a_restart() {
    let directory = TempDir::new();
    let mut redis = redis_in(&directory);
    let (one, _) = start(&redis).await;
    let (idle, _) = start(&redis).await;
    let old = stored(&one, "/item").await;
    assert_eq!(idle.get("/item").await.text(), old);
    redis.command(&["SAVE"]);
    redis.kill();
    redis.start_again();
    assert_ne!(stored(&one, "/item").await, old);
    // Each of them evicts everything once, as soon as it notices.
    let new = stored(&idle, "/item").await;
    assert_eq!(stored(&one, "/item").await, new);
    assert_eq!(stored(&idle, "/item").await, new);
}
