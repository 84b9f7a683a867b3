//! Two requests with the same entry have the same response, and a write drops the entry it names.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path, Query, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodRouter, any, delete, get, post};
use axum::{Extension, Json, Router};
use axum_redis_cache::{Cache, KeyPart, cache_evict, cache_put, cached};
use serde::Deserialize;
use test_support::RedisServer;

use crate::asking::{ask, http_2, log, logged, read, send};
use crate::support::{App, Store, on_every_store, request};

#[cached(ttl = 60)]
async fn me() -> &'static str {
    "me"
}

#[cached(ttl = 60)]
async fn by_id(Path(id): Path<String>) -> String {
    format!("user {id}")
}

#[cached(ttl = 60)]
async fn item(State(app): State<App>, Path(id): Path<u64>) -> Response {
    let _ = id;
    app.run().await
}

#[cache_evict(item)]
async fn delete_item(Path(_id): Path<u64>) {}

#[cache_evict(item)]
async fn delete_item_without_arguments() {}

#[cache_put(item)]
async fn put_item(Path(id): Path<u64>) -> String {
    format!("put {id}")
}

fn items(app: App) -> Router {
    let methods = get(item).delete(delete_item).put(put_item);
    Router::new()
        .route("/items/{id}", methods)
        .route("/admin/items/{id}", delete(delete_item).put(put_item))
        .route("/bare/items/{id}", delete(delete_item_without_arguments))
        .with_state(app)
}

#[cached(ttl = 60)]
async fn mounted_twice(State(app): State<App>, Path(id): Path<u64>) -> Response {
    let _ = id;
    app.run().await
}

#[cache_evict(mounted_twice)]
async fn delete_mounted_twice(Path(_id): Path<u64>) {}

#[cached(ttl = 60)]
async fn ordered(Query(pairs): Query<Vec<(String, String)>>) -> Json<Vec<(String, String)>> {
    Json(pairs)
}

#[derive(Deserialize, KeyPart)]
struct Search {
    q: String,
}

#[cached(ttl = 60)]
async fn search(Query(Search { q }): Query<Search>) -> String {
    q
}

#[cached(ttl = 60)]
async fn raw(RawQuery(query): RawQuery) -> String {
    format!("{query:?}")
}

#[cache_evict(raw)]
async fn delete_raw() {}

#[cached(ttl = 60, vary("host"), ignore(headers))]
async fn names_its_host(headers: HeaderMap) -> String {
    format!("{:?}", headers["host"])
}

mod public {
    #[super::cached(ttl = 60)]
    pub(super) async fn stats() -> &'static str {
        "of the public"
    }
}

mod internal {
    #[super::cached(ttl = 60)]
    pub(super) async fn stats() -> &'static str {
        "of the house"
    }
}

/// A language tells nobody apart.
struct Lang(String);

impl<S: Sync> FromRequestParts<S> for Lang {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let lang = parts.headers.get("accept-language");
        Ok(Self(lang.map_or_else(String::new, |lang| {
            lang.to_str().unwrap_or_default().to_owned()
        })))
    }
}

tokio::task_local! {
    static USER: String;
}

async fn knows_the_user(request: axum::extract::Request, next: Next) -> Response {
    let user = request.headers().get("authorization");
    let user = user.map_or("nobody", |user| user.to_str().unwrap());
    USER.scope(user.to_owned(), next.run(request)).await
}

#[cached(ttl = 60, vary_by(lang))]
async fn greeting(Lang(lang): Lang) -> String {
    let user = USER.try_with(Clone::clone).unwrap_or_default();
    format!("{lang} {user}")
}

#[cached(ttl = 60)]
async fn counted(State(app): State<App>) -> Response {
    app.run().await
}

#[derive(Deserialize)]
struct Currency {
    currency: Option<String>,
}

#[cached(ttl = 60)]
async fn priced(
    State(app): State<App>,
    Path(id): Path<u64>,
    Query(Currency { currency }): Query<Currency>,
) -> Response {
    let _ = (id, currency);
    app.run().await
}

#[cache_evict(priced)]
async fn delete_priced(Path(_id): Path<u64>) {}

#[derive(Deserialize)]
struct Written {
    page: u64,
    author: String,
}

#[cached(ttl = 60, key = "x:{q.page}")]
async fn written(Query(q): Query<Written>) -> String {
    format!("{} {}", q.page, q.author)
}

#[derive(Deserialize)]
struct Page {
    page: u64,
}

