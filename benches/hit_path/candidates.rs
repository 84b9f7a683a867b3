//! The candidates: their names, and the handlers that answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum_redis_cache::{Cache, Settings, cached};
use bytes::Bytes;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::server::AppState;
use crate::{rivals, shared_mget};

/// The lifetime of entries in seconds: no entry expires while the bench runs.
pub(crate) const TTL: u64 = 3600;
/// The number of entries for which every cache in memory has room.
pub(crate) const CAPACITY: u32 = 100_000;
/// A wide bound for the entries of the cache in memory, which counts bytes.
const CAPACITY_BYTES: usize = 1024 * 1024 * 1024;

/// Defines [`Candidate`] by names and labels.
macro_rules! candidates {
    ($($(#[cfg($condition:meta)])? $name:ident = $label:literal,)+) => {
        /// A server that is measured.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Candidate {
            $($(#[cfg($condition)])? $name,)+
        }

        impl Candidate {
            /// All candidates; the number of each is its index.
            pub(crate) const ALL: &[Self] = &[$($(#[cfg($condition)])? Self::$name,)+];

            /// Returns its letter and its description.
            pub(crate) fn label(self) -> &'static str {
                match self {
                    $($(#[cfg($condition)])? Self::$name => $label,)+
                }
            }
        }
    };
}

// To add a candidate, add a line here and an arm to `Candidate::route`.
candidates! {
    Bare = "(a)  bare handler",
    Get = "(b)  hand-written GET",
    Mget = "(b2) hand-written MGET of 2",
    SharedMget = "(b3) hand-written shared MGET",
    Redis = "(c)  #[cached] on Redis",
    Memory = "(d)  #[cached] in memory",
    Near = "(n)  #[cached] on Redis, near cache",
    #[cfg(feature = "otel")]
    Watched = "(e)  #[cached] on Redis, otel_enabled",
    LayerRedis = "(f)  tower-http-cache on Redis",
    LayerMemory = "(g)  tower-http-cache in memory",
    MemoRedis = "(h)  crate cached on Redis",
    MemoMemory = "(i)  crate cached in memory",
}

impl Candidate {
    /// Returns the route that answers, and the cache in the state of the application. Most candidates
    /// do not use this cache.
    pub(crate) async fn route(self, redis: &str) -> (MethodRouter<AppState>, Cache) {
        let unused = Cache::in_memory;
        match self {
            Self::Bare => (get(bare), unused()),
            Self::Get => (get(by_get), unused()),
            Self::Mget => (get(by_mget), unused()),
            Self::SharedMget => (get(shared_mget::by_shared_mget), unused()),
            Self::Redis => (get(by_attribute), Cache::connect(settings(redis)).unwrap()),
            Self::Memory => (get(by_attribute), Cache::in_memory_with(settings(redis))),
            Self::Near => {
                let settings = settings(redis).near_cache_bytes(CAPACITY_BYTES).unwrap();
                // Under valgrind, rounds take longer, too.
                let settings = settings.near_cache_window(Duration::from_secs(1)).unwrap();
                (get(by_attribute), Cache::connect(settings).unwrap())
            }
            #[cfg(feature = "otel")]
            Self::Watched => {
                crate::server::watch();
                let settings = settings(redis).otel_enabled(true);
                (get(by_attribute), Cache::connect(settings).unwrap())
            }
            Self::LayerRedis => (rivals::layer_on_redis(redis).await, unused()),
            Self::LayerMemory => (rivals::layer_in_memory(), unused()),
            Self::MemoRedis => (get(rivals::memo_on_redis), unused()),
            Self::MemoMemory => (get(rivals::memo_in_memory), unused()),
        }
    }

    /// Returns its label as a cell of a Markdown table, without the letter.
    pub(crate) fn markdown(self) -> String {
        let (_, description) = self.label().split_once(')').unwrap();
        description.trim().replace("#[cached]", "`#[cached]`")
    }
}

fn settings(redis: &str) -> Settings {
    Settings::from_url(redis)
        .unwrap()
        .prefix("bench")
        .unwrap()
        .max_memory_bytes(CAPACITY_BYTES)
        // Under valgrind, replies take longer than the default time budget.
        .socket_timeout(Duration::from_secs(10))
}

/// The fields of every response. `#[cached]` adds all but the first; the others add them themselves.
const FIELDS: [(HeaderName, &str); 4] = [
    (CONTENT_TYPE, "application/json"),
    (ETAG, "W/\"3508d3f7f9e6cacaa4e15f417f2e3009\""),
    (HeaderName::from_static("x-redis-cache"), "HIT"),
    (CACHE_CONTROL, "max-age=3600"),
];

/// The number of times that [`produce`] ran in this process.
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of requests for which the cache had no response; 0 for the bare handler, which
/// does not count.
pub(crate) async fn runs() -> String {
    RUNS.load(Ordering::Relaxed).to_string()
}

/// Does the work that a cache saves.
pub(crate) fn produce(body: Bytes) -> Bytes {
    RUNS.fetch_add(1, Ordering::Relaxed);
    body
}

/// Returns the response of all candidates but `#[cached]`.
pub(crate) fn respond(body: impl IntoResponse) -> Response {
    (FIELDS, body).into_response()
}

async fn bare(Path(_): Path<u64>, State(body): State<Bytes>) -> Response {
    respond(body)
}

async fn by_get(
    Path(id): Path<u64>,
    State(body): State<Bytes>,
    State(mut redis): State<MultiplexedConnection>,
) -> Result<Response, StatusCode> {
    let name = product_name(id);
    let found: Option<Bytes> = redis.get(&name).await.map_err(failed)?;
    found_or_stored(found, &mut redis, &name, body).await
}

/// Reads a second name too, as `#[cached]` must.
async fn by_mget(
    Path(id): Path<u64>,
    State(body): State<Bytes>,
    State(mut redis): State<MultiplexedConnection>,
) -> Result<Response, StatusCode> {
    let name = product_name(id);
    let (found, _): (Option<Bytes>, Bytes) = redis.mget((&name, NONCE)).await.map_err(failed)?;
    found_or_stored(found, &mut redis, &name, body).await
}

/// Returns the name of a product in Redis.
pub(crate) fn product_name(id: u64) -> String {
    format!("bench:product:{id}")
}

/// The second name that [`by_mget`] reads; its value is 16 bytes long.
pub(crate) const NONCE: &str = "bench:nonce";

/// Responds with what was found, or produces the body and stores it.
pub(crate) async fn found_or_stored(
    found: Option<Bytes>,
    redis: &mut MultiplexedConnection,
    name: &str,
    body: Bytes,
) -> Result<Response, StatusCode> {
    if let Some(body) = found {
        return Ok(respond(body));
    }
    let body = produce(body);
    let () = redis.set_ex(name, &body[..], TTL).await.map_err(failed)?;
    Ok(respond(body))
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn failed<E>(_: E) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

#[cached(ttl = 3600)]
async fn by_attribute(Path(_): Path<u64>, State(body): State<Bytes>) -> Response {
    ([(CONTENT_TYPE, "application/json")], produce(body)).into_response()
}
