// Of two definitions of a link the first counts: the README's lead to files, these to pages.
//! [quick_start]: crate::guide::quick_start
//! [keys]: crate::guide::keys
//! [groups]: crate::guide::groups
//! [http]: crate::guide::http
//! [users]: crate::guide::users
//! [write_through]: crate::guide::write_through
//! [values]: crate::guide::values
//! [failures]: crate::guide::failures
//! [deployment]: crate::guide::deployment
//! [settings]: crate::Settings::from_env
//! [telemetry]: crate::guide::telemetry
//! [testing]: crate::guide::testing
//! [migrating]: crate::guide::migrating
//! [cached]: macro@crate::cached
//! [cache_evict]: macro@crate::cache_evict
//! [cache_put]: macro@crate::cache_put
#![doc = include_str!("../README.md")]

#[cfg(doc)]
pub mod guide;

#[doc = include_str!("../docs/cached.md")]
pub use redis_cache_macros::cached;

#[doc = include_str!("../docs/cache_evict.md")]
pub use redis_cache_macros::cache_evict;

#[doc = include_str!("../docs/cache_put.md")]
pub use redis_cache_macros::cache_put;

#[cfg(feature = "redis")]
pub use redis_cache_runtime::Redis;
pub use redis_cache_runtime::{
    Cache, CacheKey, ConnectionState, Determined, Explanation, IdentifiesCaller, KeyPart,
    KeyWriter, LeaseState, PingError, ServerStatus, Settings, SettingsError, Source, Status,
    StoredEntry, Ttl, UrlReader, Values, X_REDIS_CACHE,
};

#[doc(hidden)]
pub use redis_cache_runtime::__private;