#[cached(ttl = 60)]
async fn books(State(app): State<App>, Query(Page { page }): Query<Page>) -> Response {
    let _ = page;
    app.run().await
}

#[cache_evict(books)]
async fn add_book() -> StatusCode {
    StatusCode::CREATED
}

const BOOKS: &str = "books of a constant";

fn shelf(id: &str) -> String {
    format!("shelf of a function {id}")
}

#[cached(ttl = 60, group = [BOOKS, shelf(id)])]
async fn on_a_shelf(State(app): State<App>, Path(id): Path<String>) -> Response {
    let _ = id;
    app.run().await
}

#[cache_evict(group = BOOKS)]
async fn delete_books() {}

#[cache_evict(group = shelf(id))]
async fn delete_shelf(Path(id): Path<String>) {
    let _ = id;
}

fn inside_one() -> MethodRouter<Cache> {
    #[cached(ttl = 60)]
    async fn show() -> &'static str {
        "inside one"
    }
    get(show)
}

fn inside_another() -> MethodRouter<Cache> {
    #[cached(ttl = 60)]
    async fn show() -> &'static str {
        "inside another"
    }
    get(show)
}

struct Cats;
struct Dogs;

impl Cats {
    #[cached(ttl = 60, no_companion)]
    async fn show() -> &'static str {
        "cats"
    }
}

impl Dogs {
    #[cached(ttl = 60, no_companion)]
    async fn show() -> &'static str {
        "dogs"
    }
}

trait Named: Send + Sync + 'static {
    const NAME: &'static str;
}

impl Named for Cats {
    const NAME: &'static str = "list of cats";
}

impl Named for Dogs {
    const NAME: &'static str = "list of dogs";
}

#[cached(ttl = 60)]
async fn list<T: Named>() -> &'static str {
    T::NAME
}

#[derive(Clone)]
struct Db(String);

async fn opens_the_db(
    Path(params): Path<Vec<(String, String)>>,
    mut request: axum::extract::Request,
    next: Next,
) -> Response {
    let tenant = &params[0].1;
    request.extensions_mut().insert(Db(tenant.clone()));
    next.run(request).await
}

#[derive(Deserialize)]
struct Item {
    id: u64,
}

#[cached(ttl = 60, ignore(db))]
async fn of_tenant(Path(Item { id }): Path<Item>, Extension(db): Extension<Db>) -> String {
    format!("{id} of {}", db.0)
}

#[cached(ttl = 60)]
async fn branded(State(app): State<App>, Path((brand, id)): Path<(String, String)>) -> Response {
    let _ = (brand, id);
    app.run().await
}

#[cache_evict(branded)]
async fn delete_branded(Path((_id, _brand)): Path<(String, String)>) {}

on_every_store!(
    an_escaped_path_of_one_route_is_not_the_path_of_another,
    a_write_by_another_spelling_of_a_number_drops_the_entry,
    a_write_on_another_path_drops_the_entry_of_its_values,
    a_handler_that_sees_the_order_of_parameters_gets_it,
    a_space_has_one_key_however_it_is_written,
    a_parameter_that_nobody_reads_does_not_split_an_entry,
    a_write_drops_the_entry_by_any_version_of_http,
    a_page_that_names_a_host_is_kept_for_that_host,
    equal_paths_of_two_listeners_are_two_entries,
    a_value_that_identifies_nobody_does_not_let_users_share,
    a_successful_write_to_a_cached_handler_drops_its_response,
    the_query_of_a_write_does_not_keep_it_from_the_entry,
    a_write_drops_the_entries_of_every_mount,
    a_field_that_the_template_leaves_out_still_tells_responses_apart,
    a_write_that_names_a_list_drops_every_page_of_it,
    groups_are_constants_and_functions,
    handlers_of_one_name_in_other_places_have_their_own_pages,
    handlers_of_one_name_have_their_own_pages_on_one_path,
    a_parameter_that_only_a_layer_reads_tells_responses_apart,
    a_write_with_its_values_in_another_order_drops_the_entry,
);

async fn an_escaped_path_of_one_route_is_not_the_path_of_another(store: Store) {
    let router = Router::new()
        .route("/users/me", get(me))
        .route("/users/{id}", get(by_id))
        .with_state(store.cache());
    assert_eq!(read(&router, "/users/%6De").await, "MISS user me");
    assert_eq!(read(&router, "/users/me").await, "MISS me");
    assert_eq!(read(&router, "/users/%6De").await, "HIT user me");
    assert_eq!(read(&router, "/users/me").await, "HIT me");
}

