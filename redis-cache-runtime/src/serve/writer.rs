//! The handlers that write, and the log lines about their evictions. Each line is logged once per
//! handler.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::route::Route;
use super::route::address::Unidentified;
use crate::key::Eviction;
use crate::key::registry::name_of;

/// A handler with `#[cache_evict]` or `#[cache_put]`. A `const` expression of generated code builds
/// it as a static.
#[derive(Debug)]
pub struct Writer {
    named: fn() -> &'static str,
    /// The evictions were logged at info level.
    is_known: AtomicBool,
    /// The handlers whose entries this one does not identify, each with the reason, as far as they
    /// were logged.
    unidentified: Mutex<Vec<(&'static str, &'static str)>>,
}

impl Writer {
    /// Creates a writer. `named` returns the path of its companion.
    pub const fn new(named: fn() -> &'static str) -> Self {
        Self {
            named,
            is_known: AtomicBool::new(false),
            unidentified: Mutex::new(Vec::new()),
        }
    }

    /// Returns the name of the handler.
    pub fn name(&self) -> &'static str {
        name_of((self.named)())
    }

    /// Logs the evictions, the first time at info level so that a developer sees them.
    pub(crate) fn evicts(&self, evictions: &[Eviction]) {
        let (by, is_first) = (self.name(), !self.is_known.swap(true, Ordering::Relaxed));
        for eviction in evictions {
            if is_first {
                tracing::info!(by, %eviction, "evicts (further evictions by this handler are logged at debug)");
            } else {
                tracing::debug!(by, %eviction, "evicts");
            }
        }
    }

    /// Logs, once, that all entries of a handler are evicted, and how to evict fewer.
    pub(crate) fn log_unidentified(&self, reader: &Route, unidentified: Unidentified) {
        let (by, handler) = (self.name(), reader.name());
        let reason = match unidentified {
            Unidentified::OtherValues => {
                "all entries of the cached handler are evicted: the path of the write lacks a value that \
                 the handler reads, or has it under another name or in another order; to evict fewer \
                 entries, name the values in the attribute"
            }
            Unidentified::NotSeen => {
                "all entries of the cached handler are evicted: no request has reached it yet, so the \
                 names of its path parameters are unknown; to evict fewer entries, name the values in \
                 the attribute"
            }
            Unidentified::Function => {
                "all entries of the cached handler are evicted: a key function makes its keys; to evict \
                 fewer entries, name the key in the attribute"
            }
        };
        if !self.is_new(handler, reason) {
            return;
        }
        match unidentified {
            Unidentified::OtherValues => tracing::warn!(by, handler, "{reason}"),
            Unidentified::NotSeen | Unidentified::Function => {
                tracing::info!(by, handler, "{reason}");
            }
        }
    }

    fn is_new(&self, handler: &'static str, reason: &'static str) -> bool {
        let mut known = self
            .unidentified
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_new = !known.contains(&(handler, reason));
        if is_new {
            known.push((handler, reason));
        }
        is_new
    }
}
