#![doc = include_str!("../README.md")]

/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use axum::extract::{FromRef, Path};
/// use axum::{Router, routing::get};
/// use axum_redis_cache::{Cache, cached};
///
/// #[derive(Clone, FromRef)]
/// struct AppState {
///     cache: Cache,
/// }
///
/// const TTL: Duration = Duration::from_secs(300);
///
/// #[cached(ttl = TTL, max_age = "30s", group = "greetings", vary("accept-language"))]
/// async fn greet(Path(name): Path<String>) -> String {
///     format!("Hello, {name}!")
/// }
///
/// let state = AppState { cache: Cache::in_memory() };
/// let app: Router = Router::new().route("/hello/{name}", get(greet)).with_state(state);
/// ```
pub use redis_cache_macros::cached;

/// # Example
///
/// ```
/// use axum::{Router, routing::post};
/// use axum_redis_cache::{Cache, cache_evict};
///
/// #[cache_evict(key = "/greetings", group = ["greetings", "home"])]
/// async fn forget() {}
///
/// let app: Router = Router::new().route("/forget", post(forget)).with_state(Cache::in_memory());
/// ```
pub use redis_cache_macros::cache_evict;

/// # Example
///
/// ```
/// use axum::{Router, extract::Path, routing::put};
/// use axum_redis_cache::{Cache, cache_put};
///
/// #[cache_put(ttl = 300, group = "greetings")]
/// async fn greet_otherwise(Path(name): Path<String>, greeting: String) -> String {
///     format!("{greeting}, {name}!")
/// }
///
/// let app: Router =
///     Router::new().route("/hello/{name}", put(greet_otherwise)).with_state(Cache::in_memory());
/// ```
pub use redis_cache_macros::cache_put;

pub use redis_cache_runtime::{Cache, Settings, SettingsError};

#[doc(hidden)]
pub use redis_cache_runtime::__private;
