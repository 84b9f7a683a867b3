//! Sends measurements to OpenTelemetry, if telemetry is on.

use std::time::Duration;
#[cfg(feature = "otel")]
use std::{sync::Arc, time::Instant};

use super::measured::Measured;
#[cfg(feature = "otel")]
use super::otel;
use super::status::Status;
use crate::settings::Settings;

/// The receiver of metrics and spans, if telemetry is on.
#[derive(Clone, Default)]
pub(crate) struct Observer {
    #[cfg(feature = "otel")]
    pub(super) otel: Option<Arc<otel::Otel>>,
}

/// The start of a measured time, if telemetry is on.
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

    /// Reports the status of a cache until the cache is dropped.
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
