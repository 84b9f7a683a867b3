//! Shapes of handlers from real code: all of them are cached, and callable as they are written.
#![deny(warnings, clippy::pedantic, clippy::panic, clippy::unwrap_used)]
#![deny(clippy::items_after_statements, clippy::used_underscore_binding)]

use std::cell::Cell;
use std::fmt::Display;

use axum::extract::{FromRef, FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use axum_redis_cache::{Determined, Source, cache_evict, cache_put, cached};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::support::{App, Store, on_every_store, serve};

#[cached(ttl = 30)]
async fn unit() {}

#[cached(ttl = 30)]
async fn double(Path(n): Path<u32>) -> Result<impl IntoResponse, impl IntoResponse> {
    let double = n.checked_mul(2).ok_or(StatusCode::BAD_REQUEST)?;
    Ok::<_, StatusCode>(double.to_string())
}

/// Nothing of the argument is used.
#[cached(ttl = 30)]
async fn unused(Path(_number): Path<u32>) -> &'static str {
    "unused"
}

type Answer<T> = Result<T, StatusCode>;

#[cached(ttl = 30)]
async fn alias(State(app): State<App>) -> Answer<Json<usize>> {
    let _ = app.clone().run().await;
    Ok(Json(app.runs()))
}

trait Repository: Clone + Send + Sync + 'static {
    const NAME: &'static str;
}

#[derive(Clone)]
struct Postgres;

impl Repository for Postgres {
    const NAME: &'static str = "postgres";
}

impl FromRef<App> for Postgres {
    fn from_ref(_: &App) -> Self {
        Self
    }
}

/// Generic in its state, as applications with ports and adapters have it.
#[cached(ttl = 30, key = "generic:{id}")]
async fn generic<R: Repository>(State(_repository): State<R>, Path(id): Path<u8>) -> String {
    format!("{} {id}", R::NAME)
}

#[cached(ttl = 30)]
async fn inferred<T>(Path(value): Path<T>) -> String
where
    T: Display + Send + DeserializeOwned + 'static,
{
    value.to_string()
}

#[cached(ttl = 30, key = "of:{value}")]
async fn inferred_in_key<T: Display + axum_redis_cache::KeyPart>(Path(value): Path<T>) -> String {
    value.to_string()
}

#[cached(ttl = 30)]
async fn with_const<const N: usize>() -> String {
    N.to_string()
}

struct Name<'a>(std::borrow::Cow<'a, str>);

impl IntoResponse for Name<'_> {
    fn into_response(self) -> Response {
        self.0.into_owned().into_response()
    }
}

#[cached(ttl = 30)]
#[allow(clippy::extra_unused_lifetimes)]
async fn lifetimes<'a>(Path(name): Path<String>) -> Name<'a> {
    Name(name.into())
}

#[derive(Deserialize)]
struct Nested {
    r#type: String,
    inner: u8,
}

