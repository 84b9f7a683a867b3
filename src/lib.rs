#![doc = include_str!("../README.md")]

pub use redis_cache_macros::{cache_evict, cache_put, cached};
pub use redis_cache_runtime::{Cache, Settings, SettingsError};

#[doc(hidden)]
pub use redis_cache_runtime::__private;
