//! Metrics, spans and status of a cache.
//!
//! Spans and events of `tracing` are always there. With the feature `otel` there are spans and
//! metrics of OpenTelemetry too, if the settings ask for them. Without it an [`Observer`] is of no
//! size and does nothing; with it, and off, everything here is one branch.
//!
//! Nothing here shows a key, or a group that may hold values of a request: their number has no
//! bound, and they may be secrets.
#![cfg_attr(
    not(feature = "otel"),
    allow(clippy::unused_self, reason = "nobody watches then")
)]

pub(crate) mod fault;
#[cfg(feature = "otel")]
mod otel;
mod span;
pub(crate) mod status;

use std::time::Duration;
#[cfg(feature = "otel")]
use std::{sync::Arc, time::Instant};

use self::status::Status;
use crate::settings::Settings;

pub(crate) use span::{Operation, Place, Span};

/// The receiver of metrics and spans, if telemetry is on.
#[derive(Clone, Default)]
pub(crate) struct Observer {
    #[cfg(feature = "otel")]
    otel: Option<Arc<otel::Otel>>,
}

/// Something to be counted or timed. What is in it is of the code, never of a request.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "otel"),
    allow(dead_code, reason = "nobody reads it then")
)]
pub(crate) enum Measured {
    /// A request for a response or a value was answered.
    Request {
        handler: &'static str,
        result: &'static str,
    },
    /// The attempt to store an entry has ended.
    Write {
        handler: &'static str,
        writes: Writes,
        written: Written,
    },
    /// Something was evicted: one of its kind.
    Eviction { target: &'static str },
    /// The store had a fault, of that name.
    Fault(&'static str),
    /// The store did what it was asked, or had a fault.
    StoreOperation {
        operation: &'static str,
        fault: Option<&'static str>,
        took: Duration,
    },
    /// A handler ran.
    Handler {
        handler: &'static str,
        took: Duration,
    },
}

/// The kind of request that stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// A read, because there was nothing to reuse.
    Fill,
    /// A write.
    Through,
}

impl Writes {
    pub(crate) fn operation(self) -> Operation {
        match self {
            Self::Fill => Operation::Set,
            Self::Through => Operation::Put,
        }
    }
}

/// The result of storing an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Stored,
    /// Something was evicted, or another wrote, since the fill began.
    Superseded,
    /// The entry may not be stored, for the reason of that name.
    Refused(&'static str),
    /// The store had a fault, of that name.
    Failed(&'static str),
}

impl Written {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Superseded => "superseded",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }
}

/// When something began, if anybody wants to know how long it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    #[cfg(feature = "otel")]
    at: Option<Instant>,
}

impl Started {
    pub(crate) fn elapsed(self) -> Option<Duration> {
        #[cfg(feature = "otel")]
        return self.at.map(|at| at.elapsed());
        #[cfg(not(feature = "otel"))]
        None
    }
}

impl Observer {
    /// Creates an observer on the current global providers of meters and tracers.
    pub(crate) fn new(settings: &Settings) -> Self {
        #[cfg(not(feature = "otel"))]
        if settings.otel_enabled {
            tracing::warn!(
                "the setting otel_enabled is ignored, because axum-redis-cache was built without its \
                 feature `otel`"
            );
        }
        Self {
            #[cfg(feature = "otel")]
            otel: settings.otel_enabled.then(Arc::default),
        }
    }

    /// Reports how a cache is doing as long as it is there.
    pub(crate) fn watch(
        &self,
        prefix: &str,
        status: impl Fn() -> Option<Status> + Clone + Send + Sync + 'static,
    ) {
        #[cfg(feature = "otel")]
        if let Some(otel) = &self.otel {
            otel.watch(prefix, status);
        }
        #[cfg(not(feature = "otel"))]
        let _ = (prefix, status);
    }

    /// Starts a stopwatch.
    #[inline]
    pub(crate) fn start(&self) -> Started {
        Started {
            #[cfg(feature = "otel")]
            at: self.otel.as_ref().map(|_| Instant::now()),
        }
    }

    #[inline]
    pub(crate) fn record(&self, measured: Measured) {
        #[cfg(feature = "otel")]
        if let Some(otel) = &self.otel {
            otel.record(measured);
        }
        #[cfg(not(feature = "otel"))]
        let _ = measured;
    }
}