/// Nested, `mut`, `ref` and raw patterns.
#[cached(ttl = 30, key = "patterns:{a}{b}{r#type}{inner}")]
async fn patterns(
    Path((mut a, b)): Path<(String, String)>,
    Query(Nested {
        ref r#type,
        mut inner,
    }): Query<Nested>,
) -> String {
    a.push_str(&b);
    inner += 1;
    format!("{a} {type} {inner}", r#type = r#type)
}

/// A struct of extractors hides `State` and `Path`: only the trait says what it depends on.
#[derive(FromRequestParts)]
#[from_request(state(App))]
struct Parameters {
    #[from_request(via(State))]
    app: App,
    #[from_request(via(Path))]
    id: u64,
}

impl Determined for Parameters {
    const BY: Source = Source::Path;
}

#[cached(ttl = 30, key = "parameters:{id}", ignore(app))]
async fn derived(Parameters { app, id }: Parameters) -> Response {
    let _ = id;
    app.run().await
}

/// What is in a tuple counts as if it stood alone.
#[cached(ttl = 30, key = "tuple:{id}:{format.format}")]
async fn tuple((State(app), Path(id)): (State<App>, Path<u8>), format: Query<Check>) -> Response {
    let _ = (id, &format);
    app.run().await
}

/// Named like what is generated.
#[derive(Deserialize)]
struct Check {
    format: String,
}

const DECLARED: std::time::Duration = std::time::Duration::from_secs(30);

#[cached(ttl = DECLARED, max_age = DECLARED)]
async fn declared(check: Result<Query<Check>, axum::extract::rejection::QueryRejection>) -> String {
    check.map(|check| check.0.format).unwrap_or_default()
}

#[cached(ttl = 30, key = "upper:{ID}")]
#[allow(non_snake_case)]
async fn upper_case(Path(ID): Path<u64>) -> String {
    ID.to_string()
}

#[cache_evict(upper_case(b), every_method(format!("/{a}")))]
async fn formats(Path((a, b)): Path<(String, u64)>) {
    let _ = (a, b);
}

type Id = Path<u64>;

/// The extractor has another name, and the argument is no pattern.
#[cached(ttl = 30, key = "alias:{id}")]
async fn aliased(id: Id, state: State<App>) -> Response {
    let _ = id.0;
    state.0.run().await
}

/// `Send`, as axum wants it, but not `Sync`.
struct NotSync(Cell<u8>);

impl<S: Sync> FromRequestParts<S> for NotSync {
    type Rejection = StatusCode;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Answer<Self> {
        Ok(Self(Cell::new(0)))
    }
}

impl Determined for NotSync {
    const BY: Source = Source::App;
}

#[cached(ttl = 30, key = "not-sync:{id}")]
async fn not_sync(cell: NotSync, Path(id): Path<u8>) -> String {
    cell.0.set(cell.0.get() + id);
    tokio::task::yield_now().await;
    cell.0.get().to_string()
}

#[cached(ttl = 30, key = "sixteen:{a}:{p}")]
#[allow(clippy::too_many_arguments)]
async fn sixteen(
    Path(a): Path<u8>,
    State(_): State<App>,
    _: State<App>,
    State(_): State<App>,
    State(_): State<App>,
    State(_): State<App>,
    State(_): State<App>,
    State(_): State<App>,
    State(_): State<App>,
    State(_): State<App>,
    State(_): State<App>,
    State(_): State<App>,
    State(_): State<App>,
    State(_): State<App>,
    State(_): State<App>,
    Path(p): Path<u8>,
) -> String {
    format!("{a}{p}")
}

/// In an `impl` block no type can stand beside the function, so nobody can name it.
struct Api;

impl Api {
    #[cached(ttl = 30, key = "api:{id}", group = "api:{id}", no_companion)]
    async fn get(Path(id): Path<u64>, State(app): State<App>) -> Response {
        let _ = id;
        app.run().await
    }

    #[cache_evict(group = "api:{id}", no_companion)]
    async fn delete(Path(id): Path<u64>) {
        let _ = id;
    }

    #[cache_put(aliased(id), no_companion)]
    async fn put(Path(id): Path<u64>, body: String) -> String {
        let _ = id;
        body
    }
}

/// A type of the same name is there already.
#[allow(non_camel_case_types, dead_code)]
struct taken {}

#[cached(ttl = 30, no_companion)]
async fn taken() -> &'static str {
    "taken"
}

fn inside() -> axum::routing::MethodRouter<App> {
    #[cached(ttl = 30)]
    async fn local(State(app): State<App>) -> Response {
        app.run().await
    }

    #[cache_evict(local)]
    async fn evict_local() {}

    get(local).delete(evict_local)
}

/// User items named like ours, and like what the standard library has.
mod names {
    #![allow(dead_code, non_camel_case_types)]

    use axum::extract::Path;
    use axum_redis_cache::{cache_evict, cached};

    mod std {}
    mod core_ {}
    mod cached {}
    mod axum_redis_cache_ {}
    struct Response;
    struct State;
    struct Cache;
    struct Selected;
    struct String;
    enum Option {}
    enum Result {}

    #[cached(ttl = 30, key = "key:{key}{selected}{head}")]
    pub(super) async fn key(Path((key, selected, head)): Path<(u8, u8, u8)>) -> &'static str {
        let _ = (key, selected, head);
        "key"
    }

    #[cache_evict(self::key(route, 2, 3))]
    pub(super) async fn uncached(route: Path<u8>) {
        let _ = route;
    }
}

mod no_prelude {
    #![no_implicit_prelude]

    use ::axum::extract::Path;
    use ::axum_redis_cache::{cache_evict, cache_put, cached};
    use ::std::string::String;

    #[cached(ttl = 30, key = "no-prelude:{id}", group = ["a", "of:{id}"], vary_by(id))]
    pub(super) async fn read(Path(id): Path<u8>) -> &'static str {
        let _ = id;
        "read"
    }

    #[cached(ttl = 30)]
    pub(super) async fn of_request(Path(id): Path<u8>) -> &'static str {
        let _ = id;
        "read"
    }

    #[cache_put(read(id), vary_by(id))]
    #[cache_evict(of_request, group = "a", read(id))]
    pub(super) async fn write(Path(id): Path<u8>, body: String) -> String {
        let _ = id;
        body
    }
}

mod renamed {
    pub(super) use axum_redis_cache as caching;
}

#[renamed::caching::cached(ttl = 30, crate = renamed::caching, key = "renamed:{id}")]
async fn of_renamed(
    #[cfg(not(any()))] Path(id): Path<u8>,
    #[cfg(any())] missing: NotThere,
) -> String {
    id.to_string()
}

