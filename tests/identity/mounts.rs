//! Mounts of a handler: no two share an entry, because their states may differ.

use std::convert::Infallible;

use axum::extract::{
    Extension, FromRef, FromRequestParts, NestedPath, OriginalUri, Path, Query, State,
};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::routing::{any, get, post};
use axum::{Json, Router};
use axum_redis_cache::{Cache, cache_evict, cached};
use serde::{Deserialize, Serialize};

use crate::replies::{Got, get as ask, hit, miss, write};
use crate::support::{App, Store, on_every_store, serve};

/// A state of which nothing but the shop differs.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) cache: Cache,
    pub(crate) name: &'static str,
}

impl FromRef<Shop> for Cache {
    fn from_ref(shop: &Shop) -> Self {
        shop.cache.clone()
    }
}

#[cached(ttl = 60)]
async fn product(Path(id): Path<u64>, State(shop): State<Shop>) -> String {
    format!("{} {id}", shop.name)
}

#[cached(ttl = 60)]
async fn home(State(shop): State<Shop>) -> String {
    shop.name.to_owned()
}

#[cached(ttl = 60, key = "product:{id}")]
async fn product_by_template(Path(id): Path<u64>, State(shop): State<Shop>) -> String {
    format!("{} {id}", shop.name)
}

fn shop(cache: &Cache, name: &'static str) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/p/{id}", get(product))
        .route("/t/{id}", get(product_by_template))
        .with_state(Shop {
            cache: cache.clone(),
            name,
        })
}

mod scoped {
    use super::*;

    #[cached(ttl = 60)]
    pub(super) async fn item(Path(id): Path<u64>, State(shop): State<Shop>) -> String {
        format!("{} {id}", shop.name)
    }

    #[cache_evict(item)]
    pub(super) async fn delete(Path(_): Path<u64>, State(_): State<Shop>) {}

    pub(super) fn router(cache: &Cache, name: &'static str) -> Router {
        Router::new()
            .route("/items/{id}", get(item).delete(delete))
            .with_state(Shop {
                cache: cache.scoped(name),
                name,
            })
    }
}

mod versions {
    use super::*;

    #[cached(ttl = 60)]
    pub(super) async fn item(Path(id): Path<u64>, State(app): State<App>) -> String {
        let _ = app.run().await;
        format!("item {id}")
    }

    #[cache_evict(item)]
    pub(super) async fn delete(Path(_): Path<u64>) {}

    pub(super) fn router() -> Router<App> {
        Router::new().route("/items/{id}", get(item).delete(delete))
    }
}

mod anything {
    use super::*;

    #[cached(ttl = 60)]
    pub(super) async fn counter(State(app): State<App>) -> axum::response::Response {
        app.run().await
    }

    #[cached(ttl = 60)]
    pub(super) async fn item(
        Path(_): Path<u64>,
        Query(_): Query<Vec<(String, String)>>,
        State(app): State<App>,
    ) -> axum::response::Response {
        app.run().await
    }

    #[cached(ttl = 60, key = "item:{id}")]
    pub(super) async fn by_template(
        Path(id): Path<u64>,
        State(app): State<App>,
    ) -> axum::response::Response {
        let _ = id;
        app.run().await
    }
}

mod fallbacks {
    use super::*;

    #[cached(ttl = 60)]
    pub(super) async fn echo(uri: Uri) -> String {
        uri.to_string()
    }

    #[cached(ttl = 60)]
    pub(super) async fn echo_original(OriginalUri(uri): OriginalUri) -> String {
        uri.to_string()
    }

    #[cached(ttl = 60)]
    pub(super) async fn nested_at(nested: Option<Nested>) -> String {
        nested.map_or_else(|| "nowhere".to_owned(), |it| it.0)
    }

    /// The path at which the router is nested.
    pub(super) struct Nested(String);

    impl<S: Send + Sync> axum::extract::OptionalFromRequestParts<S> for Nested {
        type Rejection = Infallible;

