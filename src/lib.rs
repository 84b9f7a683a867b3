#![doc = include_str!("../README.md")]

#[doc = include_str!("../docs/cached.md")]
pub use redis_cache_macros::cached;

#[doc = include_str!("../docs/cache_evict.md")]
pub use redis_cache_macros::cache_evict;

#[doc = include_str!("../docs/cache_put.md")]
pub use redis_cache_macros::cache_put;

#[cfg(feature = "redis")]
pub use redis_cache_runtime::Redis;
pub use redis_cache_runtime::{
    Cache, CacheKey, ConnectionState, Determined, Explanation, KeyPart, KeyWriter, LeaseState,
    PingError, ServerStatus, Settings, SettingsError, Source, Status, StoredEntry, Ttl, Values,
};

#[doc = include_str!("../docs/testing.md")]
pub use redis_cache_runtime::X_REDIS_CACHE;

#[doc = include_str!("../docs/telemetry.md")]
pub mod telemetry {}

#[doc(hidden)]
pub use redis_cache_runtime::__private;
