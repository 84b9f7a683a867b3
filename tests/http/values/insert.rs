//! Many ask at once for a value that is not there: one makes it, the others share it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum_redis_cache::{Cache, Values};
use futures_executor::block_on;
use test_support::{Gate, in_time};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{Store, on_every_store, reaches, settings};

/// Makes `1`, `2` and so on; the first one waits at the gate.
#[derive(Clone)]
struct Maker {
    gate: Gate,
    runs: Arc<AtomicUsize>,
    /// Counts the callers.
    asked: Arc<watch::Sender<usize>>,
}

impl Maker {
    fn new() -> Self {
        Self {
            gate: Gate::new(),
            runs: Arc::default(),
            asked: Arc::new(watch::Sender::new(0)),
        }
    }

    async fn make(&self) -> usize {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        if run == 1 {
            self.gate.pass().await;
        }
        run
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// Asks for the value in a task of its own.
    fn ask(&self, values: &Values) -> JoinHandle<usize> {
        let (maker, values) = (self.clone(), values.clone());
        tokio::spawn(async move {
            maker.asked.send_modify(|count| *count += 1);
            values
                .get_or_insert_with("key", async || maker.make().await)
                .await
        })
    }

    /// Asks for the value in a task that waits for the run of another.
    async fn follow(&self, values: &Values) -> JoinHandle<usize> {
        let before = *self.asked.borrow();
        let follower = self.ask(values);
        reaches(&self.asked, before + 1).await;
        assert!(!follower.is_finished());
        follower
    }
}

async fn found(cache: &Cache) -> Option<usize> {
    cache.group("g").get("key").await
}

on_every_store!(
    a_value_is_made_once,
    one_of_a_hundred_concurrent_callers_makes_the_value,
    a_caller_of_another_group_does_not_wait,
    an_error_is_not_stored_and_waiting_callers_make_the_value,
    after_a_panic_waiting_callers_make_the_value,
    a_waiting_caller_takes_over_from_one_that_is_dropped,
    the_next_caller_makes_the_value_after_one_that_is_dropped,
    a_value_may_be_made_of_others_and_of_itself,
    values_that_ask_for_each_other_do_not_wait_for_each_other,
    a_value_that_took_longer_than_its_lease_is_not_stored,
    a_value_that_is_too_large_is_made_by_every_caller_and_blocks_none,
);

async fn a_value_is_made_once(store: Store) {
    let cache = store.cache();
    assert_eq!(cache.get_or_insert_with("key", async || 1).await, 1);
    assert_eq!(cache.get_or_insert_with("key", async || 2).await, 1);
    let made: Result<_, Infallible> = cache.get_or_try_insert_with("key", async || Ok(3)).await;
    assert_eq!(made.unwrap(), 1);
}

async fn one_of_a_hundred_concurrent_callers_makes_the_value(store: Store) {
    let (cache, maker) = (store.cache(), Maker::new());
    let values = cache.group("g");
    let asked: Vec<_> = (0..100).map(|_| maker.ask(&values)).collect();
    maker.gate.entered().await;
    maker.gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 1);
    }
    assert_eq!((maker.runs(), found(&cache).await), (1, Some(1)));
}

async fn a_caller_of_another_group_does_not_wait(store: Store) {
    let (cache, maker) = (store.cache(), Maker::new());
    let one = maker.ask(&cache.group("g"));
    maker.gate.entered().await;
    assert_eq!(maker.ask(&cache.group("h")).await.unwrap(), 2);
    maker.gate.open();
    assert_eq!(one.await.unwrap(), 1);
}

async fn an_error_is_not_stored_and_waiting_callers_make_the_value(store: Store) {
    let (cache, gate) = (store.cache(), Gate::new());
    let failing = {
        let (values, gate) = (cache.group("g"), gate.clone());
        tokio::spawn(async move {
            let make = async || {
                gate.pass().await;
                Err::<usize, _>("no")
            };
            values.get_or_try_insert_with("key", make).await
        })
    };
    gate.entered().await;
    let maker = Maker::new();
    maker.gate.open();
    let follower = maker.follow(&cache.group("g")).await;
    gate.open();
    assert_eq!(failing.await.unwrap(), Err("no"));
    assert_eq!(follower.await.unwrap(), 1);
    assert_eq!(found(&cache).await, Some(1));
}

async fn after_a_panic_waiting_callers_make_the_value(store: Store) {
    let (cache, gate) = (store.cache(), Gate::new());
    let panicking = {
        let (values, gate) = (cache.group("g"), gate.clone());
        tokio::spawn(async move {
            let make = async || -> usize {
                gate.pass().await;
                panic!("no value");
            };
            values.get_or_insert_with("key", make).await
        })
    };
    gate.entered().await;
    let maker = Maker::new();
    maker.gate.open();
    let followers = [
        maker.follow(&cache.group("g")).await,
        maker.follow(&cache.group("g")).await,
    ];
    gate.open();
    assert!(panicking.await.unwrap_err().is_panic());
    for follower in followers {
        assert!(follower.await.unwrap() <= 2);
    }
    assert!(maker.ask(&cache.group("g")).await.unwrap() <= 2);
}

