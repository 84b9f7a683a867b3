//! The engine of a [`Cache`](crate::Cache). It looks entries up, decides which request runs a handler,
//! stores responses, and evicts entries.

pub(crate) mod background;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod copies;
pub(crate) mod declared_groups;
pub(crate) mod due_eviction;
mod eviction_queue;
pub(crate) mod fill;
pub(crate) mod flight;
pub(crate) mod known_groups;
pub(crate) mod lease;
pub(crate) mod plan;
pub(crate) mod search;
pub(crate) mod seen_nonces;
pub(crate) mod turns;
mod waits;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use tokio::time::{sleep, timeout};

use self::background::Background;
use self::client::{FIRST_EVICTION_RETRY, StoreClient};
use self::copies::Copies;
use self::flight::Flights;
use self::turns::Turns;
use crate::http::directives::RequestDirectives;
use crate::key::{CacheKey, DeclaredGroups, Eviction, Group, Scope};
use crate::observe::Observer;
use crate::observe::fault::FaultLog;
use crate::observe::status::Status;
use crate::settings::Settings;
use crate::store::Store;

/// The longest time for which `shutdown` waits for unfinished work.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// The engine of a cache, or of a scope of it. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<SharedEngine>,
    /// The scope of the entries and groups, if the cache is a view of another one.
    scope: Option<Scope>,
}

/// The part of an engine that its clones and scopes share.
struct SharedEngine {
    client: Arc<StoreClient>,
    flights: Arc<Flights>,
    turns: Arc<Turns>,
    copies: Arc<Copies>,
    default_ttl: Duration,
    max_body_bytes: usize,
    request_directives: bool,
    cache_status: bool,
    cache_groups: bool,
}

impl Engine {
    pub(crate) fn new(settings: &Settings, store: Store, faults: Arc<FaultLog>) -> Self {
        let shared = SharedEngine {
            client: Arc::new(StoreClient::new(settings, store, faults)),
            flights: Arc::default(),
            turns: Arc::default(),
            copies: Arc::new(Copies::new(settings.max_streamed_bytes)),
            default_ttl: settings.default_ttl,
            max_body_bytes: settings.max_body_bytes,
            request_directives: settings.request_directives,
            cache_status: settings.cache_status,
            cache_groups: settings.cache_groups,
        };
        let client = Arc::downgrade(&shared.client);
        let status = move || Some(client.upgrade()?.status());
        shared.client.observer().watch(&settings.prefix, status);
        Self {
            shared: Arc::new(shared),
            scope: None,
        }
    }

    /// Returns a view that shares the store, and has entries, groups and evictions of its own.
    pub(crate) fn scoped(&self, name: &str) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            scope: Some(Scope::new(name, self.scope.as_ref())),
        }
    }

    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// Moves a key and groups into the scope.
    pub(crate) fn in_scope(
        &self,
        key: CacheKey,
        groups: DeclaredGroups,
    ) -> (CacheKey, DeclaredGroups) {
        match self.scope() {
            Some(scope) => (scope.key(key), scope.groups(&groups)),
            None => (key, groups),
        }
    }

    /// Returns the eviction of a key in the scope.
    pub(crate) fn eviction_of_key(&self, key: CacheKey) -> Eviction {
        Eviction::Key(match self.scope() {
            Some(scope) => scope.key(key),
            None => key,
        })
    }

    /// Returns the eviction of a group in the scope. Logs once if no handler declares the group.
    pub(crate) fn eviction_of_group(&self, group: &Group) -> Eviction {
        declared_groups::check(group);
        Eviction::Group(match self.scope() {
            Some(scope) => scope.group(group),
            None => group.clone(),
        })
    }

    /// Returns the eviction of everything in the scope.
    pub(crate) fn eviction_of_all(&self) -> Eviction {
        self.scope().map_or(Eviction::All, Scope::everything)
    }

    pub(crate) fn client(&self) -> &Arc<StoreClient> {
        &self.shared.client
    }

    pub(crate) fn observer(&self) -> &Observer {
        self.shared.client.observer()
    }

    pub(crate) fn background(&self) -> &Background {
        self.shared.client.background()
    }

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.shared.flights
    }

    pub(crate) fn turns(&self) -> &Arc<Turns> {
        &self.shared.turns
    }

    pub(crate) fn copies(&self) -> &Arc<Copies> {
        &self.shared.copies
    }

    pub(crate) fn lease_ttl(&self) -> Duration {
        self.shared.client.lease_ttl()
    }

    pub(crate) fn max_body_bytes(&self) -> usize {
        self.shared.max_body_bytes
    }

    /// Returns the declared freshness lifetime, or the default one; `None`: no expiry.
    pub(crate) fn lifetime_of(&self, declared: Option<Duration>) -> Option<Duration> {
        let ttl = declared.unwrap_or(self.shared.default_ttl);
        Some(ttl).filter(|ttl| !ttl.is_zero())
    }

    /// Returns whether the directives of requests are applied.
    pub(crate) fn obeys_requests(&self) -> bool {
        self.shared.request_directives
    }

    /// Returns the directives of a request, or none if directives are not applied.
    pub(crate) fn directives(&self, fields: &HeaderMap) -> RequestDirectives {
        if self.obeys_requests() {
            RequestDirectives::of(fields)
        } else {
            RequestDirectives::default()
        }
    }

    /// Returns whether responses get the field `Cache-Status`.
    pub(crate) fn sends_cache_status(&self) -> bool {
        self.shared.cache_status
    }

    /// Returns whether responses get the fields `Cache-Groups` and `Cache-Group-Invalidation`.
    pub(crate) fn sends_cache_groups(&self) -> bool {
        self.shared.cache_groups
    }

    /// Waits, for a bounded time, until background runs and queued evictions are done.
    pub(crate) async fn shutdown(&self) {
        let client = self.client();
        let finished = async {
            if client.pending_evictions() > 0 {
                client.retry_evictions();
            }
            client.background().finished().await;
            while client.pending_evictions() > 0 {
                sleep(FIRST_EVICTION_RETRY).await;
            }
            #[cfg(feature = "redis")]
            if let Some(store) = client.store().in_redis() {
                store.leave_near_cache().await;
            }
        };
        if timeout(SHUTDOWN, finished).await.is_err() {
            let pending_evictions = client.pending_evictions();
            tracing::warn!(
                pending_evictions,
                "shutdown timed out: unfinished background work and pending evictions are lost"
            );
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.shared.client.status()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("client", &self.shared.client)
            .finish_non_exhaustive()
    }
}