async fn a_write_by_another_spelling_of_a_number_drops_the_entry(store: Store) {
    let router = items(App::counting(store.cache()));
    assert_eq!(read(&router, "/items/1").await, "MISS run 0");
    assert_eq!(read(&router, "/items/01").await, "HIT run 0");
    ask(&router, "DELETE", "/items/01").await;
    assert_eq!(read(&router, "/items/1").await, "MISS run 1");
    assert_eq!(read(&router, "/items/%31").await, "HIT run 1");
    ask(&router, "PUT", "/items/001").await;
    assert_eq!(read(&router, "/items/1").await, "HIT put 1");
    ask(&router, "DELETE", "/items/2").await;
    assert_eq!(read(&router, "/items/1").await, "HIT put 1");
}

async fn a_write_on_another_path_drops_the_entry_of_its_values(store: Store) {
    let router = items(App::counting(store.cache()));
    assert_eq!(read(&router, "/items/1").await, "MISS run 0");
    assert_eq!(read(&router, "/items/2").await, "MISS run 1");
    ask(&router, "DELETE", "/admin/items/01").await;
    assert_eq!(read(&router, "/items/1").await, "MISS run 2");
    assert_eq!(read(&router, "/items/2").await, "HIT run 1");
    // The handler mounted there may have another state, so its response is not stored for this one.
    ask(&router, "PUT", "/admin/items/1").await;
    assert_eq!(read(&router, "/items/1").await, "MISS run 3");
    ask(&router, "DELETE", "/bare/items/1").await;
    assert_eq!(read(&router, "/items/1").await, "MISS run 4");
    assert_eq!(read(&router, "/items/2").await, "HIT run 1");
}

async fn a_handler_that_sees_the_order_of_parameters_gets_it(store: Store) {
    let router = Router::new()
        .route("/", get(ordered))
        .with_state(store.cache());
    let one = r#"[["price","desc"],["name","asc"]]"#;
    let other = r#"[["name","asc"],["price","desc"]]"#;
    assert_eq!(
        read(&router, "/?price=desc&name=asc").await,
        format!("MISS {one}")
    );
    assert_eq!(
        read(&router, "/?name=asc&price=desc").await,
        format!("MISS {other}")
    );
    assert_eq!(
        read(&router, "/?price=desc&name=asc").await,
        format!("HIT {one}")
    );
}

async fn a_space_has_one_key_however_it_is_written(store: Store) {
    let cache = store.cache();
    let router = Router::new()
        .route("/s", get(search))
        .with_state(cache.clone());
    assert_eq!(read(&router, "/s?q=a+b").await, "MISS a b");
    assert_eq!(read(&router, "/s?q=a%20b").await, "HIT a b");
    cache.evict(search::key("/s?q=a%20b")).await;
    assert_eq!(read(&router, "/s?q=a+b").await, "MISS a b");
}

async fn a_parameter_that_nobody_reads_does_not_split_an_entry(store: Store) {
    let router = Router::new()
        .route("/s", get(search))
        .with_state(store.cache());
    assert_eq!(read(&router, "/s?q=x").await, "MISS x");
    assert_eq!(read(&router, "/s?q=x&utm_source=mail").await, "HIT x");
    assert_eq!(read(&router, "/s?utm_source=web&q=y").await, "MISS y");
}

async fn a_write_drops_the_entry_by_any_version_of_http(store: Store) {
    let methods = get(raw).delete(delete_raw);
    let router = Router::new()
        .route("/raw", methods)
        .with_state(store.cache());
    for target in ["/raw", "/raw?a=1"] {
        let body = format!("{:?}", target.strip_prefix("/raw?").map(str::to_owned));
        for version in [1, 2] {
            let get = || match version {
                1 => request("GET", target, &[]),
                _ => http_2("GET", target),
            };
            let delete = || match version {
                1 => http_2("DELETE", target),
                _ => request("DELETE", target, &[]),
            };
            send(&router, get()).await;
            assert_eq!(send(&router, get()).await, format!("HIT {body}"));
            send(&router, delete()).await;
            assert_eq!(
                send(&router, get()).await,
                format!("MISS {body}"),
                "{version}"
            );
        }
    }
}

