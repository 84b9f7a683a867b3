//! The public [`Cache`]: the handle that an application holds in its state.

mod connection;
mod imperative;
#[cfg(feature = "redis")]
mod redis;
mod values;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use crate::engine::Engine;
use crate::observe::Observer;
use crate::observe::fault::FaultLog;
use crate::settings::Settings;
#[cfg(feature = "redis")]
use crate::settings::SettingsError;
use crate::store::Store;

pub use values::{Ttl, Values};

/// A cache. Put it in the state of an application: the attributes on its handlers use it from
/// there.
///
/// A cache is cheap to clone, and it is an extractor. A handler with one of the attributes needs a
/// state that implements [`FromRef`] for `Cache`, which the compiler checks. The state may be
/// behind an [`Arc`]:
///
/// ```
/// use axum::extract::FromRef;
/// use axum_redis_cache::{Cache, Settings};
///
/// #[derive(Clone)]
/// struct AppState {
///     cache: Cache,
/// }
///
/// impl FromRef<AppState> for Cache {
///     fn from_ref(state: &AppState) -> Self {
///         state.cache.clone()
///     }
/// }
///
/// // Redis need not be up: the connection is opened by the first request that needs it.
/// let cache = Cache::connect(Settings::from_url("redis://127.0.0.1:6379")?)?;
/// let state = AppState { cache };
/// # Ok::<(), axum_redis_cache::SettingsError>(())
/// ```
#[derive(Clone)]
pub struct Cache {
    engine: Engine,
}

impl Cache {
    /// Creates a cache on the Redis that the settings name. The first operation opens the
    /// connection, so the application can start without Redis. Lost connections are opened again.
    ///
    /// # Errors
    ///
    /// Fails if settings contradict each other, need a feature that this build lacks, or name a
    /// file that cannot be used.
    #[cfg(feature = "redis")]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a cache is made once, from its own settings"
    )]
    pub fn connect(settings: Settings) -> Result<Self, SettingsError> {
        let faults = Arc::new(FaultLog::new(Observer::new(&settings)));
        let store = crate::store::RedisStore::new(&settings, Arc::clone(&faults))?;
        Ok(Self::new(&settings, Store::Redis(store), faults))
    }

    /// Creates a cache in the memory of this process, with default settings and the same semantics
    /// as a cache on Redis. Two such caches share nothing, so each test can have its own.
    ///
    /// ```
    /// let cache = axum_redis_cache::Cache::in_memory();
    /// ```
    #[cfg(feature = "memory")]
    pub fn in_memory() -> Self {
        Self::in_memory_with(Settings::default())
    }

    /// Creates a cache in the memory of this process. The settings of the connection to Redis are
    /// ignored.
    #[cfg(feature = "memory")]
    #[allow(clippy::needless_pass_by_value, reason = "like `connect`")]
    pub fn in_memory_with(settings: Settings) -> Self {
        let store = crate::store::MemoryStore::new(&settings.prefix, settings.max_memory_bytes);
        let faults = Arc::new(FaultLog::new(Observer::new(&settings)));
        Self::new(&settings, Store::Memory(store), faults)
    }

    /// Creates a cache that stores nothing. Every handler runs, and its response has
    /// `X-Redis-Cache: BYPASS`. No value is found, evictions do nothing, and no fault is counted.
    /// Use it to turn caching off, and to test an application without a cache.
    ///
    /// ```
    /// # use axum_redis_cache::Cache;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let cache = Cache::disabled();
    /// cache.set("answer", &42).await;
    /// assert_eq!(cache.get::<u32>("answer").await, None);
    /// # });
    /// ```
    pub fn disabled() -> Self {
        Self::new(&Settings::default(), Store::Disabled, Arc::default())
    }

    fn new(settings: &Settings, store: Store, faults: Arc<FaultLog>) -> Self {
        Self {
            engine: Engine::new(settings, store, faults),
        }
    }

    /// Creates a cache on a store of the model checker.
    #[cfg(test)]
    pub(crate) fn on(store: Store) -> Self {
        Self::new(&Settings::default(), store, Arc::default())
    }

    #[cfg(test)]
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn into_engine(self) -> Engine {
        self.engine
    }

    /// Returns a view of the cache that shares its connections and settings, but no entries:
    /// storing and evicting through one of them does not affect the other. Only
    /// [`clear`](Self::clear) of the cache itself evicts everything, in every scope.
    ///
    /// Use it if two routers mount the same handlers at the same paths with different states:
    ///
    /// ```
    /// # use axum_redis_cache::Cache;
    /// let cache = Cache::in_memory();
    /// let (german, english) = (cache.scoped("de"), cache.scoped("en"));
    /// # let _ = (german, english);
    /// ```
    #[must_use]
    pub fn scoped(&self, name: impl AsRef<str>) -> Self {
        Self {
            engine: self.engine.scoped(name.as_ref()),
        }
    }

    /// Returns the number of operations that have failed because the store was unreachable or slow,
    /// or refused them. The handlers answered these requests.
    pub fn faults(&self) -> u64 {
        self.engine.client().faults()
    }

    /// Returns the number of pending evictions: those that the store has not taken yet. Until it
    /// has, this process does not reuse the entries that they concern.
    pub fn pending_evictions(&self) -> usize {
        self.engine.client().pending_evictions()
    }

    /// Waits, for five seconds at most, for background work: runs of handlers whose clients have
    /// disconnected, and pending evictions. Logs a warning if some of it is unfinished then. Call
    /// it when the server has stopped:
    ///
    /// ```
    /// # use axum_redis_cache::Cache;
    /// # async fn serve(cache: Cache) -> std::io::Result<()> {
    /// // axum::serve(listener, app).await?;
    /// cache.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self) {
        self.engine.shutdown().await;
    }
}

/// Takes the cache from a state behind an [`Arc`], so that `State<Arc<AppState>>` needs no wrapper.
impl<S> FromRef<Arc<S>> for Cache
where
    Self: FromRef<S>,
{
    fn from_ref(state: &Arc<S>) -> Self {
        Self::from_ref(&**state)
    }
}

impl<S> FromRequestParts<S> for Cache
where
    Self: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::from_ref(state))
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}
