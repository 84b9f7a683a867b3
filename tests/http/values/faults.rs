//! Values on a Redis that fails, or that others write to.

use std::time::Duration;

use axum_redis_cache::{Cache, Settings};
use redis::Commands;
use test_support::{Gate, Proxy, RedisServer, until};

use crate::support::{Store, patient, settings};

const ENTRY: &str = "redis:axum:cache:e:{=g:key}";

#[tokio::test]
async fn the_names_of_values_are_readable() {
    let redis = RedisServer::start();
    let cache = Cache::connect(patient(&redis)).unwrap();
    cache.group("g").ttl(60).set("key", &[1, 2]).await;
    cache.set("a:b", &1).await;
    cache.group("a:b").set("c", &1).await;
    let mut connection = redis.connection();
    let entry: Vec<u8> = connection.get(ENTRY).unwrap();
    assert!(entry.ends_with(b"[1,2]"));
    let ttl: i64 = connection.pttl(ENTRY).unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
    for key in ["=:a:b", "=a%3Ab:c"] {
        let exists: bool = connection
            .exists(format!("redis:axum:cache:e:{{{key}}}"))
            .unwrap();
        assert!(exists, "{key}");
    }
}

#[tokio::test]
async fn the_names_of_a_computed_value_expire() {
    let redis = RedisServer::start();
    let values = Cache::connect(patient(&redis)).unwrap().group("g").ttl(60);
    assert_eq!(values.get_or_insert_with("key", async || 1).await, 1);
    let mut connection = redis.connection();
    let names: Vec<String> = connection.keys("*").unwrap();
    let of_the_value = names.iter().filter(|name| !name.contains(":all:"));
    for name in of_the_value {
        let left: i64 = connection.ttl(name).unwrap();
        // The time of a lease is added to that of the value.
        assert!((1..=90).contains(&left), "{name} is kept for {left} s");
    }
    assert!(names.len() > 2, "{names:?}");
}

#[tokio::test]
async fn corrupt_foreign_or_truncated_entries_are_misses_and_are_replaced() {
    let redis = RedisServer::start();
    let values = Cache::connect(patient(&redis)).unwrap().group("g");
    values.set("key", &[1, 2]).await;
    let mut connection = redis.connection();
    let entry: Vec<u8> = connection.get(ENTRY).unwrap();
    let mut damaged = vec![vec![], b"[1,2]".to_vec(), [&entry[..], b" "].concat()];
    damaged.extend((0..entry.len()).step_by(5).map(|len| entry[..len].to_vec()));
    damaged.extend((0..entry.len() - 4).map(|at| {
        let mut bytes = entry.clone();
        bytes[at] = !bytes[at];
        bytes
    }));
    for bytes in damaged {
        let () = connection.set(ENTRY, &bytes).unwrap();
        assert_eq!(values.get::<Vec<u8>>("key").await, None, "{bytes:?}");
        assert!(
            values.get_many::<Vec<u8>>(["key"]).await[0].is_none(),
            "{bytes:?}"
        );
        let made = values.get_or_insert_with("key", async || vec![3]).await;
        assert_eq!(made, [3]);
        assert_eq!(values.get("key").await, Some(vec![3]));
    }
    let () = connection.del(ENTRY).unwrap();
    let _: i64 = connection.rpush(ENTRY, "a list").unwrap();
    assert!(!values.has("key").await);
    values.set("key", &4).await;
    assert_eq!(values.get("key").await, Some(4));
}

#[tokio::test]
async fn without_redis_nothing_is_found_and_nothing_fails() {
    let mut redis = RedisServer::start();
    redis.kill();
    let cache = Cache::connect(patient(&redis)).unwrap();
    let values = cache.group("g").ttl(60);
    values.set("key", &1).await;
    values.set_many([("key", 1)]).await;
    assert_eq!(values.get::<u8>("key").await, None);
    assert_eq!(values.get_many::<u8>(["key", "other"]).await, [None, None]);
    assert!(!values.has("key").await);
    for made in [2, 3] {
        assert_eq!(
            values.get_or_insert_with("other", async || made).await,
            made
        );
    }
    let failed = values.get_or_try_insert_with("other", async || Err::<u8, _>("no"));
    assert_eq!(failed.await, Err("no"));
    assert!(cache.faults() > 0);
    redis.start_again();
    until("values are found", async || {
        values.get_or_insert_with("other", async || 4).await;
        values.get("other").await == Some(4)
    })
    .await;
}

