//! Values, which an application keeps beside the responses of its handlers.

mod faults;
mod insert;
mod races;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{cache_evict, cached};
use serde::{Deserialize, Serialize};

use crate::support::{App, Store, on_every_store, serve, settings};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    title: String,
    sums: BTreeMap<String, Option<i64>>,
    share: f64,
}

fn report() -> Report {
    Report {
        title: "ünïcode \"quoted\"".to_owned(),
        sums: BTreeMap::from([("a".to_owned(), Some(-1)), ("b".to_owned(), None)]),
        share: 0.1,
    }
}

on_every_store!(
    a_value_is_found_as_it_was_set,
    a_number_is_found_as_it_was_set,
    any_text_is_a_key,
    a_value_is_found_only_through_its_group,
    a_value_stays_fresh_for_its_ttl,
    an_evicted_value_is_not_found,
    values_and_responses_of_a_group_are_evicted_together,
    a_value_and_a_response_never_share_an_entry,
    a_value_that_no_longer_decodes_is_a_miss_and_is_replaced,
    a_value_that_cannot_be_stored_evicts_the_old_one,
    many_values_are_set_and_returned_in_order,
);

async fn a_value_is_found_as_it_was_set(store: Store) {
    let cache = store.cache();
    assert!(!cache.has("report").await);
    assert_eq!(cache.get::<Report>("report").await, None);
    cache.set("report", &report()).await;
    assert!(cache.has("report").await);
    assert_eq!(cache.get("report").await, Some(report()));
    cache.set("report", "a text").await;
    assert_eq!(
        cache.get::<String>("report").await.as_deref(),
        Some("a text")
    );
    cache.set("nothing", &None::<u8>).await;
    assert_eq!(cache.get::<Option<u8>>("nothing").await, Some(None));
    assert_eq!(cache.faults(), 0);
}

async fn a_number_is_found_as_it_was_set(store: Store) {
    let cache = store.cache();
    let numbers = [
        21.760_803_311_092_978,
        f64::MIN_POSITIVE,
        f64::MAX,
        -0.0,
        5e-324,
    ];
    cache.set("number", &numbers[0]).await;
    assert_eq!(cache.get("number").await, Some(numbers[0]));
    cache.set("numbers", &numbers).await;
    let found = cache.get::<[f64; 5]>("numbers").await.unwrap();
    assert_eq!(found.map(f64::to_bits), numbers.map(f64::to_bits));
}

async fn any_text_is_a_key(store: Store) {
    let cache = store.cache();
    let long = "x".repeat(2000);
    let longer = "x".repeat(2001);
    let keys = [
        "",
        ":",
        "{a}",
        "}",
        "#",
        "=",
        "a b\r\n\0",
        "ключ",
        &long,
        &longer,
    ];
    for (number, key) in keys.iter().enumerate() {
        cache.set(key, &number).await;
        cache.group("").set(key, &(number + 100)).await;
        cache.group(*key).set("", &(number + 1000)).await;
    }
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(cache.get(key).await, Some(number), "{key}");
        if number > 0 {
            assert_eq!(cache.group("").get(key).await, Some(number + 100), "{key}");
            assert_eq!(
                cache.group(*key).get("").await,
                Some(number + 1000),
                "{key}"
            );
        }
    }
}

async fn a_value_is_found_only_through_its_group(store: Store) {
    let cache = store.cache();
    let (one, other) = (cache.group("one"), cache.group("other"));
    one.set("key", &1).await;
    other.set("key", &2).await;
    assert_eq!(cache.get::<u8>("key").await, None);
    one.delete("key").await;
    assert_eq!(one.get::<u8>("key").await, None);
    assert_eq!(cache.group("other").ttl(5).get("key").await, Some(2));
}

async fn a_value_stays_fresh_for_its_ttl(store: Store) {
    let short = Duration::from_millis(50);
    let cache = store.cache_with(settings().default_ttl(short));
    cache.set("default", &1).await;
    cache.ttl(Duration::from_millis(60)).set("short", &1).await;
    cache.ttl(60).set("long", &1).await;
    cache.ttl(0).group("g").set("endless", &1).await;
    cache.ttl(u64::MAX).set("forever", &1).await;
    // The time after which the short ones have expired.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for gone in ["default", "short"] {
        assert!(!cache.has(gone).await, "{gone}");
    }
    for there in ["long", "forever"] {
        assert!(cache.has(there).await, "{there}");
    }
    assert!(cache.group("g").has("endless").await);
}

