//! A value that another program wrote under a name of the cache reads as a miss.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::cached;
use redis::Commands;
use test_support::RedisServer;

use crate::support::{App, Store, patient, serve};

#[cached(ttl = 30, group = "g")]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

const ENTRY: &str = "redis:axum:cache:e:{http::corrupt::read}";
const LEASE: &str = "redis:axum:cache:l:{http::corrupt::read}";

#[tokio::test]
async fn corrupt_foreign_or_truncated_entries_are_misses_and_are_replaced() {
    let redis = RedisServer::start();
    let settings = patient(&redis);
    let app = App::counting(Store::Redis.cache_with(settings));
    let client = serve(Router::new().route("/item", get(read)).with_state(app)).await;
    client.get("/item").await;
    let mut connection = redis.connection();
    let entry: Vec<u8> = connection.get(ENTRY).unwrap();
    assert!(entry.ends_with(b"run 0"));

    let mut damaged: Vec<Vec<u8>> = vec![vec![], b"{\"json\":1}".to_vec(), vec![0; 4096]];
    damaged.extend((0..entry.len()).step_by(7).map(|len| entry[..len].to_vec()));
    damaged.push([&entry[..], b"x"].concat());
    let header = entry.len() - "run 0".len();
    damaged.extend((0..header).map(|at| {
        let mut bytes = entry.clone();
        bytes[at] = !bytes[at];
        bytes
    }));
    for bytes in damaged {
        let () = connection.set(ENTRY, &bytes).unwrap();
        assert_eq!(client.get("/item").await.outcome(), "MISS", "{bytes:?}");
        assert_eq!(client.get("/item").await.outcome(), "HIT");
    }
    let () = connection.del(ENTRY).unwrap();
    let _: i64 = connection.rpush(ENTRY, "a list").unwrap();
    assert_eq!(client.get("/item").await.outcome(), "MISS");
    assert_eq!(client.get("/item").await.outcome(), "HIT");
}

#[tokio::test]
async fn a_foreign_nonce_is_replaced_and_a_foreign_lease_only_prevents_storing() {
    let redis = RedisServer::start();
    let settings = patient(&redis);
    let app = App::counting(Store::Redis.cache_with(settings));
    let client = serve(Router::new().route("/item", get(read)).with_state(app)).await;
    let mut connection = redis.connection();
    let () = connection.set("redis:axum:cache:g:g", "short").unwrap();
    assert_eq!(client.get("/item").await.outcome(), "MISS");
    assert_eq!(client.get("/item").await.outcome(), "HIT");
    let _: i64 = connection.del(ENTRY).unwrap();
    let () = connection.set(LEASE, "foreign").unwrap();
    for _ in 0..2 {
        assert_eq!(client.get("/item").await.outcome(), "MISS");
    }
}
