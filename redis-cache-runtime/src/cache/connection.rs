//! The methods of [`Cache`] about its connections: their state, and their use for other commands.

use super::Cache;
use crate::observe::PingError;
use crate::observe::status::Status;
#[cfg(feature = "redis")]
use crate::store::Redis;

impl Cache {
    /// Sends `PING` to every server that the cache uses, and opens missing connections. It takes
    /// the time budget of one operation at most. A cache in memory always succeeds.
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
    /// Fails if a server did not answer; the error names the server and the reason.
    pub async fn ping(&self) -> Result<(), PingError> {
        #[cfg(feature = "redis")]
        if let Some(store) = self.engine.client().store().in_redis() {
            return store.ping().await;
        }
        Ok(())
    }

    /// Returns the connection that the extractor [`Redis`] gives to handlers, for code outside of
    /// handlers.
    #[cfg(feature = "redis")]
    pub fn redis(&self) -> Redis {
        let store = self.engine.client().store().in_redis();
        store.map_or_else(Redis::none, crate::store::RedisStore::connection)
    }

    /// Returns the state of the connections, without asking the servers.
    pub fn status(&self) -> Status {
        self.engine.status()
    }
}
