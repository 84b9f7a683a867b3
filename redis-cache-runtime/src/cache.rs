//! The handle that applications hold.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use bytes::Bytes;

use crate::entry::Entry;
use crate::fault::{Fault, FaultLog};
use crate::http::directives::RequestDirectives;
use crate::key::{Address, CacheKey, Eviction};
use crate::settings::Settings;
#[cfg(feature = "redis")]
use crate::settings::SettingsError;
use crate::store::{Claim, Lease, LeaseTimes, Store};

/// A cache: put it in the state of an application, and the attributes on its handlers use it.
///
/// It is cheap to clone, and it is an extractor itself. A handler with one of the attributes needs
/// a state that a `Cache` can be taken from (by [`FromRef`]), which the compiler checks:
///
/// ```
/// use axum::extract::FromRef;
/// use redis_cache_runtime::{Cache, Settings};
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
/// # Ok::<(), redis_cache_runtime::SettingsError>(())
/// ```
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    faults: Arc<FaultLog>,
    default_ttl: Duration,
    lease_ttl: Duration,
    max_body_bytes: usize,
    request_directives: bool,
}

impl Cache {
    /// A cache on the Redis that the settings name. It does not connect before it has to, so it
    /// starts without Redis, and it reconnects by itself.
    ///
    /// # Errors
    ///
    /// The connection settings contradict each other.
    #[cfg(feature = "redis")]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a cache is made once, from its own settings"
    )]
    pub fn connect(settings: Settings) -> Result<Self, SettingsError> {
        let faults = Arc::new(FaultLog::default());
        let store = crate::store::RedisStore::new(&settings, Arc::clone(&faults))?;
        Ok(Self::new(&settings, Store::Redis(store), faults))
    }

    /// A cache in this process, with the same semantics as one on Redis and default settings.
    ///
    /// ```
    /// let cache = redis_cache_runtime::Cache::in_memory();
    /// ```
    #[cfg(feature = "memory")]
    pub fn in_memory() -> Self {
        Self::in_memory_with(Settings::default())
    }

    /// A cache in this process. Of the settings, those that say where Redis is do not matter.
    #[cfg(feature = "memory")]
    #[allow(clippy::needless_pass_by_value, reason = "like `connect`")]
    pub fn in_memory_with(settings: Settings) -> Self {
        let store = crate::store::MemoryStore::new(&settings.prefix, settings.max_memory_bytes);
        Self::new(&settings, Store::Memory(store), Arc::default())
    }

    fn new(settings: &Settings, store: Store, faults: Arc<FaultLog>) -> Self {
        let inner = Inner {
            store,
            faults,
            default_ttl: settings.default_ttl,
            lease_ttl: settings.lease_ttl,
            max_body_bytes: settings.max_body_bytes,
            request_directives: settings.request_directives,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// How many operations failed so far because the store was unreachable, slow or refused them.
    /// The requests they belonged to were answered by their handlers.
    pub fn faults(&self) -> u64 {
        self.inner.faults.count()
    }

    pub(crate) fn max_body_bytes(&self) -> usize {
        self.inner.max_body_bytes
    }

    /// The freshness lifetime of a route's responses; `None`: no expiry.
    pub(crate) fn ttl(&self, declared: Option<Duration>) -> Option<Duration> {
        Some(declared.unwrap_or(self.inner.default_ttl)).filter(|ttl| !ttl.is_zero())
    }

    /// The directives of a request, if requests are obeyed at all.
    pub(crate) fn directives(&self, fields: &HeaderMap) -> RequestDirectives {
        if self.inner.request_directives {
            RequestDirectives::of(fields)
        } else {
            RequestDirectives::default()
        }
    }

    /// The entry at an address, if there is one and every one of its stamps is current. The only
    /// way to an entry.
    pub(crate) async fn lookup(&self, at: &Address) -> Result<Option<Entry>, Fault> {
        let found = self.recorded(self.inner.store.get(at).await)?;
        let entry = found.entry.and_then(Entry::parse);
        Ok(entry.filter(|entry| entry.is_stamped_with(&found.nonces)))
    }

    /// Takes the right to fill an address with a response of that lifetime; `None` when another
    /// fill has it.
    pub(crate) async fn lease(
        &self,
        at: &Address,
        claim: Claim,
        lifetime: Option<Duration>,
    ) -> Result<Option<Lease>, Fault> {
        let times = LeaseTimes {
            lease: self.inner.lease_ttl,
            entry: lifetime,
        };
        self.recorded(self.inner.store.lease(at, claim, times).await)
    }

    /// Stores an entry under a lease; `false` when the lease was lost.
    pub(crate) async fn fill(
        &self,
        at: &Address,
        lease: &Lease,
        entry: Bytes,
        lifetime: Option<Duration>,
    ) -> Result<bool, Fault> {
        self.recorded(self.inner.store.put(at, lease, entry, lifetime).await)
    }

    /// Makes the nonces of an address outlast an entry of that lifetime that is stored next.
    pub(crate) async fn prolong(
        &self,
        at: &Address,
        lifetime: Option<Duration>,
    ) -> Result<(), Fault> {
        let ttl = lifetime.map(|lifetime| lifetime.saturating_add(self.inner.lease_ttl));
        self.recorded(self.inner.store.prolong(at, ttl).await)
    }

    pub(crate) async fn release(&self, at: &Address, lease: &Lease) -> Result<(), Fault> {
        self.recorded(self.inner.store.release(at, lease).await)
    }

    /// Evicts the entry of a key, which a handler names: `get_product::key(42)`.
    ///
    /// When this is done, no request that starts later is answered with the old entry, in this
    /// process or another. If the store could not be told, that is logged and counted as a fault.
    ///
    /// ```
    /// # use axum_redis_cache::{Cache, cached};
    /// # use axum::extract::Path;
    /// #[cached(ttl = 300, key = "product:{id}")]
    /// async fn get_product(Path(id): Path<u64>) -> String {
    ///     format!("product {id}")
    /// }
    ///
    /// async fn sold_out(cache: &Cache, id: u64) {
    ///     cache.evict(get_product::key(id)).await;
    /// }
    /// ```
    pub async fn evict(&self, key: CacheKey) {
        // The fault is recorded.
        let _ = self.remove(&[Eviction::Key(key)]).await;
    }

    /// Evicts. The only way out for an entry before its time.
    pub(crate) async fn remove(&self, evictions: &[Eviction]) -> Result<(), Fault> {
        self.recorded(self.inner.store.remove(evictions).await)
    }

    fn recorded<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.inspect_err(|fault| self.inner.faults.record(fault))
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
            .field("store", &self.inner.store)
            .finish_non_exhaustive()
    }
}
