//! Values of a path: which requests share an entry, and which never do.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, FromRequestParts, Path, RawPathParams, Request};
use axum::http::request::Parts;
use axum::routing::get;
use axum_redis_cache::{Determined, Source, cache_evict, cached};
use serde::Deserialize;

use crate::replies::{get as ask, hit, miss, write};
use crate::support::{Store, on_every_store, serve};

#[cached(ttl = 60)]
async fn by_number(Path(id): Path<u64>) -> String {
    format!("{id}")
}

#[cached(ttl = 60)]
async fn by_text(Path(id): Path<String>) -> String {
    id
}

#[cached(ttl = 60)]
async fn by_pair(Path((brand, id)): Path<(String, u64)>) -> String {
    format!("{brand} {id}")
}

#[cached(ttl = 60)]
async fn raw(params: RawPathParams) -> String {
    format!("{params:?}")
}

/// Mounted at one route alone: an eviction by a handler with several mounts drops more.
#[cached(ttl = 60)]
async fn raw_at_one_route(params: RawPathParams) -> String {
    format!("{params:?}")
}

#[cache_evict(raw_at_one_route)]
async fn evict_raw() {}

#[cached(ttl = 60)]
async fn perhaps(path: Result<Path<u64>, PathRejection>) -> String {
    match path {
        Ok(Path(id)) => format!("number {id}"),
        Err(rejection) => rejection.body_text(),
    }
}

#[cached(ttl = 60)]
async fn optional(path: Option<Path<String>>) -> String {
    format!("{:?}", path.map(|Path(path)| path))
}

/// The path, whatever the route.
struct Section(String);

impl Determined for Section {
    const BY: Source = Source::Path;
}

impl<S: Sync> FromRequestParts<S> for Section {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.uri.path().to_owned()))
    }
}

#[cached(ttl = 60)]
async fn by_section(section: Section) -> String {
    section.0
}

fn everything(_: &Parts) -> String {
    "everything".to_owned()
}

#[cached(ttl = 60, key = everything)]
async fn by_function() -> &'static str {
    "the same"
}

