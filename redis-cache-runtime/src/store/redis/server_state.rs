//! The state of a server that all connections to it share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::Distance;
use super::finder::Finder;
use super::pulse::PulseName;
use crate::store::Incarnation;

/// The state of a server that all connections to it share.
pub(super) struct ServerState {
    pub(super) finder: Finder,
    pub(super) pulse: PulseName,
    pub(super) distance: Arc<Distance>,
    /// The server pushes changes of tracked values in order, as far as is known.
    pushes_in_order: AtomicBool,
    /// The generation number of the newest primary.
    newest: AtomicU64,
    /// The incarnation that was seen last; `None`: none was seen yet.
    incarnation: Mutex<Option<Incarnation>>,
    /// The time at which the server was last unreachable or refused evictions.
    away: Mutex<Option<Instant>>,
    /// The server took over the slots of another.
    is_replacement: bool,
}

impl ServerState {
    pub(super) fn new(finder: Finder, pulse: String, distance: Arc<Distance>) -> Self {
        Self {
            finder,
            pulse: PulseName::new(pulse),
            distance,
            pushes_in_order: AtomicBool::new(false),
            newest: AtomicU64::new(0),
            incarnation: Mutex::default(),
            away: Mutex::default(),
            is_replacement: false,
        }
    }

    /// Marks the server as one that took over the slots of another.
    #[cfg(feature = "cluster")]
    pub(super) fn replacement(self) -> Self {
        Self {
            is_replacement: true,
            ..self
        }
    }

    /// Records whether the server pushes changes of tracked values in order.
    pub(super) fn observe_pushes(&self, in_order: bool) {
        self.pushes_in_order.store(in_order, Ordering::Relaxed);
    }

    /// Returns whether the server pushes changes of tracked values in order, as far as is known.
    pub(super) fn pushes_in_order(&self) -> bool {
        self.pushes_in_order.load(Ordering::Relaxed)
    }

    /// Records that the server is unreachable or refuses evictions.
    pub(super) fn mark_away(&self) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns whether the server was unreachable or refused evictions within a time.
    pub(super) fn was_away(&self, within: Duration) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|away| away.elapsed() < within)
    }

    /// Records the incarnation of the server. Returns whether it differs from the one before, so that
    /// evictions may have been lost.
    pub(super) fn has_changed_to(&self, incarnation: Incarnation) -> bool {
        let mut known = self
            .incarnation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match known.replace(incarnation) {
            Some(before) => before != incarnation,
            None => self.is_replacement,
        }
    }

    /// Records the generation number of a primary.
    pub(super) fn observe_generation(&self, generation: u64) {
        self.newest.fetch_max(generation, Ordering::Release);
    }

    /// Returns whether there is a newer primary.
    pub(super) fn has_newer_than(&self, generation: u64) -> bool {
        generation < self.newest.load(Ordering::Acquire)
    }
}
