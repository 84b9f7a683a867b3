//! Types of an application in keys, by `#[derive(KeyPart)]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query};
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use axum_redis_cache::{Cache, CacheKey, KeyPart, cache_evict, cached};
use serde::Deserialize;
use test_support::Reply;
use tower::ServiceExt;

#[derive(Clone, Debug, Deserialize, KeyPart)]
struct ProductId(u64);

#[derive(Clone, Debug, Deserialize, KeyPart)]
struct Repository {
    owner: String,
    r#type: Option<String>,
}

#[derive(Clone, Debug, Deserialize, KeyPart)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Name,
    Price,
}

/// An id that cannot be mistaken for one of another type.
#[derive(Debug, Deserialize, KeyPart)]
#[serde(transparent)]
struct Id<T> {
    number: u64,
    #[serde(skip)]
    of: PhantomData<T>,
}

/// Not a part of a key itself.
#[derive(Debug)]
struct Order;

#[cached(ttl = 60, key = "product:{id}:{sort}")]
async fn product(Path(id): Path<ProductId>, Query(Sorted { sort }): Query<Sorted>) -> String {
    format!("{id:?} {sort:?}")
}

#[derive(Deserialize)]
struct Sorted {
    sort: Option<Sort>,
}

#[cached(ttl = 60, key = "repository:{repository}")]
async fn repository(Path(repository): Path<Repository>) -> String {
    format!("{repository:?}")
}

#[cached(ttl = 60, key = "order:{id}")]
async fn order(id: Path<Id<Order>>) -> String {
    format!("{id:?}")
}

#[cache_evict(product(id, Some(Sort::Name)), order(Id::<Order> { number: id.0, of: PhantomData }))]
async fn evict(Path(id): Path<ProductId>) {
    let _ = id;
}

fn router() -> Router {
    Router::new()
        .route("/products/{id}", get(product).delete(evict))
        .route("/repositories/{owner}/{type}", get(repository))
        .route("/orders/{id}", get(order))
        .route("/every", get(every))
        .with_state(Cache::in_memory())
}

async fn send(app: &Router, method: &str, uri: &str) -> String {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    Reply::of(response).await.outcome().to_owned()
}

#[tokio::test]
async fn values_of_own_types_select_an_entry() {
    let app = router();
    let uris = [
        "/products/7",
        "/products/8",
        "/products/7?sort=name",
        "/products/7?sort=price",
        "/repositories/a/b",
        "/repositories/a%2Cb/b",
        "/repositories/a/b%2Cb",
        "/orders/7",
    ];
    for outcome in ["MISS", "HIT"] {
        for uri in uris {
            assert_eq!(send(&app, "GET", uri).await, outcome, "{uri}");
        }
    }
    send(&app, "DELETE", "/products/7").await;
    assert_eq!(send(&app, "GET", "/products/7?sort=name").await, "MISS");
    assert_eq!(send(&app, "GET", "/orders/7").await, "MISS");
    assert_eq!(send(&app, "GET", "/products/7").await, "HIT");
    assert_eq!(send(&app, "GET", "/products/7?sort=price").await, "HIT");
}

/// Names that generated code must not take for those of the standard library or of the crate.
#[allow(dead_code, non_camel_case_types)]
mod shadowed {
    use axum::Extension;
    use axum_redis_cache::cached;

    pub(super) trait KeyPart {
        fn write(&self) {}
    }

    pub(super) struct KeyWriter;
    pub(super) struct bool;
    pub(super) struct usize;
    pub(super) struct str;

    #[derive(Clone, axum_redis_cache::KeyPart)]
    pub(super) struct u8(pub(super) u32);

    impl KeyPart for u8 {}

    #[derive(Clone, axum_redis_cache::KeyPart)]
    pub(super) struct String {
        pub(super) text: u8,
        pub(super) key: Option,
    }

    #[derive(Clone, axum_redis_cache::KeyPart)]
    pub(super) enum Option {
        Some(u8),
        None,
    }

    #[cached(ttl = 60, key = "shadowed:{name}", vary_by(name.text), group = "text:{name.text}")]
    pub(super) async fn handler(Extension(name): Extension<String>) -> axum::http::StatusCode {
        let _ = name;
        axum::http::StatusCode::OK
    }
}

#[test]
fn names_of_the_application_are_its_own() {
    use shadowed::{Option, String, handler, u8};

    let key = |text, key| {
        handler::key(String {
            text: u8(text),
            key,
        })
    };
    assert_eq!(key(1, Option::None), key(1, Option::None));
    assert_ne!(key(1, Option::None), key(2, Option::None));
    assert_ne!(key(1, Option::Some(u8(1))), key(1, Option::Some(u8(2))));
}

trait Keyed {
    type Key;
}

impl Keyed for Order {
    type Key = u32;
}

#[derive(KeyPart)]
struct Unit;

#[derive(KeyPart)]
enum Never {}

/// Every form that there is, with what a bound must be found for.
#[derive(KeyPart)]
enum Every<'a, T: Keyed, U: ?Sized, const N: usize>
where
    T::Key: Debug,
{
    Unit(Unit),
    r#Type,
    Associated(T::Key, <T as Keyed>::Key),
    Borrowed {
        text: &'a U,
        numbers: [i8; N],
    },
    List(Vec<(String, Option<Box<Self>>)>),
    #[allow(dead_code, reason = "there is no such value")]
    Not(Never),
    Marked(PhantomData<T>),
}

type One = Every<'static, Order, str, 2>;

#[cached(ttl = 60, key = "every:{one}:{one}")]
async fn every(Extension(one): Extension<Arc<One>>) -> &'static str {
    let _ = one;
    "one"
}

#[test]
fn every_form_of_a_type_can_be_a_part() {
    let key = |value: &One| every::key(value);
    let mut keys = vec![
        key(&Every::Unit(Unit)),
        key(&Every::r#Type),
        key(&Every::Associated(1, 2)),
        key(&Every::Associated(12, 2)),
        key(&Every::Marked(PhantomData)),
    ];
    keys.extend(["", ",", "0"].map(|text| {
        key(&Every::Borrowed {
            text,
            numbers: [0, 1],
        })
    }));
    for inner in [
        None,
        Some(Box::new(Every::r#Type)),
        Some(Box::new(Every::Unit(Unit))),
    ] {
        keys.push(key(&Every::List(vec![(String::new(), inner)])));
    }
    keys.push(key(&Every::List(vec![])));
    let count = keys.len();
    assert_eq!(keys.into_iter().collect::<HashSet<CacheKey>>().len(), count);
}