#[cached(ttl = 30)]
async fn with_cfg(
    #[cfg(any())] missing: NotThere,
    #[cfg(not(any()))] State(app): State<App>,
) -> Response {
    app.run().await
}

#[cached(ttl = 30)]
#[cfg(any())]
async fn not_there(missing: NotThere) {}

macro_rules! handlers {
    ($($name:ident($pattern:pat, $id:ident: $ty:ty) = $key:literal, $ttl:expr, $group:literal;)*) => { $(
        #[cached(ttl = $ttl, key = $key, group = $group)]
        async fn $name($pattern: Path<$ty>, State(app): State<App>) -> Response {
            let _ = $id;
            app.run().await
        }
    )* };
}

handlers! {
    from_macro(Path(id), id: u64) = "macro:{id}", 30, "macros";
    other_from_macro(Path(Id_ { id }), id: Id_) = "macro-other:{id}", 30, "macros";
}

#[derive(Deserialize)]
struct Id_ {
    id: u8,
}

mod versions {
    mod v1 {
        use super::super::{App, Response, State, cached};

        #[cached(ttl = 30)]
        pub(in super::super) async fn status(State(app): State<App>) -> Response {
            app.run().await
        }
    }

    pub(super) use v1::status as current;
}

#[cache_evict(versions::current)]
async fn evict_status() {}

#[cached(ttl = 30)]
#[expect(clippy::unused_async, reason = "some handlers do not wait")]
#[expect(unused_mut, non_snake_case)]
async fn Expected(Path(mut text): Path<String>) -> Json<usize> {
    Json(text.len())
}

#[cached(ttl = 30)]
#[expect(dead_code)]
async fn not_mounted() {}

/// One function for every method: only reads are answered from the cache.
#[cached(ttl = 30)]
async fn every_method(State(app): State<App>) -> Response {
    app.run().await
}

/// Refuses, but with a status that looks like success.
struct Polite;

impl<S: Sync> FromRequestParts<S> for Polite {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Redirect> {
        if parts.headers.contains_key("x-allowed") {
            Ok(Self)
        } else {
            Err(Redirect::to("/login"))
        }
    }
}

#[cache_evict(every_method("/every"), always)]
async fn evict_politely(_: Polite) {}

/// Another handler calls it as it is written, with its own types.
async fn calls_others() -> Result<String, StatusCode> {
    let Json(runs) = alias::uncached(State(App::new(
        axum_redis_cache::Cache::in_memory(),
        |_| async {},
    )))
    .await?;
    let Json(number) = Expected::uncached(Path("four".to_owned())).await;
    let generic = generic::uncached::<Postgres>(State(Postgres), Path(1)).await;
    Ok(format!(
        "{runs} {number} {generic} {}",
        inferred::uncached(Path(2.5)).await
    ))
}

fn router(app: App) -> Router {
    Router::new()
        .route("/unit", get(unit))
        .route("/double/{n}", get(double))
        .route("/unused/{number}", get(unused))
        .route("/alias", get(alias))
        .route("/generic/{id}", get(generic::<Postgres>))
        .route("/inferred/{value}", get(inferred::<f64>))
        .route("/inferred-in-key/{value}", get(inferred_in_key::<u64>))
        .route("/const", get(with_const::<7>))
        .route("/lifetimes/{name}", get(lifetimes))
        .route("/patterns/{a}/{b}", get(patterns))
        .route("/derived/{id}", get(derived))
        .route("/aliased/{id}", get(aliased).put(Api::put))
        .route("/not-sync/{id}", get(not_sync))
        .route("/sixteen/{a}", get(sixteen))
        .route("/api/{id}", get(Api::get).delete(Api::delete))
        .route("/taken", get(taken))
        .route("/inside", inside())
        .route("/key/{a}/{b}/{c}", get(names::key))
        .route("/key/{a}", post(names::uncached))
        .route(
            "/no-prelude/{id}",
            get(no_prelude::read).put(no_prelude::write),
        )
        .route("/no-prelude/{id}/request", get(no_prelude::of_request))
        .route("/renamed/{id}", get(of_renamed))
        .route("/cfg", get(with_cfg))
        .route("/macro/{id}", get(from_macro))
        .route("/other-macro/{id}", get(other_from_macro))
        .route("/status", get(versions::current).delete(evict_status))
        .route("/expected/{text}", get(Expected))
        .route("/every", any(every_method))
        .route("/polite", post(evict_politely))
        .route("/tuple/{id}", get(tuple))
        .route("/declared", get(declared))
        .route("/upper/{id}", get(upper_case))
        .route("/formats/{a}/{b}", post(formats))
        .route("/calls", get(calls_others))
        .with_state(app)
}

