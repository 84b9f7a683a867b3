//! Handlers that write, and the log of their evictions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::route::Route;
use super::route::address::Unread;
use crate::key::Eviction;
use crate::key::registry::name_of;

/// A handler with `#[cache_evict]` or `#[cache_put]`. Built by the compiler, as a static of generated
/// code.
#[derive(Debug)]
pub struct Writer {
    named: fn() -> &'static str,
    /// The log has shown the evictions of this handler.
    is_known: AtomicBool,
    /// The handlers whose entries this one cannot identify, with the reason that the log has named.
    unread: Mutex<Vec<(&'static str, &'static str)>>,
}

impl Writer {
    /// Creates the writer. `named` returns the name of its companion.
    pub const fn new(named: fn() -> &'static str) -> Self {
        Self {
            named,
            is_known: AtomicBool::new(false),
            unread: Mutex::new(Vec::new()),
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
    pub(crate) fn cannot_name(&self, reader: &Route, unread: Unread) {
        let (by, handler) = (self.name(), reader.name());
        let reason = match unread {
            Unread::OtherValues => {
                "the path of the write does not have the values that the cached handler reads, by the \
                 same names and in the same order: everything of the handler is evicted; to evict \
                 less, name its values in the attribute"
            }
            Unread::NotSeen => {
                "no request has shown yet by which names the cached handler reads its path: \
                 everything of the handler is evicted; to evict less, name its values in the attribute"
            }
            Unread::Function => {
                "a function makes the keys of the cached handler: everything of the handler is \
                 evicted; to evict less, name the key in the attribute"
            }
        };
        if !self.is_new(handler, reason) {
            return;
        }
        match unread {
            Unread::OtherValues => tracing::warn!(by, handler, "{reason}"),
            Unread::NotSeen | Unread::Function => tracing::info!(by, handler, "{reason}"),
        }
    }

    fn is_new(&self, handler: &'static str, reason: &'static str) -> bool {
        let mut known = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !known.contains(&(handler, reason));
        if is_new {
            known.push((handler, reason));
        }
        is_new
    }
}
