//! Counts the invalidations of names.

use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::heap;
use crate::key::Name;

/// The number of counters. Names that share a counter are invalidated together, which costs a lookup.
const COUNTERS: usize = 16 * 1024;

/// A counter of invalidations for each name. Names share counters by their hashes, so that any number of
/// names takes the same memory.
pub(super) struct Epochs {
    /// The invalidations of all names.
    all: AtomicU64,
    counters: Box<[AtomicU64]>,
}

/// The counts of names at one time. While they do not change, none of the names was invalidated.
pub(crate) struct Token {
    all: u64,
    /// The index of each name's counter, and its count.
    counts: SmallVec<[(usize, u64); 4]>,
}

impl Token {
    /// Returns the memory that the token takes besides itself.
    pub(super) fn memory(&self) -> usize {
        heap(&self.counts)
    }
}

impl Default for Epochs {
    fn default() -> Self {
        Self {
            all: AtomicU64::new(0),
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Epochs {
    pub(super) const MEMORY: usize = COUNTERS * size_of::<AtomicU64>();

    pub(super) fn token<'a>(&self, names: impl Iterator<Item = Name<'a>>) -> Token {
        let all = self.all.load(Ordering::SeqCst);
        let mut bytes: SmallVec<[u8; 256]> = SmallVec::new();
        let count = |name: Name<'a>| {
            bytes.clear();
            for piece in name {
                bytes.extend_from_slice(piece.as_bytes());
            }
            let index = index(&bytes);
            (index, self.counters[index].load(Ordering::SeqCst))
        };
        Token {
            all,
            counts: names.map(count).collect(),
        }
    }

    /// Returns whether no name of a token was invalidated since the token was taken.
    pub(super) fn are_current(&self, token: &Token) -> bool {
        let is_current = |(index, count): &(usize, u64)| {
            let counter = self.counters.get(*index);
            counter.is_some_and(|counter| counter.load(Ordering::SeqCst) == *count)
        };
        self.all.load(Ordering::SeqCst) == token.all && token.counts.iter().all(is_current)
    }

    pub(super) fn invalidate(&self, name: &[u8]) {
        self.counters[index(name)].fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn invalidate_all(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
    }
}

fn index(name: &[u8]) -> usize {
    // The remainder is less than the number of counters.
    usize::try_from(xxh3_64(name) % COUNTERS as u64).unwrap_or_default()
}
