//! The store itself: whether it is there, and how to use it for other things.

use super::Cache;
use crate::status::{PingError, Status};
#[cfg(feature = "redis")]
use crate::store::Redis;
use crate::store::Store;

impl Cache {
    /// Asks every server that the cache uses whether it is there, and opens the connections to them
    /// where there are none. It takes the time budget of an operation at most. A cache in memory is
    /// always there.
    ///
    /// ```
    /// use redis_cache_runtime::Cache;
    ///
    /// async fn warm_up(cache: &Cache) {
    ///     if let Err(error) = cache.ping().await {
    ///         eprintln!("starting without Redis: {error}");
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Names a server that did not answer, and why.
    pub async fn ping(&self) -> Result<(), PingError> {
        match &self.inner.store {
            #[cfg(feature = "redis")]
            Store::Redis(store) => store.ping().await,
            #[allow(unreachable_patterns, reason = "depends on the features")]
            _ => Ok(()),
        }
    }

    /// The connection that the extractor [`Redis`] gives, outside of handlers.
    #[cfg(feature = "redis")]
    pub fn redis(&self) -> Redis {
        Redis::of_store(match &self.inner.store {
            Store::Redis(store) => Some(store),
            #[allow(unreachable_patterns, reason = "depends on the features")]
            _ => None,
        })
    }

    /// How the connections of the cache are doing, without asking the servers.
    pub fn status(&self) -> Status {
        let servers = match &self.inner.store {
            #[cfg(feature = "redis")]
            Store::Redis(store) => store.servers(),
            #[allow(unreachable_patterns, reason = "depends on the features")]
            _ => Vec::new(),
        };
        Status {
            servers,
            pending_evictions: self.pending_evictions(),
            faults: self.faults(),
        }
    }
}
