//! The nonces that this process has seen, as proofs that nothing was evicted since a given tick.
//! Evictions remove nonces: a nonce that this process saw before the tick and that is still there
//! proves that no eviction happened in between.
//!
//! Extractors run before the lease is taken. The data that they read may be older than an eviction
//! that came before the lease, so a response made from that data is stored only with such a proof.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::store::{Nonce, Witnesses};

/// The number of nonces that are remembered.
const REMEMBERED: usize = 1 << 16;

/// A tick of a logical clock of this process, which advances when a nonce is seen first. Never 0,
/// so that an `Option` of a tick takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(NonZeroU64);

impl Tick {
    fn of(number: u64) -> Self {
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }
}

/// The nonces that this process has seen, with the ticks at which it first saw them.
#[derive(Debug)]
pub(crate) struct SeenNonces {
    ticks: AtomicU64,
    seen: Mutex<LruCache<Nonce, Tick>>,
    /// The last bytes of the eviction nonce that was learned last. Lookups that find it again need no
    /// lock.
    learned: AtomicU64,
    /// The current eviction nonce (the nonce that every eviction removes) is known, as far as this
    /// process can tell.
    knows_eviction_nonce: AtomicBool,
    /// Every proof succeeds.
    #[cfg(test)]
    pub(crate) proves_everything: AtomicBool,
}

impl Default for SeenNonces {
    fn default() -> Self {
        Self {
            ticks: AtomicU64::new(1),
            seen: Mutex::new(LruCache::unbounded()),
            learned: AtomicU64::new(0),
            knows_eviction_nonce: AtomicBool::new(false),
            #[cfg(test)]
            proves_everything: AtomicBool::new(false),
        }
    }
}

impl SeenNonces {
    /// Returns the current tick.
    pub(crate) fn tick(&self) -> Tick {
        Tick::of(self.ticks.load(Ordering::SeqCst))
    }

    /// Returns whether the current eviction nonce is known, as far as this process can tell.
    pub(crate) fn knows_eviction_nonce(&self) -> bool {
        self.knows_eviction_nonce.load(Ordering::Relaxed)
    }

    /// Remembers the eviction nonce: the nonce that every eviction removes. `None`: it cannot be
    /// read; the store is not asked for it again before a proof fails.
    pub(crate) fn learn_eviction_nonce(&self, of_everything: Option<Nonce>) {
        if let Some(nonce) = of_everything {
            let [_, _, _, _, _, _, _, _, last @ ..] = nonce;
            let last = u64::from_be_bytes(last);
            // If other nonces have displaced it, a proof fails that would have succeeded.
            if self.learned.load(Ordering::Relaxed) != last {
                self.first_seen(nonce);
                self.learned.store(last, Ordering::Relaxed);
            }
        }
        self.knows_eviction_nonce.store(true, Ordering::Relaxed);
    }

    /// Forgets the eviction nonce, because something was evicted.
    pub(crate) fn forget_eviction_nonce(&self) {
        self.knows_eviction_nonce.store(false, Ordering::Relaxed);
    }

    /// Returns whether the nonces of a lease prove that nothing was evicted between a tick and the
    /// lease. Remembers these nonces for later proofs.
    pub(crate) fn proves_no_eviction(&self, witnesses: &Witnesses, since: Tick) -> bool {
        #[cfg(test)]
        if self.proves_everything.load(Ordering::Relaxed) {
            return true;
        }
        let is_older = |nonce| self.first_seen(nonce) < since;
        let by_everything = witnesses.of_everything.map(is_older);
        if by_everything == Some(false) {
            self.forget_eviction_nonce();
        }
        let by_address = is_older(witnesses.of_address);
        by_address || by_everything == Some(true)
    }

    /// Summarizes the state that later steps of the model checker depend on.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> impl std::hash::Hash {
        let seen = self.seen.lock().unwrap();
        let seen: std::collections::BTreeMap<_, _> =
            seen.iter().map(|(nonce, Tick(at))| (*nonce, *at)).collect();
        (self.tick().0, seen, self.knows_eviction_nonce())
    }

    /// Returns the tick at which a nonce was first seen; the current tick if it is new.
    fn first_seen(&self, nonce: Nonce) -> Tick {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() > REMEMBERED {
            seen.pop_lru();
        }
        *seen.get_or_insert(nonce, || {
            Tick::of(self.ticks.fetch_add(1, Ordering::SeqCst))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witnesses(of_everything: Option<u8>, of_address: u8) -> Witnesses {
        Witnesses {
            of_everything: of_everything.map(|byte| [byte; 16]),
            of_address: [of_address; 16],
        }
    }

    #[test]
    fn a_nonce_that_was_seen_before_and_is_still_there_is_a_proof() {
        let seen_nonces = SeenNonces::default();
        let early = seen_nonces.tick();
        assert!(
            !seen_nonces.proves_no_eviction(&witnesses(Some(1), 2), early),
            "seen just now"
        );
        let later = seen_nonces.tick();
        assert!(seen_nonces.proves_no_eviction(&witnesses(Some(1), 2), later));
        assert!(
            seen_nonces.proves_no_eviction(&witnesses(Some(1), 3), later),
            "nothing at all was evicted"
        );
        assert!(
            seen_nonces.proves_no_eviction(&witnesses(Some(4), 2), later),
            "not at this address"
        );
        assert!(
            seen_nonces.proves_no_eviction(&witnesses(None, 2), later),
            "in a cluster"
        );
        assert!(!seen_nonces.proves_no_eviction(&witnesses(Some(5), 6), later));
        assert!(
            !seen_nonces.proves_no_eviction(&witnesses(Some(1), 2), early),
            "nonces seen after a tick prove nothing about it"
        );
    }

    #[test]
    fn the_eviction_nonce_is_asked_for_again_when_it_has_changed() {
        let seen_nonces = SeenNonces::default();
        assert!(!seen_nonces.knows_eviction_nonce());
        seen_nonces.learn_eviction_nonce(Some([1; 16]));
        assert!(seen_nonces.proves_no_eviction(&witnesses(Some(1), 2), seen_nonces.tick()));
        assert!(seen_nonces.knows_eviction_nonce());
        seen_nonces.proves_no_eviction(&witnesses(Some(3), 2), seen_nonces.tick());
        assert!(!seen_nonces.knows_eviction_nonce());
        seen_nonces.learn_eviction_nonce(None);
        assert!(seen_nonces.knows_eviction_nonce());
    }
}
