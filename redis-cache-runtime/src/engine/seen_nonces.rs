//! Proofs that nothing was evicted since a tick: nonces that evictions remove, which this process saw
//! before the tick and which are still there.
//!
//! Extractors run before the lease is taken. What they read may be older than an eviction that the
//! lease does not know, so a response that is made of it is stored only with such a proof.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::store::{Nonce, Witnesses};

/// The number of nonces that are remembered.
const REMEMBERED: usize = 1 << 16;

/// A tick of this process: what was seen before it is older. Never 0, so that an `Option` of it is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(NonZeroU64);

impl Tick {
    fn of(number: u64) -> Self {
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }
}

/// The nonces that this process saw, and when it saw them first.
#[derive(Debug)]
pub(crate) struct SeenNonces {
    ticks: AtomicU64,
    seen: Mutex<LruCache<Nonce, Tick>>,
    /// The nonce that every eviction removes is known, as far as this process can tell.
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
            knows_eviction_nonce: AtomicBool::new(false),
            #[cfg(test)]
            proves_everything: AtomicBool::new(false),
        }
    }
}

impl SeenNonces {
    pub(crate) fn tick(&self) -> Tick {
        Tick::of(self.ticks.load(Ordering::SeqCst))
    }

    pub(crate) fn knows_eviction_nonce(&self) -> bool {
        self.knows_eviction_nonce.load(Ordering::Relaxed)
    }

    /// Remembers the nonce that every eviction removes. `None`: it cannot be read, and is not asked for
    /// again before it is missed.
    pub(crate) fn learn_eviction_nonce(&self, of_everything: Option<Nonce>) {
        if let Some(nonce) = of_everything {
            self.first_seen(nonce);
        }
        self.knows_eviction_nonce.store(true, Ordering::Relaxed);
    }

    /// Forgets the nonce that every eviction removes, because something was evicted.
    pub(crate) fn forget_eviction_nonce(&self) {
        self.knows_eviction_nonce.store(false, Ordering::Relaxed);
    }

    /// Returns whether the witnesses of a lease proves_no_eviction that nothing was evicted between a tick and the
    /// lease, and remembers them.
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

    /// Summarizes its knowledge.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> impl std::hash::Hash {
        let seen = self.seen.lock().unwrap();
        let seen: std::collections::BTreeMap<_, _> =
            seen.iter().map(|(nonce, Tick(at))| (*nonce, *at)).collect();
        (self.tick().0, seen, self.knows_eviction_nonce())
    }

    /// Returns the tick when a nonce was seen first, which is tick if it is not remembered.
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
    fn what_was_seen_before_and_is_still_there_proves_it() {
        let seen_nonces = SeenNonces::default();
        let early = seen_nonces.tick();
        assert!(
            !seen_nonces.proves_no_eviction(&witnesses(Some(1), 2), early),
            "seen just tick"
        );
        let later = seen_nonces.tick();
        assert!(seen_nonces.proves_no_eviction(&witnesses(Some(1), 2), later));
        assert!(
            seen_nonces.proves_no_eviction(&witnesses(Some(1), 3), later),
            "nothing at all was evicted"
        );
        assert!(
            seen_nonces.proves_no_eviction(&witnesses(Some(4), 2), later),
            "not this"
        );
        assert!(
            seen_nonces.proves_no_eviction(&witnesses(None, 2), later),
            "in a cluster"
        );
        assert!(!seen_nonces.proves_no_eviction(&witnesses(Some(5), 6), later));
        assert!(
            !seen_nonces.proves_no_eviction(&witnesses(Some(1), 2), early),
            "what is older proves nothing"
        );
    }

    #[test]
    fn what_every_eviction_removes_is_asked_for_again_when_it_was_missed() {
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
