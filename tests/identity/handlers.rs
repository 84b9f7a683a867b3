//! Two handlers never share an entry, however they are reached.

use axum::Router;
use axum::extract::{FromRef, Path, Request, State};
use axum::http::Uri;
use axum::routing::get;
use axum_redis_cache::cache_put;
use axum_redis_cache::{Cache, cached};
use test_support::Log;
use tower::ServiceBuilder;

use crate::replies::write;
use crate::replies::{bypass, get as ask, get_with, hit, miss};
use crate::support::{Store, on_every_store, serve};

mod overlapping {
    use super::*;

    #[cached(ttl = 60)]
    pub(super) async fn me() -> &'static str {
        "me"
    }

    #[cached(ttl = 60)]
    pub(super) async fn by_id(Path(id): Path<String>) -> String {
        format!("user {id}")
    }

    #[cached(ttl = 60)]
    pub(super) async fn anything(Path(rest): Path<String>) -> String {
        format!("anything {rest}")
    }

    #[cached(ttl = 60)]
    pub(super) async fn otherwise(uri: Uri) -> String {
        format!("otherwise {uri}")
    }
}

/// One segment after another, the text of which is the same to a handler that reads it.
fn overlapping_routes(cache: Cache) -> Router {
    use overlapping::{anything, by_id, me, otherwise};
    Router::new()
        .route("/users/me", get(me))
        .route("/users/{id}", get(by_id))
        .route("/files/{*rest}", get(anything))
        .route("/files/me", get(me))
        .route("/files/a/{id}", get(by_id))
        .fallback(otherwise)
        .with_state(cache)
}

mod twice {
    use super::*;

    #[cached(ttl = 60)]
    pub(super) async fn stats() -> &'static str {
        "public"
    }

    pub(super) mod inner {
        use super::*;

        #[cached(ttl = 60)]
        pub(in super::super) async fn stats() -> &'static str {
            "internal"
        }
    }
}

mod templates {
    use super::*;

    #[cached(ttl = 60, key = "item:{id}")]
    pub(super) async fn book(Path(id): Path<u64>) -> String {
        format!("book {id}")
    }

    #[cached(ttl = 60, key = "item:{id}")]
    pub(super) async fn film(Path(id): Path<u64>) -> String {
        format!("film {id}")
    }

    /// The text of its key is that of the template.
    #[cached(ttl = 60, key = key_of_film)]
    pub(super) async fn play(Path(id): Path<u64>) -> String {
        format!("play {id}")
    }

    fn key_of_film(_: &axum::http::request::Parts) -> String {
        "item:1".to_owned()
    }
}

struct Shop;

struct Library;

impl Shop {
    #[cached(ttl = 60, no_companion)]
    async fn show(Path(id): Path<u64>) -> String {
        format!("shop {id}")
    }
}

impl Library {
    #[cached(ttl = 60, no_companion)]
    async fn show(Path(id): Path<u64>) -> String {
        format!("library {id}")
    }
}

trait Kind: Send + Sync + 'static {
    const NAME: &'static str;
}

impl Kind for Shop {
    const NAME: &'static str = "shop";
}

impl Kind for Library {
    const NAME: &'static str = "library";
}

#[cached(ttl = 60)]
async fn list<K: Kind>(Path(page): Path<u64>) -> String {
    let _ = std::marker::PhantomData::<K>;
    format!("{} {page}", K::NAME)
}

#[cached(ttl = 60, key = "page:{page}")]
async fn list_by_template<K: Kind>(Path(page): Path<u64>) -> String {
    let _ = std::marker::PhantomData::<K>;
    format!("{} {page}", K::NAME)
}

fn first_in_a_function(router: Router<Cache>) -> Router<Cache> {
    #[cached(ttl = 60)]
    async fn show() -> &'static str {
        "first"
    }
    router.route("/first", get(show))
}

fn second_in_a_function(router: Router<Cache>) -> Router<Cache> {
    #[cached(ttl = 60)]
    async fn show() -> &'static str {
        "second"
    }
    router.route("/second", get(show))
}

mod named_alike {
    use super::*;

    #[cached(ttl = 60, name = "alike")]
    pub(super) async fn first(Path(id): Path<u64>) -> String {
        format!("first {id}")
    }

    #[cached(ttl = 60, name = "alike")]
    pub(super) async fn second(Path(id): Path<u64>) -> String {
        format!("second {id}")
    }
}

mod put_by_name {
    use super::*;

    #[cached(ttl = 60, name = "put-alike")]
    pub(super) async fn first(Path(id): Path<u64>) -> String {
        format!("first {id}")
    }

    #[cached(ttl = 60, name = "put-alike")]
    pub(super) async fn second(Path(id): Path<u64>) -> String {
        format!("second {id}")
    }

