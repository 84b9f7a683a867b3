//! The handle that applications hold.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use bytes::Bytes;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use crate::background::Background;
use crate::backlog::Backlog;
use crate::entry::Entry;
use crate::fault::{Fault, FaultLog};
use crate::http::directives::RequestDirectives;
use crate::key::{Address, CacheKey, Eviction};
use crate::route::Route;
use crate::serve::fill::BEAT;
use crate::serve::flight::Flights;
use crate::settings::Settings;
#[cfg(feature = "redis")]
use crate::settings::SettingsError;
use crate::store::{Claim, Claimed, Found, Lease, LeaseTimes, Store, Token};

/// How long evictions that the store did not take wait for the next attempt.
const FIRST_RETRY: Duration = Duration::from_millis(20);
pub(crate) const LAST_RETRY: Duration = Duration::from_millis(250);

/// Longer is as good as for ever.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long `shutdown` waits for what is left to do.
const SHUTDOWN: Duration = Duration::from_secs(5);

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
    flights: Arc<Flights>,
    background: Background,
    backlog: Backlog,
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

    pub(crate) fn new(settings: &Settings, store: Store, faults: Arc<FaultLog>) -> Self {
        let inner = Inner {
            store,
            faults,
            flights: Arc::default(),
            background: Background::default(),
            backlog: Backlog::default(),
            default_ttl: settings.default_ttl,
            lease_ttl: settings.lease_ttl.min(LONGEST_LEASE),
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

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.inner.flights
    }

    pub(crate) fn background(&self) -> &Background {
        &self.inner.background
    }

    pub(crate) fn max_body_bytes(&self) -> usize {
        self.inner.max_body_bytes
    }

    pub(crate) fn lease_ttl(&self) -> Duration {
        self.inner.lease_ttl
    }

    /// How long the lease of a run that others wait for is held unless it is renewed.
    pub(crate) fn hold(&self) -> Duration {
        self.inner.lease_ttl.min(3 * BEAT)
    }

    /// The freshness lifetime of a route's responses; `None`: no expiry.
    pub(crate) fn ttl(&self, route: &Route) -> Option<Duration> {
        let ttl = route.lifetime().unwrap_or(self.inner.default_ttl);
        Some(ttl).filter(|ttl| !ttl.is_zero())
    }

    /// How long a route's responses are kept: stale ones may be of use.
    pub(crate) fn kept_for(&self, route: &Route) -> Option<Duration> {
        let windows = route.windows().longest();
        self.ttl(route).map(|ttl| ttl.saturating_add(windows))
    }

    /// The directives of a request, if requests are obeyed at all.
    pub(crate) fn directives(&self, fields: &HeaderMap) -> RequestDirectives {
        if self.inner.request_directives {
            RequestDirectives::of(fields)
        } else {
            RequestDirectives::default()
        }
    }

    /// The entry at an address, if there is one and every one of its stamps is current.
    pub(crate) async fn lookup(&self, at: &Address) -> Result<Option<Entry>, Fault> {
        self.look(at, false).await.map(Found::into_entry)
    }

    /// What the store has at an address, and, if asked, who is filling it. The only way to an entry.
    pub(crate) async fn look(&self, at: &Address, holder: bool) -> Result<Found, Fault> {
        if self.inner.backlog.concerns(at) {
            self.tend();
            return Err(Fault::EvictionPending);
        }
        self.recorded(self.inner.store.get(at, holder).await)
    }

    /// Whether what is stored at an address is evicted, which the store does not know.
    pub(crate) fn is_evicted(&self, at: &Address) -> bool {
        self.inner.backlog.concerns(at)
    }

    /// Takes the right to fill an address with what is kept for that long.
    pub(crate) async fn lease(
        &self,
        at: &Address,
        claim: Claim,
        kept_for: Option<Duration>,
    ) -> Result<Claimed, Fault> {
        let lease = self.inner.lease_ttl;
        let hold = match claim {
            Claim::IfFree => self.hold(),
            Claim::Alone | Claim::Override => lease,
        };
        let times = LeaseTimes {
            hold,
            lease,
            entry: kept_for,
        };
        let token = Token::draw(claim)?;
        let claimed = self.inner.store.lease(at, claim, token, times).await;
        if claimed.as_ref().is_err_and(Fault::is_absence) {
            self.release_later(at.clone(), claim, token);
        }
        self.recorded(claimed)
    }

    /// Holds a lease for longer, under a token that may be another; `false` when it was lost.
    pub(crate) async fn renew(
        &self,
        at: &Address,
        lease: &Lease,
        token: Token,
        hold: Duration,
    ) -> Result<bool, Fault> {
        self.recorded(self.inner.store.renew(at, lease, token, hold).await)
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

    /// Makes the nonces of an address outlast an entry that is stored next and kept for that long.
    pub(crate) async fn prolong(
        &self,
        at: &Address,
        kept_for: Option<Duration>,
    ) -> Result<(), Fault> {
        let ttl = kept_for.map(|kept_for| kept_for.saturating_add(self.inner.lease_ttl));
        self.recorded(self.inner.store.prolong(at, ttl).await)
    }

    /// Gives a lease back.
    pub(crate) async fn release(&self, at: &Address, claim: Claim, token: Token) {
        let released = self.inner.store.release(at, claim, token).await;
        if self
            .recorded(released)
            .is_err_and(|fault| fault.is_absence())
        {
            self.release_later(at.clone(), claim, token);
        }
    }

    /// Gives a lease back that may be held, when the store can be told, so that nobody waits for it.
    /// If that takes long, the lease has ended by itself.
    pub(crate) fn release_later(&self, at: Address, claim: Claim, token: Token) {
        let cache = self.clone();
        self.inner.background.spawn_one_of_many(async move {
            let ends = Instant::now() + cache.hold();
            while Instant::now() < ends {
                sleep(LAST_RETRY).await;
                if cache.inner.store.release(&at, claim, token).await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Evicts the entry of a key, which a handler names: `get_product::key(42)`.
    ///
    /// When this is done, no request that starts later is answered with the old entry, in this
    /// process or another. If the store could not be told within the time budget, this process
    /// answers no request with it, and goes on telling the store until it listens.
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
        self.remove(&[Eviction::Key(key)]).await;
    }

    /// Evicts. The only way out for an entry before its time.
    pub(crate) async fn remove(&self, evictions: &[Eviction]) {
        let removed = self.inner.store.remove(evictions).await;
        if self.recorded(removed).is_err() {
            self.remove_later(evictions.to_vec());
        } else if self.pending_evictions() > 0 {
            self.tend();
        }
    }

    /// Evicts for this process now, and for the others when the store can be told.
    pub(crate) fn remove_later(&self, evictions: Vec<Eviction>) {
        if self.inner.backlog.push(evictions) {
            self.recorded::<()>(Err(Fault::Overflow)).ok();
        }
        self.tend();
    }

    /// Goes on telling the store of evictions, unless somebody does.
    fn tend(&self) {
        if let Ok(runtime) = Handle::try_current()
            && self.inner.backlog.take_care()
        {
            tracing::warn!("an eviction could not be told to the store, and will be repeated");
            runtime.spawn(Tending(Arc::downgrade(&self.inner)).run());
        }
    }

    fn recorded<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.inspect_err(|fault| self.inner.faults.record(fault))
    }
}

/// Tells the store of evictions until it has taken them all. Dropped with its runtime, it leaves them
/// to the next eviction that fails.
struct Tending(Weak<Inner>);

impl Tending {
    async fn run(mut self) {
        let mut delay = FIRST_RETRY;
        while let Some(inner) = self.0.upgrade() {
            let Some(batch) = inner.backlog.batch() else {
                tracing::info!("the store has taken every eviction");
                self.0 = Weak::new();
                return;
            };
            if inner.store.remove(&batch.evictions).await.is_ok() {
                inner.backlog.settle(&batch);
                delay = FIRST_RETRY;
                continue;
            }
            drop(inner);
            sleep(delay).await;
            delay = LAST_RETRY.min(delay * 2);
        }
    }
}

impl Drop for Tending {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.backlog.abandon();
        }
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