on_every_store!(
    every_shape_is_stored_under_its_own_key,
    references_reach_every_shape,
    what_is_put_and_evicted_at_once_is_evicted,
    the_function_is_callable_as_it_is_written,
    one_function_on_every_method_caches_reads_only,
    a_write_by_a_function_on_every_method_drops_what_is_stored_if_it_succeeds,
    an_extractor_that_refuses_evicts_nothing_whatever_its_status,
);

async fn every_shape_is_stored_under_its_own_key(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let answers = [
        ("/unit", ""),
        ("/double/4", "8"),
        ("/unused/4", "unused"),
        ("/unused/5", "unused"),
        ("/alias", "1"),
        ("/generic/1", "postgres 1"),
        ("/generic/2", "postgres 2"),
        ("/inferred/2.5", "2.5"),
        ("/inferred-in-key/2", "2"),
        ("/const", "7"),
        ("/lifetimes/ann", "ann"),
        ("/patterns/a/b?type=x&inner=1", "ab x 2"),
        ("/derived/1", "run 1"),
        ("/aliased/1", "run 2"),
        ("/not-sync/3", "3"),
        ("/sixteen/1", "11"),
        ("/api/1", "run 3"),
        ("/taken", "taken"),
        ("/inside", "run 4"),
        ("/key/1/2/3", "key"),
        ("/no-prelude/1", "read"),
        ("/renamed/1", "1"),
        ("/cfg", "run 5"),
        ("/macro/1", "run 6"),
        ("/other-macro/1", "run 7"),
        ("/status", "run 8"),
        ("/expected/four", "4"),
        ("/every", "run 9"),
        ("/tuple/1?format=x", "run 10"),
        ("/declared", ""),
        ("/upper/1", "1"),
    ];
    for outcome in ["MISS", "HIT"] {
        for (path, answer) in answers {
            let reply = client.get(path).await;
            assert_eq!((reply.outcome(), reply.text()), (outcome, answer), "{path}");
        }
    }
}

async fn references_reach_every_shape(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let evictions = [
        ("/api/1", "DELETE", "/api/1"),
        ("/inside", "DELETE", "/inside"),
        ("/key/1/2/3", "POST", "/key/1"),
        ("/status", "DELETE", "/status"),
        ("/upper/7", "POST", "/formats/x/7"),
        ("/every", "POST", "/formats/every/7"),
    ];
    for (path, method, target) in evictions {
        client.get(path).await;
        assert_eq!(client.get(path).await.outcome(), "HIT", "{path}");
        client.send(method, target, &[]).await;
        assert_eq!(client.get(path).await.outcome(), "MISS", "{path}");
    }
    client.send_body("PUT", "/aliased/1", &[], "put").await;
    assert_eq!(client.get("/aliased/1").await.text(), "put");
}

async fn what_is_put_and_evicted_at_once_is_evicted(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/no-prelude/1").await;
    client.get("/no-prelude/1/request").await;
    let put = client.send_body("PUT", "/no-prelude/1", &[], "put").await;
    assert_eq!((put.text(), put.outcome()), ("put", "EVICTED"));
    assert_eq!(client.get("/no-prelude/1").await.outcome(), "MISS");
    assert_eq!(client.get("/no-prelude/1/request").await.outcome(), "MISS");
}

async fn the_function_is_callable_as_it_is_written(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    assert_eq!(client.get("/calls").await.text(), "1 4 postgres 1 2.5");
}

async fn one_function_on_every_method_caches_reads_only(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for (method, outcome) in [
        ("GET", "MISS"),
        ("OPTIONS", "BYPASS"),
        ("GET", "HIT"),
        ("POST", "EVICTED"),
        ("GET", "MISS"),
        ("GET", "HIT"),
    ] {
        assert_eq!(
            client.send(method, "/every", &[]).await.outcome(),
            outcome,
            "{method}"
        );
    }
}

async fn a_write_by_a_function_on_every_method_drops_what_is_stored_if_it_succeeds(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        if run == 1 {
            StatusCode::CONFLICT
        } else {
            StatusCode::OK
        }
    });
    let client = serve(router(app)).await;
    let outcome = async || client.get("/every").await.outcome().to_owned();
    assert_eq!(outcome().await, "MISS");
    assert_eq!(client.send("PUT", "/every", &[]).await.status, 409);
    assert_eq!(outcome().await, "HIT");
    assert_eq!(client.send("PUT", "/every", &[]).await.status, 200);
    assert_eq!(outcome().await, "MISS");
}

async fn an_extractor_that_refuses_evicts_nothing_whatever_its_status(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    client.get("/every").await;
    assert_eq!(client.send("POST", "/polite", &[]).await.status, 303);
    assert_eq!(client.get("/every").await.outcome(), "HIT");
    assert_eq!(
        client
            .send("POST", "/polite", &[("x-allowed", "")])
            .await
            .status,
        200
    );
    assert_eq!(client.get("/every").await.outcome(), "MISS");
}
