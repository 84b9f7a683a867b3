//! Shapes of handlers from real code: all of them are cached, and callable as they are written.
#![deny(warnings, clippy::pedantic, clippy::panic, clippy::unwrap_used)]
#![deny(clippy::items_after_statements, clippy::used_underscore_binding)]

mod any_method;
mod surroundings;

use std::cell::Cell;
use std::fmt::Display;

use axum::extract::{FromRef, FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
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

/// An extractor in a tuple counts as if it stood alone.
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

#[cache_evict(upper_case(b), any_method::every_method(format!("/{a}")))]
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

#[cached(ttl = 30)]
#[expect(dead_code)]
async fn not_mounted() {}

/// Another handler calls it as it is written, with its own types.
async fn calls_others() -> Result<String, StatusCode> {
    let Json(runs) = alias::uncached(State(App::new(
        axum_redis_cache::Cache::in_memory(),
        |_| async {},
    )))
    .await?;
    let Json(number) = surroundings::Expected::uncached(Path("four".to_owned())).await;
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
        .merge(surroundings::router())
        .merge(any_method::router())
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
    an_entry_that_a_write_puts_and_evicts_is_evicted,
    the_function_is_callable_as_it_is_written,
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

async fn an_entry_that_a_write_puts_and_evicts_is_evicted(store: Store) {
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
