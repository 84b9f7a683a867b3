//! The handle that applications hold.

mod imperative;
mod protocol;
mod store;
mod values;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use tokio::time::{sleep, timeout};

use crate::background::Background;
use crate::backlog::Backlog;
use crate::fault::FaultLog;
use crate::http::directives::RequestDirectives;
use crate::key::{CacheKey, Groups, Scope};
use crate::observe::Observer;
use crate::route::Route;
use crate::serve::copies::Copies;
use crate::serve::fill::BEAT;
use crate::serve::flight::Flights;
use crate::serve::turns::Turns;
#[cfg(feature = "redis")]
use crate::settings::SettingsError;
use crate::settings::{LONGEST, Settings};
use crate::store::Store;
use crate::witnessed::Witnessed;

pub use values::{Ttl, Values};

/// How long what the store did not take waits for the next attempt, at first and later.
const FIRST_RETRY: Duration = Duration::from_millis(20);
pub(crate) const LAST_RETRY: Duration = Duration::from_millis(250);

/// How long `shutdown` waits for what is left to do.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// A cache: put it in the state of an application, and the attributes on its handlers use it.
///
/// It is cheap to clone, and it is an extractor itself. A handler with one of the attributes needs
/// a state that a `Cache` can be taken from (by [`FromRef`]), which the compiler checks; the state may
/// be behind an [`Arc`]:
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
    inner: Arc<Inner>,
    /// The scope of its entries and groups, if it is a view of another cache.
    scope: Option<Scope>,
}

struct Inner {
    store: Store,
    faults: Arc<FaultLog>,
    flights: Arc<Flights>,
    turns: Arc<Turns>,
    background: Background,
    witnessed: Witnessed,
    backlog: Backlog,
    /// The time for which the answer to a write is held whose evictions the store has not taken.
    held: Option<Duration>,
    default_ttl: Duration,
    lease_ttl: Duration,
    max_body_bytes: usize,
    copies: Arc<Copies>,
    request_directives: bool,
    cache_status: bool,
    cache_groups: bool,
}

impl Cache {
    /// A cache on the Redis that the settings name. It does not connect before it has to, so it
    /// starts without Redis, and it reconnects by itself.
    ///
    /// # Errors
    ///
    /// Settings contradict each other, ask for what this build has no feature for, or name a file that
    /// cannot be used.
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