async fn a_waiting_caller_takes_over_from_one_that_is_dropped(store: Store) {
    let (cache, maker) = (store.cache(), Maker::new());
    let values = cache.group("g");
    let leader = maker.ask(&values);
    maker.gate.entered().await;
    let mut followers = Vec::new();
    for _ in 0..5 {
        followers.push(maker.follow(&values).await);
    }
    leader.abort();
    for follower in followers {
        assert_eq!(follower.await.unwrap(), 2);
    }
    assert_eq!((maker.runs(), found(&cache).await), (2, Some(2)));
}

async fn the_next_caller_makes_the_value_after_one_that_is_dropped(store: Store) {
    let (cache, maker) = (store.cache(), Maker::new());
    let values = cache.group("g");
    let leader = maker.ask(&values);
    maker.gate.entered().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert_eq!(maker.ask(&values).await.unwrap(), 2);
    assert_eq!(found(&cache).await, Some(2));
}

async fn a_value_may_be_made_of_others_and_of_itself(store: Store) {
    let cache = store.cache();
    let sum = cache.get_or_insert_with("sum", async || {
        let one = cache.get_or_insert_with("one", async || 1).await;
        let itself = cache.get_or_insert_with("sum", async || 10).await;
        one + itself
    });
    let sum = in_time("the sum", sum).await;
    assert_eq!((sum, cache.get("one").await), (11, Some(1)));
}

async fn values_that_ask_for_each_other_do_not_wait_for_each_other(store: Store) {
    let (cache, gate) = (store.cache(), Gate::new());
    let ask = |key: &'static str, other: &'static str| {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move {
            cache
                .get_or_insert_with(key, async || {
                    gate.pass().await;
                    cache.get_or_insert_with(other, async || 1).await
                })
                .await
        })
    };
    let (one, other) = (ask("one", "other"), ask("other", "one"));
    for _ in 0..2 {
        gate.entered().await;
    }
    gate.open();
    gate.open();
    assert_eq!((one.await.unwrap(), other.await.unwrap()), (1, 1));
}

async fn a_value_that_took_longer_than_its_lease_is_not_stored(store: Store) {
    let lease = Duration::from_millis(50);
    let cache = store.cache_with(settings().lease_ttl(lease));
    // The time after which the lease has ended.
    let slow = cache.get_or_insert_with("key", async || tokio::time::sleep(lease * 3).await);
    slow.await;
    assert!(!cache.has("key").await);
    cache.get_or_insert_with("key", async || ()).await;
    assert!(cache.has("key").await);
}

async fn a_value_that_is_too_large_is_made_by_every_caller_and_blocks_none(store: Store) {
    let cache = store.cache_with(settings().max_body_bytes(10));
    let ask = || {
        let cache = cache.clone();
        tokio::spawn(async move {
            cache
                .get_or_insert_with("key", async || "x".repeat(20))
                .await
        })
    };
    for asked in (0..20).map(|_| ask()).collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap().len(), 20);
    }
    assert!(!cache.has("key").await);
    assert_eq!(
        cache
            .get_or_insert_with("key", async || "x".to_owned())
            .await,
        "x"
    );
    assert!(cache.has("key").await);
}

#[test]
fn a_cache_in_memory_needs_no_runtime() {
    let cache = Cache::in_memory();
    block_on(async {
        assert_eq!(cache.get_or_insert_with("key", async || 1).await, 1);
        cache.set("key", &2).await;
        assert_eq!(cache.get_or_insert_with("key", async || 3).await, 2);
        cache.delete("key").await;
        assert_eq!(cache.get::<u8>("key").await, None);
    });
}

#[tokio::test]
async fn one_of_many_callers_in_two_processes_makes_the_value() {
    let settings = settings();
    let caches = [(); 2].map(|()| Store::Redis.cache_with(settings.clone()));
    let maker = Maker::new();
    let leader = maker.ask(&caches[0].group("g"));
    maker.gate.entered().await;
    let asked: Vec<_> = (0..100)
        .map(|number| maker.ask(&caches[number % 2].group("g")))
        .collect();
    reaches(&maker.asked, 101).await;
    maker.gate.open();
    assert_eq!(leader.await.unwrap(), 1);
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 1);
    }
    assert_eq!(maker.runs(), 1);
}

#[tokio::test]
async fn another_process_takes_over_from_a_caller_that_is_dropped() {
    let settings = settings();
    let [one, other] = [(); 2].map(|()| Store::Redis.cache_with(settings.clone()));
    let maker = Maker::new();
    let leader = maker.ask(&one.group("g"));
    maker.gate.entered().await;
    let follower = maker.follow(&other.group("g")).await;
    leader.abort();
    let taken_over = tokio::time::timeout(Duration::from_secs(1), follower);
    assert_eq!(taken_over.await.unwrap().unwrap(), 2);
    assert_eq!(found(&one).await, Some(2));
}