    #[cache_put(second)]
    pub(super) async fn put_second(Path(id): Path<u64>) -> String {
        format!("new second {id}")
    }
}

#[cached(ttl = 60)]
async fn page(Path(name): Path<String>) -> String {
    format!("page {name}")
}

#[cached(ttl = 60)]
async fn target(uri: Uri) -> String {
    format!("target {uri}")
}

/// Makes every request ask for what a field says.
fn rewrite(mut request: Request) -> Request {
    if let Some(to) = request.headers().get("x-to") {
        *request.uri_mut() = to.to_str().unwrap().parse().unwrap();
    }
    request
}

on_every_store!(
    handlers_on_overlapping_routes_never_share_an_entry,
    handlers_on_two_listeners_never_share_an_entry,
    handlers_with_equal_templates_never_share_an_entry,
    methods_of_the_same_name_never_share_an_entry,
    instances_of_a_generic_handler_never_share_an_entry,
    functions_in_functions_never_share_an_entry,
    the_second_handler_of_a_name_is_not_cached,
    a_path_rewritten_before_routing_is_in_the_key,
    a_path_rewritten_after_routing_is_seen_by_the_handler,
    a_put_for_the_second_handler_of_a_name_stores_nothing_for_the_first,
);

async fn handlers_on_overlapping_routes_never_share_an_entry(store: Store) {
    let client = serve(overlapping_routes(store.cache())).await;
    // Each target, and the route that it leads to. A handler that is mounted twice has entries of
    // its own at each place.
    let targets = [
        ("/users/%6De", "user me"),
        ("/users/me", "me"),
        ("/files/%6De", "anything me"),
        ("/files/me", "me"),
        ("/files/a/me", "user me"),
        ("/files/b/me", "anything b/me"),
        ("/files/a%2Fme", "anything a/me"),
        ("/me", "otherwise /me"),
        ("/users", "otherwise /users"),
        ("/users/", "otherwise /users/"),
        ("/users/me/", "otherwise /users/me/"),
        ("/%75sers/me", "otherwise /%75sers/me"),
    ];
    for (target, body) in targets {
        assert_eq!(ask(&client, target).await, miss(body), "{target}");
    }
    for (target, body) in targets {
        assert_eq!(ask(&client, target).await, hit(body), "{target}");
    }
}

async fn handlers_on_two_listeners_never_share_an_entry(store: Store) {
    let cache = store.cache();
    let outside = Router::new().route("/stats", get(twice::stats));
    let inside = Router::new().route("/stats", get(twice::inner::stats));
    let outside = serve(outside.with_state(cache.clone())).await;
    let inside = serve(inside.with_state(cache)).await;
    for expected in [miss, hit] {
        assert_eq!(ask(&outside, "/stats").await, expected("public"));
        assert_eq!(ask(&inside, "/stats").await, expected("internal"));
    }
}

async fn handlers_with_equal_templates_never_share_an_entry(store: Store) {
    let router = Router::new()
        .route("/books/{id}", get(templates::book))
        .route("/films/{id}", get(templates::film))
        .route("/plays/{id}", get(templates::play))
        .with_state(store.cache());
    let client = serve(router).await;
    for expected in [miss, hit] {
        assert_eq!(ask(&client, "/books/1").await, expected("book 1"));
        assert_eq!(ask(&client, "/films/1").await, expected("film 1"));
        assert_eq!(ask(&client, "/plays/1").await, expected("play 1"));
    }
}

async fn methods_of_the_same_name_never_share_an_entry(store: Store) {
    let router = Router::new()
        .route("/shops/{id}", get(Shop::show))
        .route("/libraries/{id}", get(Library::show))
        .with_state(store.cache());
    let client = serve(router).await;
    for expected in [miss, hit] {
        assert_eq!(ask(&client, "/shops/1").await, expected("shop 1"));
        assert_eq!(ask(&client, "/libraries/1").await, expected("library 1"));
    }
}

async fn instances_of_a_generic_handler_never_share_an_entry(store: Store) {
    let router = Router::new()
        .route("/shops/{page}", get(list::<Shop>))
        .route("/libraries/{page}", get(list::<Library>))
        .route("/t/shops/{page}", get(list_by_template::<Shop>))
        .route("/t/libraries/{page}", get(list_by_template::<Library>))
        .with_state(store.cache());
    let client = serve(router).await;
    for expected in [miss, hit] {
        for prefix in ["", "/t"] {
            let got = ask(&client, &format!("{prefix}/shops/1")).await;
            assert_eq!(got, expected("shop 1"));
            let got = ask(&client, &format!("{prefix}/libraries/1")).await;
            assert_eq!(got, expected("library 1"));
        }
    }
}