/// Returns the value found while Redis hangs, and the one found when Redis goes on.
async fn is_obeyed_and_repeated(evict: impl AsyncFnOnce(&Cache)) {
    let proxy = Proxy::start(RedisServer::shared().address().into()).await;
    let url = Settings::from_url(proxy.url()).unwrap();
    let settings = url.prefix(RedisServer::unique_prefix()).unwrap();
    let cache = Cache::connect(settings.clone()).unwrap();
    let values = cache.group("g");
    until("the value is stored", async || {
        values.set("key", &1).await;
        values.get("key").await == Some(1)
    })
    .await;
    proxy.refuse();
    proxy.cut();
    evict(&cache).await;
    assert!(cache.pending_evictions() > 0);
    assert_eq!(values.get::<u8>("key").await, None);
    assert_eq!(values.get_or_insert_with("key", async || 2).await, 2);
    proxy.pass();
    until("Redis takes the eviction", async || {
        assert_ne!(values.get::<u8>("key").await, Some(1));
        assert_ne!(values.get_or_insert_with("key", async || 2).await, 1);
        cache.pending_evictions() == 0
    })
    .await;
    let another = Cache::connect(settings).unwrap();
    assert_ne!(another.group("g").get::<u8>("key").await, Some(1));
}

#[tokio::test]
async fn evictions_that_redis_did_not_take_are_obeyed_and_retried() {
    is_obeyed_and_repeated(async |cache| cache.group("g").delete("key").await).await;
    is_obeyed_and_repeated(async |cache| cache.delete_group("g").await).await;
    is_obeyed_and_repeated(async |cache| cache.clear().await).await;
}

#[tokio::test]
async fn a_value_that_redis_did_not_take_evicts_the_old_one() {
    is_obeyed_and_repeated(async |cache| cache.group("g").set("key", &3).await).await;
    is_obeyed_and_repeated(async |cache| cache.group("g").set_many([("key", 3)]).await).await;
}

/// Starts something, drops it while Redis holds its reply back, and expects the old value to go.
async fn is_done_although_it_was_dropped(what: impl AsyncFnOnce(&Cache)) {
    let proxy = Proxy::start(RedisServer::shared().address().into()).await;
    let url = Settings::from_url(proxy.url()).unwrap();
    let settings = url.prefix(RedisServer::unique_prefix()).unwrap();
    let cache = Cache::connect(settings.socket_timeout(Duration::from_secs(5))).unwrap();
    let values = cache.group("g");
    values.set("key", &1).await;
    assert_eq!(values.get("key").await, Some(1));
    proxy.hang();
    tokio::select! {
        biased;
        () = what(&cache) => panic!("it is done without a reply of Redis"),
        () = proxy.request() => {}
    }
    proxy.pass();
    until("the old value is gone", async || {
        values.get::<u8>("key").await != Some(1)
    })
    .await;
}

#[tokio::test]
async fn a_write_of_a_value_that_is_dropped_half_way_is_done_in_the_background() {
    is_done_although_it_was_dropped(async |cache| cache.group("g").delete("key").await).await;
    is_done_although_it_was_dropped(async |cache| cache.delete_group("g").await).await;
    is_done_although_it_was_dropped(async |cache| cache.clear().await).await;
    is_done_although_it_was_dropped(async |cache| cache.group("g").set("key", &2).await).await;
}

#[tokio::test]
async fn the_lease_of_a_dropped_fill_blocks_no_other() {
    let settings = settings();
    let [one, other] = [(); 2].map(|()| Store::Redis.cache_with(settings.clone()));
    let gate = Gate::new();
    let making = one.get_or_insert_with("key", async || {
        gate.pass().await;
        1
    });
    tokio::select! {
        _ = making => panic!("nobody opens the gate"),
        () = gate.entered() => {}
    }
    let made = other.get_or_insert_with("key", async || 2);
    let made = tokio::time::timeout(Duration::from_secs(1), made).await;
    assert_eq!(made.unwrap(), 2);
    assert_eq!(one.get("key").await, Some(2));
}
