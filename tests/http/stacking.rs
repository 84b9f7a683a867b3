//! Other attributes above and below ours, on every kind of handler.
#![deny(warnings, clippy::pedantic)]
#![allow(
    clippy::unused_async,
    reason = "`debug_handler` repeats the bodies, which need no await"
)]

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, debug_handler};
use axum_redis_cache::{cache_evict, cache_put, cached};
use tracing::instrument;

use crate::support::{App, Store, on_every_store, serve};

mod debug_above {
    use super::*;

    #[debug_handler]
    #[cached(ttl = 30, key = "debug-above:{id}")]
    pub(super) async fn read(Path(id): Path<u8>, State(app): State<App>) -> Response {
        let _ = id;
        app.run().await
    }

    #[debug_handler(state = App)]
    #[cached(ttl = 30)]
    pub(super) async fn state_only(State(app): State<App>) -> Response {
        app.run().await
    }

    #[debug_handler(state = App)]
    #[cache_put(read(id))]
    pub(super) async fn put(Path(id): Path<u8>, Json(mut text): Json<String>) -> String {
        text.push_str(&id.to_string());
        text
    }

    #[debug_handler(state = App)]
    #[cache_evict(read(r#type))]
    pub(super) async fn evict(Path(r#type): Path<u8>) -> StatusCode {
        StatusCode::from_u16(200 + u16::from(r#type)).unwrap_or_default()
    }
}

mod debug_below {
    use super::*;

    #[cached(ttl = 30, key = "debug-below:{id}")]
    #[debug_handler]
    pub(super) async fn read(Path(id): Path<u8>, State(app): State<App>) -> Response {
        let _ = id;
        app.run().await
    }

    /// Here the state cannot be told, and is not hidden either.
    #[cached(ttl = 30)]
    #[debug_handler]
    pub(super) async fn state_only(State(app): State<App>) -> Response {
        app.run().await
    }

    #[cached(ttl = 30)]
    #[debug_handler(state = App)]
    pub(super) async fn nothing() -> &'static str {
        "nothing"
    }

    #[cache_put(read(id))]
    #[debug_handler(state = App)]
    pub(super) async fn put(Path(id): Path<u8>, Json(mut text): Json<String>) -> String {
        text.push_str(&id.to_string());
        text
    }

    #[cache_evict(read(id))]
    #[debug_handler(state = App)]
    pub(super) async fn evict(Path(id): Path<u8>) -> StatusCode {
        let _ = id;
        StatusCode::OK
    }
}

mod utoipa_above {
    use super::*;

    #[utoipa::path(get, path = "/{id}", params(("id" = u8, Path)), responses((status = 200)))]
    #[cached(ttl = 30, key = "utoipa-above:{id}")]
    pub(super) async fn read(Path(id): Path<u8>, State(app): State<App>) -> Response {
        let _ = id;
        app.run().await
    }

    #[utoipa::path(put, path = "/{id}", params(("id" = u8, Path)), responses((status = 200)))]
    #[cache_put(read(id))]
    pub(super) async fn put(Path(id): Path<u8>, Json(text): Json<String>) -> String {
        let _ = id;
        text
    }

    #[utoipa::path(delete, path = "/{id}", params(("id" = u8, Path)), responses((status = 200)))]
    #[cache_evict(read(id))]
    pub(super) async fn evict(Path(id): Path<u8>) -> StatusCode {
        let _ = id;
        StatusCode::OK
    }
}

/// The parameters have no place of their own: it is read from the signature.
mod documented {
    use super::*;

    #[derive(serde::Deserialize, utoipa::IntoParams)]
    pub(super) struct Search {
        page: u8,
    }

    #[utoipa::path(get, path = "/books", params(Search), responses((status = 200)))]
    #[cached(ttl = 30)]
    pub(super) async fn books(Query(Search { page }): Query<Search>) -> String {
        page.to_string()
    }

    #[derive(utoipa::OpenApi)]
    #[openapi(paths(books))]
    pub(super) struct Document;
}

#[test]
fn utoipa_documents_the_function_as_it_is_written() {
    let document = <documented::Document as utoipa::OpenApi>::openapi();
    let document = serde_json::to_value(&document).unwrap_or_default();
    let parameter = &document["paths"]["/books"]["get"]["parameters"][0];
    assert_eq!(
        (&parameter["name"], &parameter["in"]),
        (&"page".into(), &"query".into())
    );
}

mod instrument_above {
    use super::*;

    /// The span is around the handler only, and sees its `Result`.
    #[instrument(err, ret(level = "debug"), skip(app))]
    #[cached(ttl = 30, key = "instrument-above:{id}")]
    pub(super) async fn read(Path(id): Path<u8>, State(app): State<App>) -> Result<String, String> {
        let _ = app.clone().run().await;
        if id == 0 {
            Err("zero".to_owned())
        } else {
            Ok(format!("run {}", app.runs() - 1))
        }
    }

    #[instrument]
    #[cache_put(read(id))]
    pub(super) async fn put(Path(id): Path<u8>, Json(text): Json<String>) -> String {
        let _ = id;
        text
    }

    #[instrument(fields(id = %id))]
    #[cache_evict(read(id))]
    pub(super) async fn evict(Path(id): Path<u8>) -> StatusCode {
        StatusCode::OK
    }
}

mod instrument_below {
    use super::*;

    /// The span is around the lookup too.
    #[cached(ttl = 30, key = "instrument-below:{id}")]
    #[instrument(skip(app))]
    pub(super) async fn read(Path(id): Path<u8>, State(app): State<App>) -> Response {
        let _ = id;
        app.run().await
    }

    #[cache_put(read(id))]
    #[instrument(skip_all)]
    pub(super) async fn put(Path(id): Path<u8>, Json(text): Json<String>) -> String {
        let _ = id;
        text
    }

    #[cache_evict(read(id))]
    #[instrument]
    pub(super) async fn evict(Path(id): Path<u8>) -> StatusCode {
        let _ = id;
        StatusCode::OK
    }
}

/// All of them, in the order that the documentation recommends.
mod all {
    use super::*;

    #[derive(serde::Deserialize)]
    pub(super) struct Page {
        #[serde(default)]
        page: u8,
    }

    #[utoipa::path(get, path = "/{id}", params(("id" = u8, Path)), responses((status = 200)))]
    #[instrument(err(Debug), skip_all)]
    #[cached(ttl = 30, key = "all:{id}:{page}")]
    #[debug_handler(state = App)]
    #[deprecated]
    #[must_use]
    pub(super) async fn read(
        State(mut app): State<App>,
        Path(id): Path<u8>,
        Query(Page { page }): Query<Page>,
    ) -> Result<Response, StatusCode> {
        let _ = (id, page);
        app = app.clone();
        Ok(app.run().await)
    }

    #[cache_evict(group = "other", read(id, 0), always)]
    #[cache_put(read(id, 1))]
    #[cache_put(read(id, 2))]
    #[cache_evict(read(id, 3))]
    #[debug_handler(state = App)]
    #[allow(deprecated)]
    pub(super) async fn write(Path(id): Path<u8>, body: String) -> String {
        format!("{body}{id}")
    }
}

#[allow(deprecated)]
fn router(app: App) -> Router {
    macro_rules! crud {
        ($($name:ident),*) => {
            Router::new()$(.route(
                concat!("/", stringify!($name), "/{id}"),
                get($name::read).put($name::put).delete($name::evict),
            ))*
        };
    }
    crud!(
        debug_above,
        debug_below,
        utoipa_above,
        instrument_above,
        instrument_below
    )
    .route("/state-above", get(debug_above::state_only))
    .route("/state-below", get(debug_below::state_only))
    .route("/nothing", get(debug_below::nothing))
    .route("/books", get(documented::books))
    .route("/all/{id}", get(all::read))
    .route("/all/{id}", post(all::write))
    .with_state(app)
}

on_every_store!(
    every_order_reads_puts_and_evicts,
    arguments_are_counted_as_they_are_written,
    attributes_of_writes_stack,
);

async fn every_order_reads_puts_and_evicts(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let modules = [
        "debug_above",
        "debug_below",
        "utoipa_above",
        "instrument_above",
        "instrument_below",
    ];
    for (run, module) in modules.into_iter().enumerate() {
        let path = format!("/{module}/1");
        let (run, first) = (2 * run, client.get(&path).await);
        assert_eq!(
            (first.outcome(), first.text()),
            ("MISS", &*format!("run {run}"))
        );
        assert_eq!(client.get(&path).await.outcome(), "HIT", "{module}");
        let json = [("content-type", "application/json")];
        let put = client.send_body("PUT", &path, &json, "\"put\"").await;
        assert_eq!(put.outcome(), "STORED", "{module}");
        let hit = client.get(&path).await;
        assert_eq!((hit.outcome(), hit.text()), ("HIT", put.text()), "{module}");
        assert!(client.send("DELETE", &path, &[]).await.status.is_success());
        assert_eq!(
            client.send("HEAD", &path, &[]).await.outcome(),
            "MISS",
            "{module}"
        );
    }
}

async fn arguments_are_counted_as_they_are_written(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for outcome in ["MISS", "HIT"] {
        for path in ["/state-above", "/state-below", "/nothing"] {
            assert_eq!(client.get(path).await.outcome(), outcome, "{path}");
        }
    }
}

async fn attributes_of_writes_stack(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let outcomes = async || {
        let mut outcomes = Vec::new();
        for page in 0..5 {
            let reply = client.get(&format!("/all/1?page={page}")).await;
            outcomes.push(format!("{} {}", reply.outcome(), reply.text()));
        }
        outcomes
    };
    let before = [
        "MISS run 0",
        "MISS run 1",
        "MISS run 2",
        "MISS run 3",
        "MISS run 4",
    ];
    assert_eq!(outcomes().await, before);
    let reply = client.send_body("POST", "/all/1", &[], "new").await;
    assert_eq!((reply.outcome(), reply.text()), ("EVICTED", "new1"));
    let after = [
        "MISS run 5",
        "HIT new1",
        "HIT new1",
        "MISS run 6",
        "HIT run 4",
    ];
    assert_eq!(outcomes().await, after);
}