        async fn from_request_parts(
            parts: &mut Parts,
            state: &S,
        ) -> Result<Option<Self>, Infallible> {
            let nested = NestedPath::from_request_parts(parts, state).await;
            Ok(nested.ok().map(|nested| Self(nested.as_str().to_owned())))
        }
    }

    impl axum_redis_cache::Determined for Nested {
        const BY: axum_redis_cache::Source = axum_redis_cache::Source::Path;
    }

    #[cached(ttl = 60)]
    pub(super) async fn parameters(
        path: Result<Path<Vec<String>>, axum::extract::rejection::PathRejection>,
    ) -> String {
        path.map_or_else(|_| "none".to_owned(), |Path(path)| path.join(","))
    }
}

/// The shop that a layer chose.
#[derive(Clone, Copy)]
struct Chosen(&'static str);

mod chosen {
    use super::*;

    #[cached(ttl = 60, ignore(chosen))]
    pub(super) async fn fallback(Extension(chosen): Extension<Chosen>) -> String {
        chosen.0.to_owned()
    }

    #[cached(ttl = 60, ignore(chosen))]
    pub(super) async fn fallback_of_tenants(Extension(chosen): Extension<Chosen>) -> String {
        chosen.0.to_owned()
    }

    #[cached(ttl = 60, ignore(chosen))]
    pub(super) async fn route(Extension(chosen): Extension<Chosen>) -> String {
        chosen.0.to_owned()
    }
}

#[derive(Deserialize, Serialize)]
struct Text {
    text: String,
}

mod merged {
    use super::*;

    #[cached(ttl = 60)]
    pub(super) async fn text(Path(Text { text }): Path<Text>) -> Json<String> {
        Json(text)
    }
}

async fn twice(client: &test_support::Client, targets: &[(&str, &str)]) {
    for expected in [miss as fn(&str) -> Got, hit] {
        for (target, body) in targets {
            assert_eq!(ask(client, target).await, expected(body), "{target}");
        }
    }
}

on_every_store!(
    nested_routers_of_different_states_never_share_an_entry,
    nested_services_of_different_states_never_share_an_entry,
    merged_routers_of_different_states_never_share_an_entry,
    merged_routers_name_their_parameters_as_they_like,
    listeners_of_different_scopes_never_share_an_entry,
    an_eviction_at_one_mount_reaches_every_other,
    an_unsafe_method_on_the_same_handler_evicts_its_response,
    a_fallback_has_an_entry_for_each_path_that_it_sees,
    a_fallback_that_sees_its_mount_has_an_entry_for_each,
    a_fallback_below_a_parameter_has_an_entry_for_each,
    routes_below_different_layers_never_share_an_entry,
    fallbacks_of_routers_that_are_nested_apart_never_share_an_entry,
    fallbacks_below_different_parameters_never_share_an_entry,
);

async fn nested_routers_of_different_states_never_share_an_entry(store: Store) {
    let cache = store.cache();
    let router = Router::new()
        .nest("/de", shop(&cache, "de"))
        .nest("/fr", shop(&cache, "fr"))
        .nest("/{lang}/old", shop(&cache, "old"));
    let client = serve(router).await;
    twice(&client, &[("/de/p/1", "de 1"), ("/fr/p/1", "fr 1")]).await;
    twice(&client, &[("/de/t/1", "de 1"), ("/fr/t/1", "fr 1")]).await;
    twice(
        &client,
        &[
            ("/de", "de"),
            ("/fr", "fr"),
            ("/de/old", "old"),
            ("/fr/old", "old"),
        ],
    )
    .await;
}

async fn nested_services_of_different_states_never_share_an_entry(store: Store) {
    let cache = store.cache();
    let router = Router::new()
        .nest_service("/it", shop(&cache, "it"))
        .nest_service("/es", shop(&cache, "es"));
    let client = serve(router).await;
    twice(&client, &[("/it/p/1", "it 1"), ("/es/p/1", "es 1")]).await;
    twice(&client, &[("/it/t/1", "it 1"), ("/es/t/1", "es 1")]).await;
}

async fn merged_routers_of_different_states_never_share_an_entry(store: Store) {
    let cache = store.cache();
    let one = Router::new().route("/a/{id}", get(product));
    let one = one.with_state(Shop {
        cache: cache.clone(),
        name: "a",
    });
    let other = Router::new().route("/b/{id}", get(product));
    let other = other.with_state(Shop { cache, name: "b" });
    let client = serve(one.merge(other)).await;
    twice(&client, &[("/a/1", "a 1"), ("/b/1", "b 1")]).await;
}

async fn merged_routers_name_their_parameters_as_they_like(store: Store) {
    let router = Router::new().route("/a/{text}", get(merged::text));
    let router = router.merge(Router::new().route("/b/{x}/{text}", get(merged::text)));
    let client = serve(router.with_state(store.cache())).await;
    twice(
        &client,
        &[("/a/1", "\"1\""), ("/b/1/1", "\"1\""), ("/b/2/1", "\"1\"")],
    )
    .await;
}

async fn listeners_of_different_scopes_never_share_an_entry(store: Store) {
    let cache = store.cache();
    let de = serve(scoped::router(&cache, "de")).await;
    let fr = serve(scoped::router(&cache, "fr")).await;
    for expected in [miss, hit] {
        assert_eq!(ask(&de, "/items/1").await, expected("de 1"));
        assert_eq!(ask(&fr, "/items/1").await, expected("fr 1"));
    }
    write(&de, "DELETE", "/items/1").await;
    assert_eq!(ask(&fr, "/items/1").await, hit("fr 1"));
    assert_eq!(ask(&de, "/items/1").await, miss("de 1"));
}

async fn an_eviction_at_one_mount_reaches_every_other(store: Store) {
    let app = App::counting(store.cache());
    let router = Router::new()
        .nest("/v1", versions::router())
        .nest("/v2", versions::router())
        .with_state(app.clone());
    let client = serve(router).await;
    for target in ["/v1/items/1", "/v2/items/1", "/v1/items/2"] {
        ask(&client, target).await;
    }
    write(&client, "DELETE", "/v2/items/01").await;
    assert_eq!(ask(&client, "/v1/items/1").await, miss("item 1"));
    assert_eq!(ask(&client, "/v2/items/1").await, miss("item 1"));
    assert_eq!(ask(&client, "/v1/items/2").await, hit("item 2"));
}

async fn an_unsafe_method_on_the_same_handler_evicts_its_response(store: Store) {
    let router = Router::new()
        .route("/counter", any(anything::counter))
        .route("/items/{id}", any(anything::item))
        .route("/t/{id}", any(anything::by_template))
        .with_state(App::counting(store.cache()));
    let client = serve(router).await;
    let cases = [
        ("/counter", "/counter"),
        ("/items/1?x=1", "/items/01"),
        ("/t/1", "/t/+1"),
    ];
    for (read, written) in cases {
        for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
            let (_, before) = ask(&client, read).await;
            assert_eq!(ask(&client, read).await, hit(&before), "{read}");
            write(&client, method, written).await;
            let (said, after) = ask(&client, read).await;
            assert_eq!(said, "MISS", "{method} {written}");
            assert_ne!(after, before, "{method} {written}");
        }
        for method in ["HEAD", "OPTIONS", "QUERY"] {
            let (_, before) = ask(&client, read).await;
            write(&client, method, written).await;
            assert_eq!(ask(&client, read).await, hit(&before), "{method} {written}");
        }
    }
}

