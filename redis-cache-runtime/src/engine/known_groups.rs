//! The groups that responses have named, by the addresses of the responses. So a lookup reads their
//! nonces together with the entry, and a lease draws them before the handler runs.
//!
//! The groups of a response are known only after the run of its handler. If the nonce of a group was not
//! read before the run, nobody can tell whether the group was evicted meanwhile, so the response is not
//! stored. But its groups are remembered, here and in the store, so that the next response can be stored.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::key::{Address, Group, ResponseGroups};
use crate::store::Found;
use crate::store::entry::Entry;

/// The largest number of groups that one response may name.
pub(crate) const MAX_GROUPS: usize = 256;

/// The largest number of groups of earlier responses that are remembered together with those of the last
/// one: a page may lose an item and get it back.
const MAX_EARLIER: usize = 32;

const SHARDS: usize = 16;

/// The memory that a shard may take.
const SHARD_BYTES: usize = 1 << 20;

/// The known groups of the addresses that were used last.
pub(crate) struct KnownGroups {
    shards: [Mutex<Shard>; SHARDS],
    seed: RandomState,
    /// Some response has named groups. Otherwise lookups take no lock.
    is_used: AtomicBool,
    /// Breaks the protocol on purpose, for a test that must detect the error.
    #[cfg(test)]
    pub(crate) reads_after_run: AtomicBool,
}

struct Shard {
    by_address: LruCache<u64, Known>,
    bytes: usize,
}

/// The known groups of an address.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The groups of the entry that is stored, as far as it is known.
    pub(crate) stored: ResponseGroups,
    /// All groups that the next response may name. They begin with those of the last response.
    pub(crate) expected: ResponseGroups,
}

impl Known {
    /// Returns the groups of a response or an entry, followed by some of those known before.
    fn new(stored: Vec<Group>, expected: Vec<Group>, before: Option<&Self>) -> Self {
        let stored: ResponseGroups = stored.into();
        let mut all: Vec<Group> = stored.to_vec();
        all.extend(expected.into_iter().take(MAX_GROUPS));
        let earlier = before.iter().flat_map(|known| known.expected.iter());
        let earlier = earlier.filter(|group| !all.contains(*group));
        let earlier: Vec<_> = earlier.take(MAX_EARLIER).cloned().collect();
        all.extend(earlier);
        Self {
            stored,
            expected: all.into(),
        }
    }

    /// Returns the groups that the next response may name, without those of the stored entry.
    pub(crate) fn more_than_stored(&self) -> &[Group] {
        self.expected.get(self.stored.len()..).unwrap_or_default()
    }

    /// Returns whether these are the groups that an entry names.
    fn are_of(&self, entry: &Entry) -> bool {
        let stored = entry.groups().map(|(group, _)| group);
        let is_expected = |group| self.expected.iter().any(|it| it == group);
        stored.eq(self.stored.iter().map(AsRef::as_ref)) && entry.expected_groups().all(is_expected)
    }

    fn memory(&self) -> usize {
        const KNOWN: usize = size_of::<Known>() + 128;
        let group = |group: &Group| size_of::<Group>() + group.len() + 16;
        KNOWN + 2 * self.expected.iter().map(group).sum::<usize>()
    }
}

impl Default for KnownGroups {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            seed: RandomState::new(),
            is_used: AtomicBool::new(false),
            #[cfg(test)]
            reads_after_run: AtomicBool::new(false),
        }
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            by_address: LruCache::unbounded(),
            bytes: 0,
        }
    }
}

impl KnownGroups {
    /// Returns the known groups of an address.
    pub(crate) fn of(&self, at: &Address) -> Option<Known> {
        if !self.is_used.load(Ordering::Relaxed) {
            return None;
        }
        let hash = self.hash(at);
        self.shard(hash).by_address.get(&hash).cloned()
    }

    /// Learns the groups that a found entry names. Returns its groups if the lookup has not read all of
    /// their nonces, and must be repeated.
    pub(crate) fn learn_found(&self, at: &Address, found: &Found) -> Option<ResponseGroups> {
        let entry = found.entry.as_ref().filter(|entry| entry.names_groups())?;
        let entry = entry.clone().parse()?;
        let before = self.of(at);
        let known = match before.filter(|known| known.are_of(&entry)) {
            Some(known) => known,
            None => self.learn_entry(at, &entry),
        };
        let has_read =
            |(group, _): (&str, _)| found.groups.as_ref().is_some_and(|it| it.has(group));
        let has_read_all = entry.groups().all(has_read);
        (!has_read_all).then_some(known.stored)
    }

    fn learn_entry(&self, at: &Address, entry: &Entry) -> Known {
        let owned = |group: &str| Group::Owned(group.to_owned());
        let stored = entry.groups().map(|(group, _)| owned(group));
        let expected = entry.expected_groups().map(owned);
        self.learn(at, stored.take(MAX_GROUPS).collect(), expected.collect())
    }

    /// Learns the groups of an entry that is stored, and those that the next response may name.
    pub(crate) fn learn(&self, at: &Address, stored: Vec<Group>, expected: Vec<Group>) -> Known {
        self.is_used.store(true, Ordering::Relaxed);
        let hash = self.hash(at);
        let mut shard = self.shard(hash);
        let before = shard.remove(hash);
        let known = Known::new(stored, expected, before.as_ref());
        shard.insert(hash, known.clone());
        known
    }

    /// Returns the hash that stands for an address. If two addresses have the same, too many nonces are
    /// read.
    fn hash(&self, at: &Address) -> u64 {
        self.seed.hash_one(at)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let [first, ..] = hash.to_be_bytes();
        let shard = &self.shards[usize::from(first) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Summarizes the state that later steps of the model checker depend on.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> Vec<String> {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap());
        let known = shards.flat_map(|shard| {
            let known = shard.by_address.iter();
            known
                .map(|(_, known)| format!("{known:?}"))
                .collect::<Vec<_>>()
        });
        known.collect()
    }
}

impl Shard {
    fn insert(&mut self, hash: u64, known: Known) {
        self.bytes += known.memory();
        self.by_address.put(hash, known);
        while self.bytes > SHARD_BYTES
            && let Some((_, oldest)) = self.by_address.pop_lru()
        {
            self.bytes -= oldest.memory();
        }
    }

    fn remove(&mut self, hash: u64) -> Option<Known> {
        let known = self.by_address.pop(&hash)?;
        self.bytes -= known.memory();
        Some(known)
    }
}