async fn functions_in_functions_never_share_an_entry(store: Store) {
    let router = second_in_a_function(first_in_a_function(Router::new()));
    let client = serve(router.with_state(store.cache())).await;
    for expected in [miss, hit] {
        assert_eq!(ask(&client, "/first").await, expected("first"));
        assert_eq!(ask(&client, "/second").await, expected("second"));
    }
}

async fn the_second_handler_of_a_name_is_not_cached(store: Store) {
    let router = Router::new()
        .route("/first/{id}", get(named_alike::first))
        .route("/second/{id}", get(named_alike::second))
        .with_state(store.cache());
    let client = serve(router).await;
    for expected in [miss, hit] {
        assert_eq!(ask(&client, "/first/1").await, expected("first 1"));
        assert_eq!(ask(&client, "/second/1").await, bypass("second 1"));
    }
}

async fn a_path_rewritten_before_routing_is_in_the_key(store: Store) {
    let router = Router::new()
        .route("/pages/{name}", get(page))
        .route("/targets/{name}", get(target))
        .with_state(store.cache());
    let layer = tower::util::MapRequestLayer::new(rewrite);
    let router = Router::new().fallback_service(ServiceBuilder::new().layer(layer).service(router));
    let client = serve(router).await;
    let to = |to| [("x-to", to)];
    let asks =
        async |target: &str, fields: &[(&str, &str)]| get_with(&client, target, fields).await;
    assert_eq!(asks("/pages/a", &to("/pages/b")).await, miss("page b"));
    assert_eq!(asks("/pages/a", &[]).await, miss("page a"));
    assert_eq!(asks("/pages/b", &[]).await, hit("page b"));
    assert_eq!(
        asks("/targets/a", &to("/targets/b")).await,
        miss("target /targets/b")
    );
    assert_eq!(asks("/targets/a", &[]).await, miss("target /targets/a"));
    assert_eq!(
        asks("/targets/a", &to("/targets/b")).await,
        hit("target /targets/b")
    );
}

async fn a_path_rewritten_after_routing_is_seen_by_the_handler(store: Store) {
    let layer = tower::util::MapRequestLayer::new(rewrite);
    let router = Router::new()
        .route("/pages/{name}", get(page))
        .route("/targets/{name}", get(target))
        .route_layer(layer)
        .with_state(store.cache());
    let client = serve(router).await;
    let to = |to| [("x-to", to)];
    let asks =
        async |target: &str, fields: &[(&str, &str)]| get_with(&client, target, fields).await;
    // The parameters were read before.
    assert_eq!(asks("/pages/a", &to("/pages/b")).await, miss("page a"));
    assert_eq!(asks("/pages/b", &to("/pages/a")).await, miss("page b"));
    assert_eq!(asks("/pages/a", &[]).await, hit("page a"));
    assert_eq!(asks("/targets/a", &to("/x")).await, miss("target /x"));
    assert_eq!(asks("/targets/a", &to("/y")).await, miss("target /y"));
    assert_eq!(asks("/targets/a", &[]).await, miss("target /targets/a"));
}

async fn a_put_for_the_second_handler_of_a_name_stores_nothing_for_the_first(store: Store) {
    let cache = store.cache();
    let first = Router::new().route("/items/{id}", get(put_by_name::first));
    let second = get(put_by_name::second).put(put_by_name::put_second);
    let second = Router::new().route("/items/{id}", second);
    let first = serve(first.with_state(cache.clone())).await;
    let second = serve(second.with_state(cache)).await;
    assert_eq!(ask(&first, "/items/1").await, miss("first 1"));
    write(&second, "PUT", "/items/1").await;
    assert_eq!(ask(&first, "/items/1").await.1, "first 1");
}

#[derive(Clone)]
struct Named {
    cache: Cache,
}

impl FromRef<Named> for Cache {
    fn from_ref(named: &Named) -> Self {
        named.cache.clone()
    }
}

#[cached(ttl = 60, name = "logged-alike")]
async fn first_of_the_log(State(_): State<Named>) -> &'static str {
    "first"
}

#[cached(ttl = 60, name = "logged-alike")]
async fn second_of_the_log(State(_): State<Named>) -> &'static str {
    "second"
}

#[tokio::test]
async fn an_error_names_the_second_handler_of_a_name() {
    let (log, _guard) = Log::capture(tracing::Level::ERROR);
    let router = Router::new()
        .route("/first", get(first_of_the_log))
        .route("/second", get(second_of_the_log))
        .with_state(Named {
            cache: Cache::in_memory(),
        });
    let client = serve(router).await;
    assert_eq!(ask(&client, "/first").await, miss("first"));
    assert!(log.text().is_empty(), "{}", log.text());
    assert_eq!(ask(&client, "/second").await, bypass("second"));
    assert!(log.text().contains("logged-alike"), "{}", log.text());
}
