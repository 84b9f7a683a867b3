//! Handlers whose names, crates, attributes or surroundings are unusual.

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_redis_cache::{cache_evict, cached};
use serde::Deserialize;

use crate::support::App;

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
pub(super) async fn Expected(Path(mut text): Path<String>) -> Json<usize> {
    Json(text.len())
}

pub(super) fn router() -> Router<App> {
    Router::new()
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
}
