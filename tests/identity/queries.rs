//! The query in the key: the parameters that the handler reads, as the handler reads them.

use std::collections::HashMap;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Form, Path, Query, RawQuery};
use axum::routing::get;
use axum_extra::extract::{OptionalQuery, Query as ExtraQuery};
use axum_redis_cache::cached;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::replies::{get as ask, hit};
use crate::support::{Store, on_every_store, serve};

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Search {
    q: String,
    #[serde(alias = "p", default)]
    page: u32,
    sort: Option<String>,
}

#[cached(ttl = 60)]
async fn search(Query(search): Query<Search>) -> String {
    format!("{search:?}")
}

#[cached(ttl = 60)]
async fn form(Form(search): Form<Search>) -> String {
    format!("{search:?}")
}

#[cached(ttl = 60)]
async fn perhaps(search: Result<Query<Search>, QueryRejection>) -> String {
    match search {
        Ok(Query(search)) => format!("{search:?}"),
        Err(rejection) => rejection.body_text(),
    }
}

#[cached(ttl = 60)]
async fn pairs(Query(pairs): Query<Vec<(String, String)>>) -> String {
    format!("{pairs:?}")
}

#[cached(ttl = 60)]
async fn map(Query(map): Query<HashMap<String, String>>) -> String {
    let mut pairs: Vec<_> = map.into_iter().collect();
    pairs.sort();
    format!("{pairs:?}")
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Flat {
    page: u32,
    #[serde(flatten)]
    rest: HashMap<String, String>,
}

#[cached(ttl = 60)]
async fn flat(Query(flat): Query<Flat>) -> String {
    let mut rest: Vec<_> = flat.rest.into_iter().collect();
    rest.sort();
    format!("{} {rest:?}", flat.page)
}

#[cached(ttl = 60)]
async fn raw(RawQuery(query): RawQuery) -> String {
    format!("{query:?}")
}

#[cached(ttl = 60)]
async fn optional(OptionalQuery(search): OptionalQuery<Search>) -> String {
    format!("{search:?}")
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Tags {
    #[serde(default, alias = "tag")]
    tags: Vec<u32>,
    #[serde(default, alias = "o")]
    only: Option<u32>,
}

#[cached(ttl = 60)]
async fn tags(ExtraQuery(tags): ExtraQuery<Tags>) -> String {
    format!("{tags:?}")
}

#[cached(ttl = 60)]
async fn both(Query(search): Query<Search>, Query(page): Query<Page>) -> String {
    format!("{search:?} {page:?}")
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Page {
    author: Option<String>,
    page: Option<u32>,
}

#[cached(ttl = 60, key = "x:{q.page}")]
async fn narrowed(Query(q): Query<Page>) -> String {
    format!("{q:?}")
}

#[cached(ttl = 60, key = "x:{id}:{q.page}")]
async fn narrowed_with_a_path(Path(id): Path<u64>, Query(q): Query<Page>) -> String {
    format!("{id} {q:?}")
}

/// Reads two names by hand, of which the second reverses the order.
#[derive(Debug)]
#[allow(dead_code)]
struct Sorting {
    by: Option<String>,
    is_reversed: bool,
}

impl<'de> Deserialize<'de> for Sorting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sorted;

        impl<'de> Visitor<'de> for Sorted {
            type Value = Sorting;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("what to sort by")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sorting, A::Error> {
                let mut sorting = Sorting {
                    by: None,
                    is_reversed: false,
                };
                while let Some(name) = map.next_key::<String>()? {
                    if name == "asc" || name == "desc" {
                        if sorting.by.is_some() {
                            return Err(A::Error::duplicate_field("sort"));
                        }
                        sorting.by = Some(map.next_value()?);
                        sorting.is_reversed = name == "desc";
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(sorting)
            }
        }

        deserializer.deserialize_struct("Sorting", &["asc", "desc"], Sorted)
    }
}

#[cached(ttl = 60)]
async fn sorted(Query(sorting): Query<Sorting>) -> String {
    format!("{sorting:?}")
}

fn router() -> Router<axum_redis_cache::Cache> {
    Router::new()
        .route("/search", get(search))
        .route("/form", get(form))
        .route("/perhaps", get(perhaps))
        .route("/pairs", get(pairs))
        .route("/map", get(map))
        .route("/flat", get(flat))
        .route("/raw", get(raw))
        .route("/optional", get(optional))
        .route("/tags", get(tags))
        .route("/both", get(both))
        .route("/narrowed", get(narrowed))
        .route("/narrowed/{id}", get(narrowed_with_a_path))
        .route("/sorted", get(sorted))
}

on_every_store!(
    the_order_of_a_sequence_is_in_the_key,
    spellings_of_a_query_share_an_entry,
    different_queries_never_share_an_entry,
    fields_that_a_template_leaves_out_are_in_the_key_too,
    an_alias_of_a_list_shares_its_entry,
    an_alias_shares_its_entry_after_it_was_empty,
    names_of_a_hand_written_type_are_told_apart,
);

async fn the_order_of_a_sequence_is_in_the_key(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    let one = ask(&client, "/pairs?price=desc&name=asc").await;
    let other = ask(&client, "/pairs?name=asc&price=desc").await;
    assert_eq!(other.0, "MISS");
    assert_ne!(one.1, other.1);
    for (one, other) in [
        ("?a=1&a=2", "?a=2&a=1"),
        ("?", "?="),
        ("?a", "?a=&a"),
        ("?a=1,b=2", "?a=1&b=2"),
    ] {
        let one = ask(&client, &format!("/pairs{one}")).await;
        let other = ask(&client, &format!("/pairs{other}")).await;
        assert_eq!((&*one.0, &*other.0), ("MISS", "MISS"));
        assert_ne!(one.1, other.1);
    }
}

async fn spellings_of_a_query_share_an_entry(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    let same: [(&str, &[&str]); 5] = [
        (
            "?q=a+b",
            &[
                "?q=a%20b",
                "?%71=a%20b",
                "?q=%61+b",
                "?&q=a+b&",
                "?q=a+b&utm_source=mail",
                "?utm_source=mail&q=a+b",
                "?q=a+b&Q=c",
            ],
        ),
        (
            "?q=x&page=2",
            &[
                "?page=2&q=x",
                "?page=02&q=x",
                "?page=%2B2&q=x",
                "?p=2&q=x",
                "?q=x&p=02",
                "?x&q=x&p=2&y=1",
            ],
        ),
        ("?q=&sort=a", &["?q&sort=a", "?sort=a&q="]),
        ("?q=%26%3D&sort=%25", &["?sort=%25&q=%26="]),
        ("?q=%FF", &["?q=%ff", "?q=%EF%BF%BD", "?q=%FE"]),
    ];
    for route in ["/search", "/form", "/perhaps", "/optional"] {
        for (first, others) in same {
            let (said, body) = ask(&client, &format!("{route}{first}")).await;
            assert_eq!(said, "MISS", "{route}{first}");
            for other in others {
                assert_eq!(
                    ask(&client, &format!("{route}{other}")).await,
                    hit(&body),
                    "{route}{other}"
                );
            }
        }
    }
}

async fn different_queries_never_share_an_entry(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    let targets = [
        "/search?q=a",
        "/search?q=A",
        "/search?q=a&page=1",
        "/search?q=a&sort=",
        "/search?q=a&sort=~",
        "/search?q=a%26page%3D1",
        "/search?q=a%2526page%3D1",
        "/search?q=",
        "/search?q=a%2Bb",
        "/search?q=a+b",
        "/perhaps?q=a",
        "/perhaps",
        "/perhaps?",
        "/perhaps?page=1",
        "/perhaps?q=a&q=a",
        "/perhaps?q=a&page=x",
        "/perhaps?q=a&page=y",
        "/perhaps?page=1&page=x",
        "/map?a=1",
        "/map?a=1&b=2",
        "/map?a=1%26b=2",
        "/map?a=1&a=2",
        "/flat?page=1",
        "/flat?page=1&a=2",
        "/flat?page=1&b=2",
        "/raw",
        "/raw?",
        "/raw?a",
        "/raw?a=",
        "/raw?b&a",
        "/raw?a&b",
        "/raw?%61",
        "/optional",
        "/optional?q=None",
        "/tags?tags=1&tags=2",
        "/tags?tags=2&tags=1",
        "/tags?tags=1",
        "/tags?only=1",
        "/tags?tags=1&only=1",
        "/both?q=a&author=b",
        "/both?q=a&author=c",
        "/both?q=a&page=1&author=",
    ];
    let mut bodies = HashMap::new();
    for target in targets {
        let (said, body) = ask(&client, target).await;
        assert_eq!(said, "MISS", "{target}");
        bodies.insert(target, body);
    }
    for target in targets {
        assert_eq!(ask(&client, target).await, hit(&bodies[target]), "{target}");
    }
}

async fn fields_that_a_template_leaves_out_are_in_the_key_too(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    for route in ["/narrowed", "/narrowed/1"] {
        let (_, ann) = ask(&client, &format!("{route}?page=1&author=ann")).await;
        let (_, bob) = ask(&client, &format!("{route}?page=1&author=bob")).await;
        assert!(ann.contains("ann") && bob.contains("bob"), "{ann} {bob}");
        assert_eq!(
            ask(&client, &format!("{route}?author=bob&page=01")).await,
            hit(&bob)
        );
    }
}

async fn an_alias_of_a_list_shares_its_entry(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    // The first value that is seen must not decide what the name stands for later.
    for (one, other) in [("?tag=1&tag=2", "?tags=1&tags=2"), ("?tag=7", "?tags=07")] {
        let (_, body) = ask(&client, &format!("/tags{one}")).await;
        assert_eq!(
            ask(&client, &format!("/tags{other}")).await,
            hit(&body),
            "{one} {other}"
        );
    }
}

async fn an_alias_shares_its_entry_after_it_was_empty(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    ask(&client, "/tags?o=").await;
    let (_, body) = ask(&client, "/tags?o=1").await;
    assert_eq!(ask(&client, "/tags?only=1").await, hit(&body));
}

async fn names_of_a_hand_written_type_are_told_apart(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    let (_, one) = ask(&client, "/sorted?asc=price").await;
    let (_, other) = ask(&client, "/sorted?desc=price").await;
    assert_ne!(one, other);
}