async fn a_fallback_has_an_entry_for_each_path_that_it_sees(store: Store) {
    let cache = store.cache();
    let inner = Router::new()
        .route("/x", post(async || {}))
        .fallback(fallbacks::echo);
    let router = Router::new()
        .nest("/a", inner.clone())
        .nest("/b", inner)
        .fallback(fallbacks::echo)
        .with_state(cache.clone());
    let client = serve(router).await;
    for target in [
        "/", "/q", "/q?a=1", "/q?a=2", "/%71", "/a/q", "/b/q", "/a/%71",
    ] {
        let (said, body) = ask(&client, target).await;
        let seen = target.strip_prefix("/a").or(target.strip_prefix("/b"));
        assert_eq!(body, seen.unwrap_or(target), "{target}");
        assert_eq!(
            ask(&client, target).await,
            hit(&body),
            "{target} after {said}"
        );
    }
    let inner = Router::new().fallback(fallbacks::echo_original);
    let router = Router::new()
        .nest("/a", inner.clone())
        .nest("/b", inner)
        .fallback(fallbacks::echo_original)
        .with_state(cache);
    let client = serve(router).await;
    twice(
        &client,
        &[
            ("/a/q", "/a/q"),
            ("/b/q", "/b/q"),
            ("/q", "/q"),
            ("/%71", "/%71"),
        ],
    )
    .await;
}