async fn a_page_that_names_a_host_is_kept_for_that_host(store: Store) {
    let router = Router::new()
        .route("/page", get(names_its_host))
        .with_state(store.cache());
    let absolute = "http://victim.example/page";
    let evil = || request("GET", absolute, &[("host", "evil.example")]);
    let victim = || request("GET", "/page", &[("host", "victim.example")]);
    assert_eq!(send(&router, evil()).await, r#"MISS "evil.example""#);
    assert_eq!(send(&router, victim()).await, r#"MISS "victim.example""#);
    let own = request("GET", absolute, &[("host", "victim.example")]);
    assert!(send(&router, own).await.ends_with(r#" "victim.example""#));
    assert_eq!(send(&router, evil()).await, r#"HIT "evil.example""#);
    assert_eq!(send(&router, victim()).await, r#"HIT "victim.example""#);
}

async fn equal_paths_of_two_listeners_are_two_entries(store: Store) {
    let cache = store.cache();
    let outside = Router::new()
        .route("/stats", get(public::stats))
        .with_state(cache.clone());
    let inside = Router::new()
        .route("/stats", get(internal::stats))
        .with_state(cache);
    assert_eq!(read(&outside, "/stats").await, "MISS of the public");
    assert_eq!(read(&inside, "/stats").await, "MISS of the house");
    assert_eq!(read(&outside, "/stats").await, "HIT of the public");
    assert_eq!(read(&inside, "/stats").await, "HIT of the house");
}

async fn a_value_that_identifies_nobody_does_not_let_users_share(store: Store) {
    let router = Router::new()
        .route("/", get(greeting))
        .layer(from_fn(knows_the_user))
        .with_state(store.cache());
    for user in ["alice", "bob"] {
        let fields = [("accept-language", "en"), ("authorization", user)];
        let answer = send(&router, request("GET", "/", &fields)).await;
        assert_eq!(answer, format!("BYPASS en {user}"));
    }
}

async fn a_successful_write_to_a_cached_handler_drops_its_response(store: Store) {
    let router = Router::new().route("/", any(counted));
    let router = router.with_state(App::counting(store.cache()));
    for (run, method) in ["POST", "PUT", "PATCH", "DELETE"].into_iter().enumerate() {
        let body = format!("run {}", 2 * run);
        assert_eq!(read(&router, "/").await, format!("MISS {body}"), "{method}");
        assert_eq!(read(&router, "/").await, format!("HIT {body}"), "{method}");
        ask(&router, method, "/").await;
    }
}

async fn the_query_of_a_write_does_not_keep_it_from_the_entry(store: Store) {
    let methods = get(priced).delete(delete_priced);
    let router = Router::new().route("/items/{id}", methods);
    let router = router.with_state(App::counting(store.cache()));
    for target in ["/items/1", "/items/1?currency=eur", "/items/1?x=2"] {
        read(&router, target).await;
        assert!(read(&router, target).await.starts_with("HIT"), "{target}");
        ask(&router, "DELETE", "/items/1?x=1").await;
        assert!(read(&router, target).await.starts_with("MISS"), "{target}");
    }
}

async fn a_write_drops_the_entries_of_every_mount(store: Store) {
    let app = App::counting(store.cache());
    let methods = || get(mounted_twice).delete(delete_mounted_twice);
    let nested = || Router::new().route("/items/{id}", methods());
    let router = Router::new()
        .nest("/v1", nested())
        .nest("/v2", nested())
        .with_state(app);
    assert_eq!(read(&router, "/v1/items/1").await, "MISS run 0");
    assert_eq!(read(&router, "/v2/items/1").await, "MISS run 1");
    assert_eq!(read(&router, "/v1/items/1").await, "HIT run 0");
    ask(&router, "DELETE", "/v2/items/1").await;
    assert_eq!(read(&router, "/v1/items/1").await, "MISS run 2");
    assert_eq!(read(&router, "/v2/items/1").await, "MISS run 3");
    ask(&router, "DELETE", "/v1/items/01").await;
    assert_eq!(read(&router, "/v2/items/1").await, "MISS run 4");
}

async fn a_field_that_the_template_leaves_out_still_tells_responses_apart(store: Store) {
    let router = Router::new()
        .route("/", get(written))
        .with_state(store.cache());
    assert_eq!(read(&router, "/?page=1&author=ann").await, "MISS 1 ann");
    assert_eq!(read(&router, "/?page=1&author=bob").await, "MISS 1 bob");
    assert_eq!(read(&router, "/?author=ann&page=01").await, "HIT 1 ann");
}

async fn a_write_that_names_a_list_drops_every_page_of_it(store: Store) {
    let router = Router::new().route("/books", get(books).post(add_book));
    let router = router.route("/admin/books", post(add_book));
    let router = router.with_state(App::counting(store.cache()));
    assert_eq!(read(&router, "/books?page=1").await, "MISS run 0");
    assert_eq!(read(&router, "/books?page=2").await, "MISS run 1");
    ask(&router, "POST", "/books").await;
    assert_eq!(read(&router, "/books?page=1").await, "MISS run 2");
    assert_eq!(read(&router, "/books?page=2").await, "MISS run 3");
    ask(&router, "POST", "/admin/books").await;
    assert_eq!(read(&router, "/books?page=1").await, "MISS run 4");
    assert_eq!(read(&router, "/books?page=2").await, "MISS run 5");
}

async fn groups_are_constants_and_functions(store: Store) {
    log();
    let cache = store.cache();
    let router = Router::new()
        .route("/shelves/{id}", get(on_a_shelf).delete(delete_shelf))
        .route("/books", delete(delete_books))
        .with_state(App::counting(cache.clone()));
    let unique = RedisServer::unique_prefix();
    let target = format!("/shelves/{unique}");
    assert_eq!(read(&router, &target).await, "MISS run 0");
    ask(&router, "DELETE", &target).await;
    assert_eq!(read(&router, &target).await, "MISS run 1");
    ask(&router, "DELETE", "/books").await;
    assert_eq!(read(&router, &target).await, "MISS run 2");
    let undeclared = "evicted a group that no handler";
    assert_eq!(logged(&[undeclared, BOOKS]), 0);
    assert_eq!(logged(&[undeclared, &shelf(&unique)]), 0);
    let misspelt = format!("misspelt {unique}");
    cache.delete_group(&misspelt).await;
    cache.delete_group(&misspelt).await;
    assert_eq!(logged(&[undeclared, &misspelt]), 1);
}

async fn handlers_of_one_name_in_other_places_have_their_own_pages(store: Store) {
    let router = Router::new()
        .route("/one", inside_one())
        .route("/another", inside_another())
        .route("/cats", get(Cats::show))
        .route("/dogs", get(Dogs::show))
        .route("/list/cats", get(list::<Cats>))
        .route("/list/dogs", get(list::<Dogs>))
        .with_state(store.cache());
    let pages = [
        ("/one", "inside one"),
        ("/another", "inside another"),
        ("/cats", "cats"),
        ("/dogs", "dogs"),
        ("/list/cats", "list of cats"),
        ("/list/dogs", "list of dogs"),
    ];
    for outcome in ["MISS", "HIT"] {
        for (target, page) in pages {
            assert_eq!(read(&router, target).await, format!("{outcome} {page}"));
        }
    }
}

async fn handlers_of_one_name_have_their_own_pages_on_one_path(store: Store) {
    let cache = store.cache();
    let pages = [
        (inside_one(), "inside one"),
        (inside_another(), "inside another"),
        (get(Cats::show), "cats"),
        (get(Dogs::show), "dogs"),
        (get(list::<Cats>), "list of cats"),
        (get(list::<Dogs>), "list of dogs"),
    ];
    for outcome in ["MISS", "HIT"] {
        for (methods, page) in pages.clone() {
            let router = Router::new().route("/", methods).with_state(cache.clone());
            assert_eq!(read(&router, "/").await, format!("{outcome} {page}"));
        }
    }
}

async fn a_parameter_that_only_a_layer_reads_tells_responses_apart(store: Store) {
    let router = Router::new()
        .route("/t/{tenant}/items/{id}", get(of_tenant))
        .route_layer(from_fn(opens_the_db))
        .with_state(store.cache());
    assert_eq!(read(&router, "/t/a/items/1").await, "MISS 1 of a");
    assert_eq!(read(&router, "/t/b/items/1").await, "MISS 1 of b");
    assert_eq!(read(&router, "/t/a/items/01").await, "HIT 1 of a");
}

async fn a_write_with_its_values_in_another_order_drops_the_entry(store: Store) {
    log();
    let router = Router::new()
        .route("/b/{brand}/{id}", get(branded))
        .route("/admin/{id}/{brand}", delete(delete_branded))
        .with_state(App::counting(store.cache()));
    assert_eq!(read(&router, "/b/acme/1").await, "MISS run 0");
    assert_eq!(read(&router, "/b/acme/1").await, "HIT run 0");
    ask(&router, "DELETE", "/admin/1/acme").await;
    assert_eq!(read(&router, "/b/acme/1").await, "MISS run 1");
    assert!(logged(&["cases::branded", "delete_branded"]) > 0);
}