#[derive(Clone, Copy, Debug)]
struct Tenant(&'static str);

/// Puts the tenant of the path into the request, as an application does that has a database for each.
fn choose(mut request: Request) -> Request {
    let path = request.uri().path();
    let tenant = if path.contains("/t/a") { "a" } else { "b" };
    request.extensions_mut().insert(Tenant(tenant));
    request
}

#[derive(Deserialize)]
struct Item {
    id: u64,
}

#[derive(Deserialize)]
struct Whole {
    id: u64,
    #[allow(dead_code)]
    tenant: String,
}

mod tenants {
    use super::*;

    #[cached(ttl = 60, ignore(tenant))]
    pub(super) async fn nothing(Extension(tenant): Extension<Tenant>) -> String {
        tenant.0.to_string()
    }

    #[cached(ttl = 60, ignore(tenant))]
    pub(super) async fn item(
        Path(Item { id }): Path<Item>,
        Extension(tenant): Extension<Tenant>,
    ) -> String {
        format!("{} {id}", tenant.0)
    }

    #[cached(ttl = 60, key = "item:{id}", ignore(tenant))]
    pub(super) async fn template(
        Path(Item { id }): Path<Item>,
        Extension(tenant): Extension<Tenant>,
    ) -> String {
        format!("{} {id}", tenant.0)
    }

    #[cached(ttl = 60, key = "item:{item.id}", ignore(tenant))]
    pub(super) async fn field(
        Path(item): Path<Item>,
        Extension(tenant): Extension<Tenant>,
    ) -> String {
        format!("{} {}", tenant.0, item.id)
    }

    #[cached(ttl = 60, key = "everything", ignore(tenant))]
    pub(super) async fn literal(Extension(tenant): Extension<Tenant>) -> String {
        tenant.0.to_string()
    }

    #[cached(ttl = 60, ignore(tenant))]
    pub(super) async fn map(
        Path(path): Path<HashMap<String, String>>,
        Extension(tenant): Extension<Tenant>,
    ) -> String {
        format!("{} {}", tenant.0, path["id"])
    }

    #[cached(ttl = 60, ignore(tenant))]
    pub(super) async fn rest(
        Path(Whole { id, .. }): Path<Whole>,
        Extension(tenant): Extension<Tenant>,
    ) -> String {
        format!("{} {id}", tenant.0)
    }

    #[cached(ttl = 60, key = "item:{id}", ignore(tenant))]
    pub(super) async fn template_of_a_rest(
        Path(Whole { id, .. }): Path<Whole>,
        Extension(tenant): Extension<Tenant>,
    ) -> String {
        format!("{} {id}", tenant.0)
    }

    #[cached(ttl = 60, key = "item:{id}", ignore(tenant))]
    pub(super) async fn template_of_an_underscore(
        Path((_, id)): Path<(String, u64)>,
        Extension(tenant): Extension<Tenant>,
    ) -> String {
        format!("{} {id}", tenant.0)
    }

    #[cached(ttl = 60, ignore(tenant))]
    pub(super) async fn malformed(Extension(tenant): Extension<Tenant>) -> String {
        tenant.0.to_string()
    }
}

#[cached(ttl = 60)]
async fn ordered(Path(path): Path<BTreeMap<String, String>>) -> String {
    format!("{path:?}")
}

on_every_store!(
    spellings_of_a_value_share_an_entry,
    a_handler_that_sees_the_raw_parameters_has_an_entry_for_each,
    an_eviction_by_raw_parameters_drops_their_entries_alone,
    a_handler_that_sees_the_path_of_a_fallback_has_an_entry_for_each,
    a_key_function_decides_which_paths_share_an_entry,
    a_trailing_wildcard_is_a_value_like_any_other,
    a_path_that_does_not_parse_has_its_own_entry,
    a_path_that_is_not_there_is_not_an_empty_one,
    a_parameter_that_no_type_reads_stays_in_the_key,
    a_parameter_that_no_pattern_binds_stays_in_the_key_of_a_template,
    parameters_that_are_not_utf_8_are_told_apart,
    parameters_of_outer_routers_that_are_not_utf_8_are_told_apart,
    a_map_of_parameters_has_an_entry_for_each,
);

async fn spellings_of_a_value_share_an_entry(store: Store) {
    let router = Router::new()
        .route("/numbers/{id}", get(by_number))
        .route("/texts/{id}", get(by_text))
        .route("/pairs/{brand}/{id}", get(by_pair))
        .with_state(store.cache());
    let client = serve(router).await;
    let same: [(&str, &[&str]); 4] = [
        (
            "/numbers/1",
            &[
                "/numbers/01",
                "/numbers/+1",
                "/numbers/%31",
                "/numbers/%30001",
            ],
        ),
        ("/texts/a%20%C3%A9", &["/texts/%61%20%c3%a9"]),
        ("/texts/a+b", &["/texts/a%2Bb", "/texts/a%2bb"]),
        ("/pairs/ac%2Fme/7", &["/pairs/a%63%2fme/007"]),
    ];
    for (first, others) in same {
        let (said, body) = ask(&client, first).await;
        assert_eq!(said, "MISS", "{first}");
        for other in others {
            assert_eq!(ask(&client, other).await, hit(&body), "{other}");
        }
    }
    for target in [
        "/texts/1",
        "/texts/01",
        "/texts/+1",
        "/texts/%2501",
        "/texts/a%20b",
        "/texts/a%2520b",
        "/texts/A",
        "/texts/a",
        "/pairs/a%2Fb/7",
        "/pairs/a%252Fb/7",
    ] {
        assert_eq!(ask(&client, target).await.0, "MISS", "{target}");
    }
}

async fn a_handler_that_sees_the_raw_parameters_has_an_entry_for_each(store: Store) {
    let router = Router::new()
        .route("/{a}/{b}", get(raw))
        .route("/x/{a}/{b}", get(raw))
        .route("/y/{b}/{a}", get(raw))
        .with_state(store.cache());
    let client = serve(router).await;
    let targets = [
        "/1/2", "/01/2", "/1%2F2/3", "/1/2%2F3", "/x/1/2", "/y/1/2", "/y/2/1",
    ];
    let mut bodies = Vec::new();
    for target in targets {
        let (said, body) = ask(&client, target).await;
        assert_eq!(said, "MISS", "{target}");
        bodies.push(body);
    }
    for (target, body) in targets.iter().zip(&bodies) {
        assert_eq!(ask(&client, target).await, hit(body), "{target}");
    }
}

async fn an_eviction_by_raw_parameters_drops_their_entries_alone(store: Store) {
    let methods = get(raw_at_one_route).delete(evict_raw);
    let router = Router::new()
        .route("/{a}/{b}", methods)
        .with_state(store.cache());
    let client = serve(router).await;
    let (_, evicted) = ask(&client, "/1/2").await;
    let (_, other) = ask(&client, "/3/4").await;
    write(&client, "DELETE", "/1/2").await;
    assert_eq!(ask(&client, "/1/2").await, miss(&evicted));
    assert_eq!(ask(&client, "/3/4").await, hit(&other));
}

async fn a_handler_that_sees_the_path_of_a_fallback_has_an_entry_for_each(store: Store) {
    let router = Router::new()
        .fallback(get(by_section))
        .with_state(store.cache());
    let client = serve(router).await;
    for expected in [miss, hit] {
        for path in ["/a", "/b", "/a/b", "/a%2Fb"] {
            assert_eq!(ask(&client, path).await, expected(path));
        }
    }
}

async fn a_key_function_decides_which_paths_share_an_entry(store: Store) {
    let router = Router::new()
        .route("/{tenant}", get(by_function))
        .with_state(store.cache());
    let client = serve(router).await;
    assert_eq!(ask(&client, "/a").await, miss("the same"));
    assert_eq!(ask(&client, "/b").await, hit("the same"));
}

async fn a_trailing_wildcard_is_a_value_like_any_other(store: Store) {
    let router = Router::new()
        .route("/files/{*path}", get(by_text))
        .with_state(store.cache());
    let client = serve(router).await;
    for target in [
        "/files/a/b",
        "/files/a%252Fb",
        "/files/a//b",
        "/files/a/b/",
        "/files//a/b",
    ] {
        assert_eq!(ask(&client, target).await.0, "MISS", "{target}");
    }
    // The handler sees the same text.
    assert_eq!(ask(&client, "/files/a%2Fb").await, hit("a/b"));
}

async fn a_path_that_does_not_parse_has_its_own_entry(store: Store) {
    let router = Router::new()
        .route("/items/{id}", get(perhaps))
        .route("/{tenant}/items/{id}", get(perhaps))
        .with_state(store.cache());
    let client = serve(router).await;
    let (_, number) = ask(&client, "/items/1").await;
    assert_eq!(ask(&client, "/items/01").await, hit(&number));
    let mut bodies = Vec::new();
    for target in [
        "/items/a",
        "/items/b",
        "/items/*1",
        "/items/-1",
        "/items/%FF",
        "/a/items/1",
    ] {
        let (said, body) = ask(&client, target).await;
        assert_eq!(said, "MISS", "{target}");
        assert!(!bodies.contains(&body), "{target}: {body}");
        assert_eq!(ask(&client, target).await, hit(&body), "{target}");
        bodies.push(body);
    }
}

async fn a_path_that_is_not_there_is_not_an_empty_one(store: Store) {
    let router = Router::new()
        .route("/items", get(optional))
        .route("/items/{id}", get(optional))
        .with_state(store.cache());
    let client = serve(router).await;
    for expected in [miss, hit] {
        assert_eq!(ask(&client, "/items").await, expected("None"));
        assert_eq!(
            ask(&client, "/items/None").await,
            expected("Some(\"None\")")
        );
        assert_eq!(ask(&client, "/items/*").await, expected("Some(\"*\")"));
    }
}

async fn a_parameter_that_no_type_reads_stays_in_the_key(store: Store) {
    let router = Router::new()
        .route("/t/{tenant}/nothing", get(tenants::nothing))
        .route("/t/{tenant}/items/{id}", get(tenants::item))
        .route("/t/{tenant}/template/{id}", get(tenants::template))
        .route("/t/{tenant}/field/{id}", get(tenants::field))
        .route("/t/{tenant}/literal", get(tenants::literal))
        .route("/t/{tenant}/map/{id}", get(tenants::map))
        .route("/t/{tenant}/rest/{id}", get(tenants::rest))
        .layer(tower::util::MapRequestLayer::new(choose))
        .with_state(store.cache());
    let client = serve(router).await;
    for rest in [
        "nothing",
        "items/1",
        "template/1",
        "field/1",
        "literal",
        "map/1",
        "rest/1",
    ] {
        for said in ["MISS", "HIT"] {
            for tenant in ["a", "b"] {
                let target = format!("/t/{tenant}/{rest}");
                let got = ask(&client, &target).await;
                assert_eq!(got.0, said, "{target}");
                assert!(got.1.starts_with(tenant), "{target}: {}", got.1);
            }
        }
    }
}

async fn a_parameter_that_no_pattern_binds_stays_in_the_key_of_a_template(store: Store) {
    let router = Router::new()
        .route("/t/{tenant}/rest/{id}", get(tenants::template_of_a_rest))
        .route(
            "/t/{tenant}/underscore/{id}",
            get(tenants::template_of_an_underscore),
        )
        .layer(tower::util::MapRequestLayer::new(choose))
        .with_state(store.cache());
    let client = serve(router).await;
    let mut wrong = Vec::new();
    for rest in ["rest/1", "underscore/1"] {
        for tenant in ["a", "b"] {
            let target = format!("/t/{tenant}/{rest}");
            let got = ask(&client, &target).await;
            if got.1 != format!("{tenant} 1") {
                wrong.push((target, got));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

async fn parameters_that_are_not_utf_8_are_told_apart(store: Store) {
    let router = Router::new()
        .route("/t/{tenant}", get(tenants::malformed))
        .layer(tower::util::MapRequestLayer::new(choose))
        .with_state(store.cache());
    let client = serve(router).await;
    for expected in [miss, hit] {
        assert_eq!(ask(&client, "/t/a%FF").await, expected("a"));
        assert_eq!(ask(&client, "/t/b%FF").await, expected("b"));
    }
}

async fn parameters_of_outer_routers_that_are_not_utf_8_are_told_apart(store: Store) {
    let inner = Router::new().route("/x", get(tenants::malformed));
    let router = Router::new()
        .nest("/t/{tenant}", inner)
        .layer(tower::util::MapRequestLayer::new(choose))
        .with_state(store.cache());
    let client = serve(router).await;
    assert_eq!(ask(&client, "/t/a%FF/x").await.1, "a");
    assert_eq!(ask(&client, "/t/b%FF/x").await.1, "b");
}

async fn a_map_of_parameters_has_an_entry_for_each(store: Store) {
    let router = Router::new()
        .route("/m/{a}/{b}", get(ordered))
        .with_state(store.cache());
    let client = serve(router).await;
    for target in [
        "/m/1/2",
        "/m/2/1",
        "/m/1%26b=2/3",
        "/m/1/2%26a=3",
        "/m/%31%2C/2",
        "/m/1/%2C2",
    ] {
        assert_eq!(ask(&client, target).await.0, "MISS", "{target}");
    }
    assert_eq!(ask(&client, "/m/%31/%32").await.0, "HIT");
}
