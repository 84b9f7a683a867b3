//! The settings that all connections of a cache share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use redis::AsyncConnectionConfig;

use super::budget::{Budget, Distance};
use super::near::NearNames;
#[cfg(feature = "cluster")]
use super::near::Readers;
use super::reconnecting::LAST_RETRY;
use super::server_info::ServerInfo;
use super::watched::Watched;
use crate::observe::fault::{Fault, FaultLog};
use crate::settings::{Deployment, Settings};
use crate::store::LAST_EVICTION_RETRY;
use crate::store::near::NearCache;

/// The time that a process needs after it has connected to send its pending evictions.
const SENDING_EVICTIONS: Duration = Duration::from_millis(250);

/// Commands that may wait for the connection's writer; further ones wait in their own task.
const QUEUE: usize = 1024;

/// The terms of trust in a server.
pub(super) struct Terms {
    /// The time for which the server is trusted after a pulse.
    pub(super) pulse: Duration,
    /// Determines the time budget of an eviction.
    pub(super) distance: Arc<Distance>,
    settling: Duration,
}

impl Terms {
    /// Returns the time in which the other processes connect and send the evictions that the server did
    /// not take. They are taken to be as far away as this process.
    pub(super) fn settling(&self) -> Duration {
        self.settling + self.distance.round_trips()
    }
}

/// The settings and the fault log of all connections of a cache.
pub(super) struct ClientContext {
    pub(super) config: AsyncConnectionConfig,
    pub(super) connect_timeout: Duration,
    /// The number of connections to each server.
    pub(super) connections: usize,
    /// The database that is used.
    pub(super) db: i64,
    pub(super) prefix: String,
    /// The time budget of an operation. Callers also wait that long for an attempt to connect.
    pub(super) budget: Arc<Budget>,
    /// The time for which lookups are ignored after Redis was unreachable.
    pub(super) settling: Duration,
    /// The time for which a server is trusted after it accepted a pulse.
    pub(super) pulse: Duration,
    pub(super) faults: Arc<FaultLog>,
    /// The near cache, if there is one.
    pub(super) near_cache: Option<Arc<NearCache>>,
    /// The time for which copies in a near cache are served after a proof.
    pub(super) near_window: Duration,
    pub(super) near_names: NearNames,
    /// The names whose changes requests wait for.
    pub(super) watched: Watched,
    /// The connections on which the near cache reads; `None` if there is one server.
    #[cfg(feature = "cluster")]
    pub(super) readers: Option<Readers>,
    /// Set until the log has warned that entries without a `ttl` are kept without limit.
    warns_of_unbounded: AtomicBool,
    /// Done when the log has warned that the server does not track reads.
    warned_of_tracking: Once,
    /// Done when the log has warned that this process cannot be registered.
    warned_of_registration: Once,
    /// Done when the log has warned that the registry of near caches cannot be read.
    warned_of_registry: Once,
}

impl ClientContext {
    pub(super) fn new(
        settings: &Settings,
        db: i64,
        deployment: &Deployment,
        faults: Arc<FaultLog>,
    ) -> Self {
        let config = AsyncConnectionConfig::new()
            // The attempt as a whole has its own time limit.
            .set_connection_timeout(None)
            // Every operation has its budget already.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        // Every other process has connected and sent its pending evictions by then.
        let retries = LAST_RETRY + LAST_EVICTION_RETRY;
        Self {
            config,
            connect_timeout: settings.socket_connect_timeout,
            connections: settings.max_connections,
            db,
            prefix: settings.prefix.clone(),
            budget: Budget::new(settings.socket_timeout),
            settling: settings.socket_connect_timeout + retries + SENDING_EVICTIONS,
            pulse: settings.pulse,
            faults,
            near_cache: (settings.near_cache_bytes != 0)
                .then(|| NearCache::new(settings.near_cache_bytes)),
            near_window: settings.near_cache_window,
            near_names: near_names(&settings.prefix, deployment),
            watched: Watched::default(),
            #[cfg(feature = "cluster")]
            readers: matches!(deployment, Deployment::Cluster(_)).then(Readers::default),
            warned_of_tracking: Once::new(),
            warned_of_registry: Once::new(),
            warned_of_registration: Once::new(),
            warns_of_unbounded: AtomicBool::new(
                settings.warn_unbounded_cache && settings.default_ttl.is_zero(),
            ),
        }
    }

    pub(super) fn terms(&self, distance: Arc<Distance>) -> Terms {
        Terms {
            pulse: self.pulse,
            distance,
            settling: self.settling,
        }
    }

    /// Returns the time budget of an operation that begins now.
    pub(super) fn budget(&self) -> Duration {
        self.budget.now()
    }

    /// If there is a near cache, warns once that it is off because the server does not track reads.
    pub(super) fn warn_of_tracking(&self, why: &str) {
        if self.near_cache.is_none() {
            return;
        }
        self.warned_of_tracking.call_once(|| {
            tracing::warn!(
                why,
                "the near cache is off: it needs Redis 7.0.9 or later, or Valkey, with CLIENT TRACKING"
            );
        });
    }

    /// Warns once that evictions have to wait, because the registry of near caches cannot be read.
    pub(super) fn warn_of_registry(&self, fault: &Fault) {
        self.warned_of_registry.call_once(|| {
            tracing::warn!(
                %fault,
                "evictions wait for REDIS_NEAR_CACHE_WINDOW: Redis does not tell which processes have a \
                 near cache"
            );
        });
    }

    /// Warns once that the near cache stays empty, because Redis refuses to register this process.
    pub(super) fn warn_of_registration(&self, fault: &Fault) {
        if let Fault::Refused(_) = fault {
            self.warned_of_registration.call_once(|| {
                tracing::warn!(
                    %fault,
                    "the near cache is off: Redis refuses the commands that register this process"
                );
            });
        }
    }

    /// Warns once if entries without a `ttl` would be kept without limit.
    pub(super) fn warn_of_unbounded(&self, server: &ServerInfo) {
        if server.keeps_for_ever && self.warns_of_unbounded.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "entries without a ttl never expire (REDIS_DEFAULT_TTL is 0), and this Redis never evicts \
                 them: set maxmemory with an allkeys policy, or a default ttl"
            );
        }
    }
}

/// Returns the names of the hashes of near caches.
fn near_names(prefix: &str, deployment: &Deployment) -> NearNames {
    match deployment {
        #[cfg(feature = "cluster")]
        Deployment::Cluster(_) => NearNames::in_cluster(prefix),
        _ => NearNames::new(prefix),
    }
}
