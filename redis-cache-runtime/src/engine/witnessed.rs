//! Proofs that nothing was evicted since a moment: nonces that evictions remove. This process saw them
//! before the moment, and they are still there.
//!
//! Extractors run before the lease is taken. Their data may be older than an eviction that the lease
//! does not know, so a response that is made of it is stored only with such a proof.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::store::{Nonce, Witnesses};

/// The number of nonces that are remembered.
const REMEMBERED: usize = 1 << 16;

/// A moment of this process. Observations before it are older. Never 0, so that an `Option` of it is
/// small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(NonZeroU64);

impl Moment {
    fn of(number: u64) -> Self {
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }
}

/// The nonces that this process saw, with the moment of the first time.
#[derive(Debug)]
pub(crate) struct Witnessed {
    moment: AtomicU64,
    seen: Mutex<LruCache<Nonce, Moment>>,
    /// Set while the nonce that every eviction removes is known, as far as this process can tell.
    is_known: AtomicBool,
    /// Lets every proof succeed, in a test.
    #[cfg(test)]
    pub(crate) proves_everything: AtomicBool,
}

impl Default for Witnessed {
    fn default() -> Self {
        Self {
            moment: AtomicU64::new(1),
            seen: Mutex::new(LruCache::unbounded()),
            is_known: AtomicBool::new(false),
            #[cfg(test)]
            proves_everything: AtomicBool::new(false),
        }
    }
}

impl Witnessed {
    pub(crate) fn now(&self) -> Moment {
        Moment::of(self.moment.load(Ordering::SeqCst))
    }

    pub(crate) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Remembers the nonce that every eviction removes. `None`: it cannot be read, and is not read
    /// again before a proof misses it.
    pub(crate) fn learn(&self, of_everything: Option<Nonce>) {
        if let Some(nonce) = of_everything {
            self.first_seen(nonce);
        }
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Forgets the nonce that every eviction removes, because something was evicted.
    pub(crate) fn forget(&self) {
        self.is_known.store(false, Ordering::Relaxed);
    }

    /// Returns whether the witnesses of a lease prove that nothing was evicted between a moment and the
    /// lease, and remembers them.
    pub(crate) fn prove(&self, witnesses: &Witnesses, since: Moment) -> bool {
        #[cfg(test)]
        if self.proves_everything.load(Ordering::Relaxed) {
            return true;
        }
        let is_older = |nonce| self.first_seen(nonce) < since;
        let by_everything = witnesses.of_everything.map(is_older);
        if by_everything == Some(false) {
            self.forget();
        }
        let by_address = is_older(witnesses.of_address);
        by_address || by_everything == Some(true)
    }

    /// Summarizes the state that later steps depend on.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> impl std::hash::Hash {
        let seen = self.seen.lock().unwrap();
        let seen: std::collections::BTreeMap<_, _> = seen
            .iter()
            .map(|(nonce, Moment(at))| (*nonce, *at))
            .collect();
        (self.now().0, seen, self.is_known())
    }

    /// Returns the moment when a nonce was seen first; now, if it is not remembered.
    fn first_seen(&self, nonce: Nonce) -> Moment {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() > REMEMBERED {
            seen.pop_lru();
        }
        *seen.get_or_insert(nonce, || {
            Moment::of(self.moment.fetch_add(1, Ordering::SeqCst))
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
        let witnessed = Witnessed::default();
        let early = witnessed.now();
        assert!(
            !witnessed.prove(&witnesses(Some(1), 2), early),
            "seen just now"
        );
        let later = witnessed.now();
        assert!(witnessed.prove(&witnesses(Some(1), 2), later));
        assert!(
            witnessed.prove(&witnesses(Some(1), 3), later),
            "nothing at all was evicted"
        );
        assert!(witnessed.prove(&witnesses(Some(4), 2), later), "not this");
        assert!(witnessed.prove(&witnesses(None, 2), later), "in a cluster");
        assert!(!witnessed.prove(&witnesses(Some(5), 6), later));
        assert!(
            !witnessed.prove(&witnesses(Some(1), 2), early),
            "what is older proves nothing"
        );
    }

    #[test]
    fn what_every_eviction_removes_is_asked_for_again_when_it_was_missed() {
        let witnessed = Witnessed::default();
        assert!(!witnessed.is_known());
        witnessed.learn(Some([1; 16]));
        assert!(witnessed.prove(&witnesses(Some(1), 2), witnessed.now()));
        assert!(witnessed.is_known());
        witnessed.prove(&witnesses(Some(3), 2), witnessed.now());
        assert!(!witnessed.is_known());
        witnessed.learn(None);
        assert!(witnessed.is_known());
    }
}