async fn an_evicted_value_is_not_found(store: Store) {
    let cache = store.cache();
    let group = cache.group("g");
    let fill = async || {
        cache.set("key", &1).await;
        group.set("key", &1).await;
    };
    let there = async || (cache.has("key").await, group.has("key").await);
    fill().await;
    cache.delete("key").await;
    assert_eq!(there().await, (false, true));
    fill().await;
    cache.delete_group("g").await;
    assert_eq!(there().await, (true, false));
    fill().await;
    cache.clear().await;
    assert_eq!(there().await, (false, false));
    fill().await;
    assert_eq!(there().await, (true, true));
}

async fn values_and_responses_of_a_group_are_evicted_together(store: Store) {
    let cache = store.cache();
    let group = cache.group("shared");
    let client = serve(router(App::counting(cache.clone()))).await;
    for (run, evict) in ["attribute", "group", "all"].into_iter().enumerate() {
        client.get("/item").await;
        group.set("key", &run).await;
        assert_eq!(client.get("/item").await.outcome(), "HIT");
        match evict {
            "attribute" => drop(client.send("POST", "/item", &[]).await),
            "group" => cache.delete_group("shared").await,
            _ => cache.clear().await,
        }
        assert!(!group.has("key").await, "{evict}");
        let reply = client.get("/item").await;
        assert_eq!(reply.outcome(), "MISS", "{evict}");
        client.send("POST", "/item", &[]).await;
    }
}

async fn a_value_and_a_response_never_share_an_entry(store: Store) {
    let cache = store.cache();
    let values = cache.group("g");
    let client = serve(router(App::counting(cache.clone()))).await;
    values.set("k", "a value").await;
    assert_eq!(client.get("/like-a-value").await.text(), "run 0");
    values.set("k", "a value").await;
    let reply = client.get("/like-a-value").await;
    assert_eq!((reply.outcome(), reply.text()), ("HIT", "run 0"));
    assert_eq!(values.get::<String>("k").await.as_deref(), Some("a value"));
    cache.evict(like_a_value::key()).await;
    assert!(values.has("k").await);
}

async fn a_value_that_no_longer_decodes_is_a_miss_and_is_replaced(store: Store) {
    let cache = store.cache();
    cache.set("key", "a text").await;
    assert_eq!(cache.get::<Report>("key").await, None);
    assert!(cache.has("key").await);
    assert_eq!(
        cache.get_or_insert_with("key", async || report()).await,
        report()
    );
    assert_eq!(cache.get("key").await, Some(report()));
}

async fn a_value_that_cannot_be_stored_evicts_the_old_one(store: Store) {
    let cache = store.cache_with(settings().max_body_bytes(100));
    let no_json = HashMap::from([((1, 2), 3)]);
    cache.set("key", &1).await;
    cache.set("key", &no_json).await;
    assert!(!cache.has("key").await);
    cache.set("key", &1).await;
    cache.set("key", &"x".repeat(99)).await;
    assert!(!cache.has("key").await);
    cache.set("key", &"x".repeat(98)).await;
    assert!(cache.has("key").await);
    cache
        .set_many([("key", "x".repeat(99)), ("other", String::new())])
        .await;
    assert!(!cache.has("key").await && cache.has("other").await);
}

async fn many_values_are_set_and_returned_in_order(store: Store) {
    let values = store.cache().group("g").ttl(60);
    let key = |number: usize| format!("key {number}");
    values
        .set_many((0..200).map(|number| (key(number), number)))
        .await;
    let keys = (0..300).rev().map(key);
    let found = values.get_many::<usize>(keys).await;
    let expected = (0..300)
        .rev()
        .map(|number| Some(number).filter(|number| *number < 200));
    assert_eq!(found, expected.collect::<Vec<_>>());
    values.set_many([("twice", 1), ("twice", 2)]).await;
    assert_eq!(
        values.get_many(["twice", "twice"]).await,
        [Some(2), Some(2)]
    );
    assert_eq!(values.get_many::<u8>([""; 0]).await, []);
}

#[cached(ttl = 30, group = "shared")]
async fn item(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, key = "=g:k")]
async fn like_a_value(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(group = "shared")]
async fn evict() {}

fn router(app: App) -> Router {
    Router::new()
        .route("/item", get(item).merge(post(evict)))
        .route("/like-a-value", get(like_a_value))
        .with_state(app)
}
