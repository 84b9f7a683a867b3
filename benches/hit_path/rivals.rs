//! Other crates that cache, set up as their documentation shows.

use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use cached::RedisCacheError;
use cached::macros::concurrent_cached;
use http_body_util::Full;
use redis::aio::ConnectionManagerConfig;
use tower::util::AndThenLayer;
use tower_http_cache::layer::BoxError;
use tower_http_cache::prelude::{CacheBackend, CacheLayer, InMemoryBackend, RedisBackend};

use crate::candidates::{CAPACITY, TTL, failed, produce, respond};
use crate::server::AppState;

/// Where the crate `cached` looks for the URL of Redis.
pub(crate) const REDIS_VARIABLE: &str = "CACHED_REDIS_CONNECTION_STRING";

pub(crate) async fn layer_on_redis(redis: &str) -> MethodRouter<AppState> {
    // Under valgrind, replies take longer than the default timeout.
    let config = ConnectionManagerConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let client = redis::Client::open(redis).unwrap();
    let connection = client.get_connection_manager_with_config(config).await;
    behind_layer(RedisBackend::new(connection.unwrap()))
}

pub(crate) fn layer_in_memory() -> MethodRouter<AppState> {
    behind_layer(InMemoryBackend::new(CAPACITY.into()))
}

fn behind_layer(backend: impl CacheBackend) -> MethodRouter<AppState> {
    let cache = CacheLayer::builder(backend)
        .ttl(Duration::from_secs(TTL))
        .build();
    // axum asks for a response in place of the errors of a layer.
    let errors = HandleErrorLayer::new(async |error: BoxError| failed(error));
    get(product).layer((errors, cache, AndThenLayer::new(shareable)))
}

/// Turns the body of a response into one that is `Sync`, which the cache requires and axum's is not.
/// This costs nothing in a HIT, because it happens before the cache stores the response.
async fn shareable(response: Response) -> Result<axum::http::Response<Full<Bytes>>, BoxError> {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await?;
    Ok(axum::http::Response::from_parts(parts, Full::new(body)))
}

async fn product(Path(_): Path<u64>, State(body): State<Bytes>) -> Response {
    respond(produce(body))
}

pub(crate) async fn memo_on_redis(
    Path(id): Path<u64>,
    State(body): State<Bytes>,
) -> Result<Response, StatusCode> {
    let body = product_on_redis(id, body).await.map_err(failed)?;
    Ok(respond(body))
}

/// Returns a text, because `cached` serializes bytes as a list of numbers.
#[concurrent_cached(
    redis = true,
    ttl_secs = 3600,
    key = "u64",
    convert = "{ id }",
    map_error = "|error| error"
)]
#[allow(unused_variables, reason = "the key")]
async fn product_on_redis(id: u64, body: Bytes) -> Result<String, RedisCacheError> {
    Ok(String::from_utf8(produce(body).into()).unwrap())
}

pub(crate) async fn memo_in_memory(Path(id): Path<u64>, State(body): State<Bytes>) -> Response {
    respond(product_in_memory(id, body).await)
}

/// Returns bytes, because a copy of them shares their memory.
#[concurrent_cached(max_size = 100_000, ttl_secs = 3600, key = "u64", convert = "{ id }")]
#[allow(unused_variables, reason = "the key")]
async fn product_in_memory(id: u64, body: Bytes) -> Bytes {
    produce(body)
}
