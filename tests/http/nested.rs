//! Runs that ask for other cached responses and values: they wait for each other's runs like everyone
//! else, unless that would never end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, Path, State};
use axum::routing::get;
use axum_redis_cache::{Cache, cached};
use test_support::{Gate, until};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{Store, on_every_store, serve, settings, without_redis};

#[derive(Clone)]
struct Pages {
    cache: Cache,
    gate: Gate,
    runs: Arc<AtomicUsize>,
}

impl FromRef<Pages> for Cache {
    fn from_ref(pages: &Pages) -> Self {
        pages.cache.clone()
    }
}

#[cached(ttl = 30)]
async fn page(Path(id): Path<u64>, State(pages): State<Pages>) -> String {
    pages.runs.fetch_add(1, Ordering::SeqCst);
    let nav = async || {
        pages.gate.pass().await;
        "nav".to_owned()
    };
    let nav: String = pages.cache.get_or_insert_with("nav", nav).await;
    format!("{nav} {id}")
}

/// Values that are made of other values, each of the same task.
#[derive(Clone)]
struct Values {
    cache: Cache,
    gate: Gate,
    made: Arc<AtomicUsize>,
}

impl Values {
    fn new(cache: Cache) -> Self {
        Self {
            cache,
            gate: Gate::new(),
            made: Arc::default(),
        }
    }

    /// Makes `name` of those behind it, or at once if there are none. A run of a value that is made of
    /// others waits at the gate first.
    fn get(
        &self,
        name: &'static str,
        needs: &'static [&'static [&'static str]],
    ) -> JoinHandle<String> {
        let values = self.clone();
        tokio::spawn(async move { values.make(name, needs).await })
    }

    async fn make(&self, name: &str, needs: &[&[&'static str]]) -> String {
        let make = async || {
            self.made.fetch_add(1, Ordering::SeqCst);
            if !needs.is_empty() {
                self.gate.pass().await;
            }
            let mut parts = Vec::new();
            for together in needs {
                let parts_of = together.iter().map(|other| Box::pin(self.make(other, &[])));
                parts.extend(futures_util::future::join_all(parts_of).await);
            }
            format!("{name}({})", parts.join(","))
        };
        self.cache.get_or_insert_with(name, make).await
    }
}

/// Makes `a` of `b` and `b` of `a` at the same time.
async fn need_each_other(one: &Values, other: &Values) {
    let a = one.get("a", &[&["b"]]);
    one.gate.entered().await;
    let b = other.get("b", &[&["a"]]);
    other.gate.entered().await;
    one.gate.open();
    other.gate.open();
    let (a, b) = (soon(a).await, soon(b).await);
    assert!(a.starts_with("a(b(") && b.starts_with("b(a("), "{a} {b}");
}

/// Checks that one or two more runs were made, because `a` and `b` would have waited for each other.
fn ran_a_few(values: &Values) {
    let made = values.made.load(Ordering::SeqCst);
    assert!((3..=4).contains(&made), "{made}");
}

/// Soon enough not to have waited for any bound.
async fn soon(value: JoinHandle<String>) -> String {
    timeout(Duration::from_secs(10), value)
        .await
        .unwrap()
        .unwrap()
}

on_every_store!(
    pages_wait_for_the_run_that_makes_their_shared_part,
    values_that_need_each_other_are_made,
    a_circle_through_one_of_several_values_awaited_at_once_is_detected,
    a_value_that_needs_itself_is_made_without_being_stored,
);

async fn pages_wait_for_the_run_that_makes_their_shared_part(store: Store) {
    let pages = Pages {
        cache: store.cache(),
        gate: Gate::new(),
        runs: Arc::default(),
    };
    let router = Router::new()
        .route("/{id}", get(page))
        .with_state(pages.clone());
    let client = serve(router).await;
    let replies: Vec<_> = (0..100)
        .map(|id| tokio::spawn(async move { client.get(&format!("/{id}")).await }))
        .collect();
    until("every page is being made", async || {
        pages.runs.load(Ordering::SeqCst) == 100
    })
    .await;
    pages.gate.entered().await;
    // The only run of it: others would wait at the gate for ever.
    pages.gate.open();
    for (id, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.await.unwrap().text(), format!("nav {id}"));
    }
}

async fn values_that_need_each_other_are_made(store: Store) {
    let values = Values::new(store.cache());
    need_each_other(&values, &values).await;
    ran_a_few(&values);
    // The value made within the circle is not stored.
    for name in ["a", "b"] {
        let stored: Option<String> = values.cache.get(name).await;
        assert!(stored.is_some_and(|it| it.starts_with(&format!("{name}("))));
    }
}

async fn a_circle_through_one_of_several_values_awaited_at_once_is_detected(store: Store) {
    let values = Values::new(store.cache());
    let a = values.get("a", &[&["b", "c"]]);
    values.gate.entered().await;
    let c = values.get("c", &[&["a"]]);
    values.gate.entered().await;
    values.gate.open();
    values.gate.open();
    let (a, c) = (soon(a).await, soon(c).await);
    assert!(
        a.starts_with("a(b(),c(") && c.starts_with("c(a("),
        "{a} {c}"
    );
}

async fn a_value_that_needs_itself_is_made_without_being_stored(store: Store) {
    let values = Values::new(store.cache());
    let a = values.get("a", &[&["a"]]);
    values.gate.entered().await;
    values.gate.open();
    assert_eq!(soon(a).await, "a(a())");
    assert_eq!(values.made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn values_of_two_processes_that_need_each_other_are_made() {
    let settings = settings();
    let [one, other] = [(); 2].map(|()| Values::new(Store::Redis.cache_with(settings.clone())));
    need_each_other(&one, &other).await;
}

#[tokio::test]
async fn values_that_need_each_other_are_made_without_redis_too() {
    let values = Values::new(without_redis());
    need_each_other(&values, &values).await;
}
