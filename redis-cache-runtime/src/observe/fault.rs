//! Faults of the store: counted, and logged once per cause.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::measured::Measured;
use super::observer::Observer;

/// A failure of the store. It never fails a request; it is logged once per cause and counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(
    not(all(feature = "cluster", feature = "sentinel", feature = "tls")),
    allow(dead_code, reason = "not every store fails in every way")
)]
pub(crate) enum Fault {
    #[error("Redis is unreachable")]
    Unreachable,
    #[error("Redis did not reply within the time budget")]
    Timeout,
    #[error("the connection to Redis was lost")]
    Disconnected,
    #[error("Redis refused a command with {0}")]
    Refused(String),
    #[error("Redis refused the credentials")]
    Credentials,
    #[error("Redis refused to switch to the database of the settings: {0}")]
    Database(String),
    #[error("TLS with Redis failed: {0}")]
    Tls(String),
    #[error("Redis sent an unexpected reply")]
    Protocol,
    #[error("the Sentinels know no master named {0}")]
    UnknownPrimary(String),
    #[error("no node of the cluster replied with the slots of all nodes")]
    NoSlots,
    #[error("the operating system returned no random bytes")]
    Entropy,
    /// Not a failure of the store. The store may still have the evicted entry.
    #[error("an eviction has not reached Redis yet")]
    EvictionPending,
    /// Not a failure of the store. No eviction is lost.
    #[error("too many evictions are pending: everything is evicted instead")]
    Overflow,
    #[error(
        "Redis was unreachable: lookups are ignored until other processes have sent their evictions"
    )]
    Settling,
    #[error("Redis refuses evictions: lookups are ignored until it accepts them")]
    EvictionsRefused,
    #[error("Redis was late: lookups are ignored until it replies in time")]
    Late,
    #[error("Redis refuses scripts (EVAL): no response is stored")]
    Scripts,
    /// Not a failure: the application chose to have no store.
    #[error("the cache is disabled")]
    Disabled,
}

impl Fault {
    fn bit(&self) -> u32 {
        match self {
            Self::Unreachable => 1,
            Self::Timeout => 2,
            Self::Disconnected => 4,
            Self::Refused(_) => 8,
            Self::Protocol => 16,
            Self::Entropy => 32,
            Self::Credentials => 64,
            Self::EvictionPending => 128,
            Self::Settling => 256,
            Self::Overflow => 512,
            Self::UnknownPrimary(_) => 1024,
            Self::NoSlots => 2048,
            Self::Database(_) => 4096,
            Self::Tls(_) => 8192,
            Self::EvictionsRefused => 16384,
            Self::Late => 32768,
            Self::Scripts => 65536,
            Self::Disabled => 0,
        }
    }

    /// Returns the name in metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::Refused(_) => "refused",
            Self::Credentials => "credentials",
            Self::Database(_) => "database",
            Self::Tls(_) => "tls",
            Self::Protocol => "protocol",
            Self::UnknownPrimary(_) => "unknown_primary",
            Self::NoSlots => "no_slots",
            Self::Entropy => "entropy",
            Self::EvictionPending => "eviction_pending",
            Self::Overflow => "overflow",
            Self::Settling => "settling",
            Self::EvictionsRefused => "evictions_refused",
            Self::Late => "late",
            Self::Scripts => "scripts",
            Self::Disabled => "disabled",
        }
    }

    /// Returns whether the store did not reply, so that the effect of the command is unknown.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Disconnected)
    }

    /// Returns whether the store replies and is not trusted.
    #[cfg(feature = "cluster")]
    pub(crate) fn is_doubt(&self) -> bool {
        matches!(self, Self::EvictionsRefused | Self::Late)
    }

    /// Returns the fault that says more: a reply says more than a missing reply; otherwise the later
    /// fault does.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn or_more_telling(self, other: Self) -> Self {
        if self.is_absence() || !other.is_absence() {
            other
        } else {
            self
        }
    }
}

/// Counts faults and names each cause in the log once, until the store works again.
#[derive(Default)]
pub(crate) struct FaultLog {
    observer: Observer,
    count: AtomicU64,
    logged: AtomicU32,
}

impl FaultLog {
    pub(crate) fn new(observer: Observer) -> Self {
        Self {
            observer,
            ..Self::default()
        }
    }

    /// Returns the observer that receives every fault and every other measurement.
    pub(crate) fn observer(&self) -> &Observer {
        &self.observer
    }

    pub(crate) fn record(&self, fault: &Fault) {
        if *fault == Fault::Disabled {
            return;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.observer.record(Measured::Fault(fault.name()));
        let known = self.logged.fetch_or(fault.bit(), Ordering::Relaxed);
        if known & fault.bit() == 0 {
            tracing::warn!(cause = %fault, "cache fault: requests run their handlers");
        }
    }

    /// Records that a connection was established after a fault.
    #[cfg(feature = "redis")]
    pub(crate) fn recovered(&self) {
        if self.logged.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("Redis is reachable again");
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