async fn a_fallback_that_sees_its_mount_has_an_entry_for_each(store: Store) {
    let inner = Router::new().fallback(fallbacks::nested_at);
    let router = Router::new()
        .nest("/a", inner.clone())
        .nest("/b", inner)
        .fallback(fallbacks::nested_at)
        .with_state(store.cache());
    let client = serve(router).await;
    twice(
        &client,
        &[("/a/q", "/a"), ("/b/q", "/b"), ("/q", "nowhere")],
    )
    .await;
}

async fn a_fallback_below_a_parameter_has_an_entry_for_each(store: Store) {
    let inner = Router::new().fallback(fallbacks::parameters);
    let router = Router::new()
        .nest("/t/{tenant}", inner)
        .fallback(fallbacks::parameters)
        .with_state(store.cache());
    let client = serve(router).await;
    let (_, a) = ask(&client, "/t/a/q").await;
    let (_, b) = ask(&client, "/t/b/q").await;
    assert_ne!(a, b);
    assert_eq!(ask(&client, "/t/a/q").await, hit(&a));
    assert_eq!(ask(&client, "/t/b/q").await, hit(&b));
}

async fn routes_below_different_layers_never_share_an_entry(store: Store) {
    let inner = Router::new().route("/x", get(chosen::route));
    let router = Router::new()
        .nest("/a", inner.clone().layer(Extension(Chosen("a"))))
        .nest("/b", inner.layer(Extension(Chosen("b"))))
        .with_state(store.cache());
    let client = serve(router).await;
    twice(&client, &[("/a/x", "a"), ("/b/x", "b")]).await;
}

async fn fallbacks_of_routers_that_are_nested_apart_never_share_an_entry(store: Store) {
    let inner = Router::new().fallback(chosen::fallback);
    let router = Router::new()
        .nest("/a", inner.clone().layer(Extension(Chosen("a"))))
        .nest("/b", inner.layer(Extension(Chosen("b"))))
        .with_state(store.cache());
    let client = serve(router).await;
    assert_eq!(ask(&client, "/a/x").await.1, "a");
    assert_eq!(ask(&client, "/b/x").await.1, "b");
}

async fn fallbacks_below_different_parameters_never_share_an_entry(store: Store) {
    let inner = Router::new().fallback(chosen::fallback_of_tenants);
    let choose = |mut request: axum::extract::Request| {
        let chosen = if request.uri().path().starts_with("/t/a") {
            "a"
        } else {
            "b"
        };
        request.extensions_mut().insert(Chosen(chosen));
        request
    };
    let router = Router::new()
        .nest("/t/{tenant}", inner)
        .layer(tower::util::MapRequestLayer::new(choose))
        .with_state(store.cache());
    let client = serve(router).await;
    twice(&client, &[("/t/a/x", "a"), ("/t/b/x", "b")]).await;
}
