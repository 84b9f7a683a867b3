//! Remembers which entries are large. They are read on a connection of their own, because the replies to
//! other lookups would be late behind a large one.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::request::Purpose;
use crate::key::Name;
use crate::store::near::LONGEST_ENTRY;

/// The smallest length of a large entry, in bytes. The near cache keeps no longer ones, because nothing is
/// tracked on the connection of large entries.
pub(super) const LARGE: usize = LONGEST_ENTRY;

const PLACES: usize = 1024;

/// The hashes of the names of large entries. If two entries have the same place, the later one replaces
/// the other, whose next lookup then uses an ordinary connection.
pub(super) struct LargeEntries {
    hasher: RandomState,
    /// Most applications have no large entry, so their lookups skip the hash.
    any: AtomicBool,
    places: Box<[AtomicU64]>,
}

impl LargeEntries {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            any: AtomicBool::new(false),
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Returns the purpose of a lookup of an entry.
    pub(super) fn lookup(&self, name: Name<'_>) -> Purpose {
        if !self.any.load(Ordering::Relaxed) {
            return Purpose::LOOKUP;
        }
        let hash = self.hasher.hash_one(name);
        let is_large = self.place(hash).load(Ordering::Relaxed) == hash;
        Purpose::LOOKUP.of_large(is_large)
    }

    /// Records the length of an entry. Returns whether it is large.
    pub(super) fn note(&self, name: Name<'_>, length: usize) -> bool {
        let is_large = length >= LARGE;
        if is_large || self.any.load(Ordering::Relaxed) {
            let hash = self.hasher.hash_one(name);
            let place = self.place(hash);
            if is_large {
                self.any.store(true, Ordering::Relaxed);
                place.store(hash, Ordering::Relaxed);
            } else if place.load(Ordering::Relaxed) == hash {
                place.store(0, Ordering::Relaxed);
            }
        }
        is_large
    }

    fn place(&self, hash: u64) -> &AtomicU64 {
        let place = usize::try_from(hash % PLACES as u64).unwrap_or_default();
        &self.places[place]
    }
}
