//! A value made before the key was set or evicted is never found afterwards.

use axum_redis_cache::{Cache, Values};
use test_support::Gate;
use tokio::task::JoinHandle;

use crate::support::{Store, on_every_store, settings};

/// The writes and evictions that happen while a value is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Set,
    SetMany,
    Delete,
    DeleteGroup,
    Clear,
}

use Does::{Clear, Delete, DeleteGroup, Set, SetMany};

const ALL: [Does; 5] = [Set, SetMany, Delete, DeleteGroup, Clear];

impl Does {
    async fn to(self, cache: &Cache) {
        let values = cache.group("g");
        match self {
            Set => values.set("key", "set").await,
            SetMany => values.set_many([("key", "set")]).await,
            Delete => values.delete("key").await,
            DeleteGroup => cache.delete_group("g").await,
            Clear => cache.clear().await,
        }
    }

    /// The value that is found afterwards.
    fn leaves(self) -> Option<String> {
        matches!(self, Set | SetMany).then(|| "set".to_owned())
    }
}

/// Makes the value in a task of its own, which waits at a gate.
fn make(values: Values, value: &'static str) -> (JoinHandle<String>, Gate) {
    let gate = Gate::new();
    let waits = gate.clone();
    let task = tokio::spawn(async move {
        let make = async || {
            waits.pass().await;
            value.to_owned()
        };
        values.get_or_insert_with("key", make).await
    });
    (task, gate)
}

async fn wins(does: Does, making: &Cache, other: &Cache) {
    let values = making.group("g");
    let (old, gate) = make(values.clone(), "old");
    gate.entered().await;
    does.to(other).await;
    gate.open();
    assert_eq!(old.await.unwrap(), "old", "{does:?}");
    for cache in [making, other] {
        let found = cache.group("g").get::<String>("key").await;
        assert_eq!(found, does.leaves(), "{does:?}");
    }
}

/// A later caller does not wait for a value that was begun before.
async fn is_seen_at_once(does: Does, making: &Cache, other: &Cache) {
    let (old, gate) = make(making.group("g"), "old");
    gate.entered().await;
    does.to(other).await;
    let values = making.group("g");
    let new = values.get_or_insert_with("key", async || "new".to_owned());
    let expected = does.leaves().unwrap_or_else(|| "new".to_owned());
    assert_eq!(new.await, expected, "{does:?}");
    gate.open();
    assert_eq!(old.await.unwrap(), "old", "{does:?}");
    assert_eq!(values.get("key").await, Some(expected), "{does:?}");
}

on_every_store!(
    a_write_while_a_value_is_made_wins,
    a_write_while_a_value_is_made_is_seen_at_once,
    concurrent_writes_leave_no_older_value,
);

async fn a_write_while_a_value_is_made_wins(store: Store) {
    for does in ALL {
        let cache = store.cache();
        wins(does, &cache, &cache).await;
    }
}

async fn a_write_while_a_value_is_made_is_seen_at_once(store: Store) {
    for does in ALL {
        let cache = store.cache();
        is_seen_at_once(does, &cache, &cache).await;
    }
}

async fn concurrent_writes_leave_no_older_value(store: Store) {
    let cache = store.cache();
    for round in 0..20 {
        cache.set("key", &"old").await;
        let sets = (0..10).map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.set("key", &format!("{round} {number}")).await })
        });
        for set in sets.collect::<Vec<_>>() {
            set.await.unwrap();
        }
        let found = cache.get::<String>("key").await;
        assert!(found.is_none_or(|found| found.starts_with(&format!("{round} "))));
    }
}

#[tokio::test]
async fn a_write_by_another_process_while_a_value_is_made_wins() {
    for does in ALL {
        let [one, other] = two_processes();
        wins(does, &one, &other).await;
        let [one, other] = two_processes();
        is_seen_at_once(does, &one, &other).await;
    }
}

/// Two caches that take each other for caches of two processes.
fn two_processes() -> [Cache; 2] {
    let settings = settings();
    [(); 2].map(|()| Store::Redis.cache_with(settings.clone()))
}
