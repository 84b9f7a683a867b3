//! Metrics, spans and status of a cache.
//!
//! Spans and events of `tracing` are always emitted. The feature `otel` adds spans and metrics of
//! OpenTelemetry, if the settings turn them on. Without the feature, an [`Observer`] has no size and
//! does nothing. If the settings turn telemetry off, each call costs one branch.
//!
//! Telemetry never shows a key, or a group that may hold values of a request: their number is unbounded,
//! and they may be secrets.
#![cfg_attr(
    not(feature = "otel"),
    allow(clippy::unused_self, reason = "telemetry is off then")
)]

pub(crate) mod fault;
mod measured;
mod observer;
mod operation;
#[cfg(feature = "otel")]
mod otel;
mod ping_error;
mod span;
pub(crate) mod status;

pub(crate) use measured::{Measured, Writes, Written};
pub(crate) use observer::{Observer, Started};
pub(crate) use operation::Operation;
pub use ping_error::PingError;
pub(crate) use span::{Span, TraceContext};
