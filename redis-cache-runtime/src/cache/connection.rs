//! The connections to the store: their state, and their use for other commands.

use super::Cache;
use crate::observe::status::{PingError, Status};
#[cfg(feature = "redis")]
use crate::store::Redis;

impl Cache {
    /// Asks every server that the cache uses whether it is there, and opens the connections to them
    /// where there are none. It takes the time budget of an operation at most. A cache in memory is
    /// always there.
    ///
    /// ```
    /// use axum_redis_cache::Cache;
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
        #[cfg(feature = "redis")]
        if let Some(store) = self.engine.client().store().in_redis() {
            return store.ping().await;
        }
        Ok(())
    }

    /// The connection that the extractor [`Redis`] gives, outside of handlers.
    #[cfg(feature = "redis")]
    pub fn redis(&self) -> Redis {
        Redis::of_store(self.engine.client().store().in_redis())
    }

    /// Returns the state of the connections, without asking the servers.
    pub fn status(&self) -> Status {
        self.engine.status()
    }
}
