//! The runtime of `axum-redis-cache`. Depend on that crate instead: it re-exports every public item.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[doc(hidden)]
pub mod __private;
mod attribute;
mod cache;
mod engine;
mod http;
mod key;
#[cfg(test)]
mod model_checker;
mod observe;
mod serve;
mod settings;
mod store;

pub use attribute::determined::{Determined, ReadsRequest, Source};
pub use attribute::identifies::IdentifiesCaller;
pub use cache::{Cache, Ttl, Values};
pub use http::fields::X_REDIS_CACHE;
pub use key::CacheKey;
pub use key::part::{KeyPart, KeyWriter};
pub use key::reader::UrlReader;
pub use observe::PingError;
pub use observe::status::{ConnectionState, NearCacheStatus, ServerStatus, Status};
#[cfg(feature = "credentials-provider")]
pub use redis::{BasicAuth, StreamingCredentialsProvider};
pub use serve::explanation::{Explanation, LeaseState, StoredEntry};
pub use serve::response_parts::{DoNotStore, Groups};
pub use settings::{CertReqs, Settings, SettingsError};
#[cfg(feature = "redis")]
pub use store::Redis;