    /// A cache in this process, with the same semantics as one on Redis and default settings. Two of
    /// them share nothing, so each test can have its own.
    ///
    /// ```
    /// let cache = axum_redis_cache::Cache::in_memory();
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
        let faults = Arc::new(FaultLog::new(Observer::new(&settings)));
        Self::new(&settings, Store::Memory(store), faults)
    }

    /// A cache that stores nothing: every handler runs, and its response says
    /// `X-Redis-Cache: BYPASS`. No value is found, evictions have nothing to do, and no fault is
    /// counted. For tests of what an application does without a cache, and to turn caching off.
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

    pub(crate) fn new(settings: &Settings, store: Store, faults: Arc<FaultLog>) -> Self {
        let inner = Inner {
            store,
            faults,
            flights: Arc::default(),
            turns: Arc::default(),
            background: Background::new(settings.max_detached_runs),
            witnessed: Witnessed::default(),
            backlog: Backlog::default(),
            held: settings.hold_pending.then_some(settings.pulse),
            default_ttl: settings.default_ttl,
            lease_ttl: settings.lease_ttl.min(LONGEST),
            max_body_bytes: settings.max_body_bytes,
            copies: Arc::new(Copies::new(settings.max_streamed_bytes)),
            request_directives: settings.request_directives,
            cache_status: settings.cache_status,
            cache_groups: settings.cache_groups,
        };
        let cache = Self {
            inner: Arc::new(inner),
            scope: None,
        };
        let inner = Arc::downgrade(&cache.inner);
        cache.observer().watch(&settings.prefix, move || {
            let inner = inner.upgrade()?;
            Some(Self { inner, scope: None }.status())
        });
        cache
    }

    /// A view of the cache that shares connections and settings with it, but no entry: what is stored
    /// and evicted through one of them does not concern the other. Only [`clear`](Self::clear) of the
    /// cache itself evicts everything, in every scope.
    ///
    /// Two routers that mount the same handlers at the same paths with different states need it:
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
            inner: Arc::clone(&self.inner),
            scope: Some(Scope::new(name.as_ref(), self.scope.as_ref())),
        }
    }

    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// The key and the groups of an entry as the scope of the cache has them.
    pub(crate) fn in_scope(&self, key: CacheKey, groups: Groups) -> (CacheKey, Groups) {
        match self.scope() {
            Some(scope) => (scope.key(key), scope.groups(&groups)),
            None => (key, groups),
        }
    }

    /// How many operations failed so far because the store was unreachable, slow or refused them.
    /// The requests they belonged to were answered by their handlers.
    pub fn faults(&self) -> u64 {
        self.inner.faults.count()
    }

    /// How many evictions wait for the store to take them. Until it does, this process answers none
    /// of the requests they concern from the store.
    pub fn pending_evictions(&self) -> usize {
        self.inner.backlog.len()
    }

    /// Waits, for five seconds at most, until what goes on in the background is done: runs of
    /// handlers whose clients have gone, and evictions that Redis has not taken yet. What is left
    /// then is logged. Call it when the server has stopped:
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
        let finished = async {
            if self.pending_evictions() > 0 {
                self.tend();
            }
            self.inner.background.finished().await;
            while self.pending_evictions() > 0 {
                sleep(FIRST_RETRY).await;
            }
        };
        if timeout(SHUTDOWN, finished).await.is_err() {
            tracing::warn!("the cache had more to do than it was given time for");
        }
    }

    pub(crate) fn observer(&self) -> &Observer {
        self.inner.faults.observer()
    }

    pub(crate) fn turns(&self) -> &Arc<Turns> {
        &self.inner.turns
    }

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.inner.flights
    }

    pub(crate) fn background(&self) -> &Background {
        &self.inner.background
    }

    pub(crate) fn max_body_bytes(&self) -> usize {
        self.inner.max_body_bytes
    }

    pub(crate) fn copies(&self) -> &Arc<Copies> {
        &self.inner.copies
    }

    pub(crate) fn lease_ttl(&self) -> Duration {
        self.inner.lease_ttl
    }

    /// How long the lease of a run that others wait for is held unless it is renewed.
    pub(crate) fn hold(&self) -> Duration {
        self.inner.lease_ttl.min(3 * BEAT)
    }

    /// The freshness lifetime of a route's responses; `None`: no expiry.
    pub(crate) fn lifetime(&self, route: &Route) -> Option<Duration> {
        self.lifetime_of(route.lifetime())
    }

    /// The freshness lifetime that was declared, or the default one; `None`: no expiry.
    pub(crate) fn lifetime_of(&self, declared: Option<Duration>) -> Option<Duration> {
        let ttl = declared.unwrap_or(self.inner.default_ttl);
        Some(ttl).filter(|ttl| !ttl.is_zero())
    }

    /// How long a route's responses are kept: stale ones may be of use.
    pub(crate) fn kept_for(&self, route: &Route) -> Option<Duration> {
        let windows = route.windows().longest();
        self.lifetime(route).map(|ttl| ttl.saturating_add(windows))
    }

    /// Returns whether the directives of requests are obeyed.
    pub(crate) fn obeys_requests(&self) -> bool {
        self.inner.request_directives
    }

    /// The directives of a request, if requests are obeyed at all.
    pub(crate) fn directives(&self, fields: &HeaderMap) -> RequestDirectives {
        if self.obeys_requests() {
            RequestDirectives::of(fields)
        } else {
            RequestDirectives::default()
        }
    }
}

/// What clients are told beyond `X-Redis-Cache`.
impl Cache {
    pub(crate) fn tells_status(&self) -> bool {
        self.inner.cache_status
    }

    pub(crate) fn tells_groups(&self) -> bool {
        self.inner.cache_groups
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let lost = self.backlog.len();
        if lost > 0 {
            tracing::warn!(lost, "the store was never told of some evictions");
        }
    }
}

/// The cache of a state behind an [`Arc`], so that `State<Arc<AppState>>` needs no wrapper.
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
            .field("store", &self.inner.store)
            .finish_non_exhaustive()
    }
}
