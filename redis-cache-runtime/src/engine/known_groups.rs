//! The groups that responses have named, by the addresses of the responses. With them, a lookup reads
//! the nonces of the groups together with the entry, and a lease draws the nonces before the handler
//! runs.
//!
//! The groups of a response are known only after the run of its handler. If the nonce of a group was
//! not read before the run, the cache cannot tell whether the group was evicted during the run, so
//! the response is not stored. Its groups are remembered here and in the store, so that the next
//! response can be stored.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
#[cfg(test)]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use lru::LruCache;

use crate::key::{Address, Group, ResponseGroups};
use crate::store::Found;
use crate::store::entry::Entry;

/// The largest number of groups that one response may name.
pub(crate) const MAX_GROUPS: usize = 256;

/// The largest number of remembered groups of earlier responses, in addition to the groups of the last
/// response: a page may lose an item and get it back.
const MAX_EARLIER: usize = 32;

/// The largest number of expected groups: the groups of an entry that is kept, of the last response and
/// of earlier responses.
const MAX_EXPECTED: usize = 2 * MAX_GROUPS + MAX_EARLIER;

const SHARDS: usize = 16;

/// The memory that a shard may take.
const SHARD_BYTES: usize = 1 << 20;

/// The known groups of the most recently used addresses.
pub(crate) struct KnownGroups {
    /// Made when they are first needed.
    shards: OnceLock<[Mutex<Shard>; SHARDS]>,
    seed: RandomState,
    /// The buckets of the handlers whose responses have named groups, as bits. The lookups of other
    /// handlers take no lock.
    buckets: AtomicU64,
    /// Breaks the protocol on purpose, for a test that must detect the violation.
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
    /// The groups of the stored entry, as far as they are known.
    pub(crate) stored: ResponseGroups,
    /// All groups that the next response may name: the groups of the stored entry, then others.
    pub(crate) expected: ResponseGroups,
}

impl Known {
    /// Combines the groups of a stored entry with others, without repeats.
    fn new(stored: Vec<Group>, others: impl Iterator<Item = Group>) -> Self {
        let mut all: Vec<Group> = stored.clone();
        let mut seen: HashSet<Group> = stored.iter().cloned().collect();
        all.extend(others.filter(|group| seen.insert(group.clone())));
        all.truncate(MAX_EXPECTED);
        Self {
            stored: stored.into(),
            expected: all.into(),
        }
    }

    /// Returns the groups that the next response may name, without the groups of the stored entry.
    pub(crate) fn more_than_stored(&self) -> &[Group] {
        self.expected.get(self.stored.len()..).unwrap_or_default()
    }

    /// Returns whether these are the groups that an entry names.
    fn are_of(&self, entry: &Entry) -> bool {
        let stored = entry.groups().map(|(group, _)| group);
        stored.eq(self.stored.iter().map(AsRef::as_ref)) && self.include_expected(entry)
    }

    fn include_expected(&self, entry: &Entry) -> bool {
        let more = self.more_than_stored().iter().map(AsRef::as_ref);
        let is_expected = |group| self.expected.iter().any(|it| it == group);
        entry.expected_groups().eq(more) || entry.expected_groups().all(is_expected)
    }

    /// Returns groups of earlier responses that this response does not name: first the groups of the
    /// stored entry, then older groups. Each call drops the last of the older groups, so that an
    /// address does not keep a group for ever.
    fn earlier(self, response: &[Group]) -> impl Iterator<Item = Group> {
        let named: HashSet<Group> = response.iter().cloned().collect();
        let left = |group: &&Group| !named.contains(*group);
        let mut lost: Vec<_> = self.stored.iter().filter(left).cloned().collect();
        let older = self.more_than_stored().iter().filter(left);
        lost.extend(
            older
                .rev()
                .skip(1)
                .cloned()
                .collect::<Vec<_>>()
                .into_iter()
                .rev(),
        );
        lost.into_iter().take(MAX_EARLIER)
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
            shards: OnceLock::new(),
            seed: RandomState::new(),
            buckets: AtomicU64::new(0),
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
        if self.buckets.load(Ordering::Relaxed) & bit_of(at) == 0 {
            return None;
        }
        let hash = self.hash(at);
        self.shard(hash).by_address.get(&hash).cloned()
    }

    /// Learns the groups that a found entry names. Returns these groups if the lookup has not read all
    /// their nonces and must be repeated.
    pub(crate) fn learn_found(&self, at: &Address, found: &mut Found) -> Option<ResponseGroups> {
        let entry = found.entry_in_groups()?;
        let known = self.of(at).filter(|known| known.are_of(entry));
        let known = known.unwrap_or_else(|| self.learn_entry(at, entry));
        (!found.has_read_groups()).then_some(known.stored)
    }

    fn learn_entry(&self, at: &Address, entry: &Entry) -> Known {
        let owned = |group: &str| Group::Owned(group.to_owned());
        let stored = entry.groups().map(|(group, _)| owned(group));
        let stored = stored.take(MAX_GROUPS).collect();
        self.replace(at, |before| {
            let before = before.as_ref().map_or(&[][..], |before| &before.expected);
            let earlier = before.iter().take(MAX_EARLIER).cloned();
            Known::new(stored, entry.expected_groups().map(owned).chain(earlier))
        })
    }

    /// Learns the groups of a response that is to be stored.
    pub(crate) fn learn_stored(&self, at: &Address, response: &[Group]) -> Known {
        self.replace(at, |before| {
            let earlier = before
                .into_iter()
                .flat_map(|before| before.earlier(response));
            Known::new(response.to_vec(), earlier)
        })
    }

    /// Learns the groups of a response that is not stored because some of them were not known before
    /// the run. `stored` are the groups of the entry that remains.
    pub(crate) fn learn_expected(
        &self,
        at: &Address,
        stored: Vec<Group>,
        response: &[Group],
    ) -> Known {
        self.replace(at, |before| {
            let earlier = before
                .into_iter()
                .flat_map(|before| before.earlier(response));
            Known::new(stored, response.iter().cloned().chain(earlier))
        })
    }

    fn replace(&self, at: &Address, learn: impl FnOnce(Option<Known>) -> Known) -> Known {
        self.buckets.fetch_or(bit_of(at), Ordering::Relaxed);
        let hash = self.hash(at);
        let mut shard = self.shard(hash);
        let known = learn(shard.remove(hash));
        shard.insert(hash, known.clone());
        known
    }

    /// Returns the hash that stands for an address. If two addresses have the same hash, lookups read
    /// too many nonces.
    fn hash(&self, at: &Address) -> u64 {
        self.seed.hash_one(at)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let [first, ..] = hash.to_be_bytes();
        let new = || std::array::from_fn(|_| Mutex::default());
        let shard = &self.shards.get_or_init(new)[usize::from(first) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Summarizes the state that later steps of the model checker depend on.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> Vec<String> {
        let shards = self.shards.get().into_iter().flatten();
        let shards = shards.map(|shard| shard.lock().unwrap());
        let known = shards.flat_map(|shard| {
            let known = shard.by_address.iter();
            known
                .map(|(_, known)| format!("{known:?}"))
                .collect::<Vec<_>>()
        });
        known.collect()
    }
}

fn bit_of(at: &Address) -> u64 {
    1 << (at.key.bucket() % 64)
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
