//! A part of the store in memory: items by name, with the memory that they take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(test)]
use bytes::Bytes;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::key::Name;
use crate::observe::fault::Fault;
use crate::store::{FoundEntry, Nonce, Token, random_nonce};

/// The memory of an item besides its name and value: its place in the list, and in the index.
const ITEM_OVERHEAD: usize = size_of::<Item>() + 4 * size_of::<usize>();

/// The number of items of a shard that [`Shard::sample`] looks at.
const SAMPLED: usize = 5;

/// A part of the store: items by name.
///
/// A read changes nothing but the time at which an item was used, so several threads can read at once.
pub(super) struct Shard {
    items: Vec<Item>,
    /// The positions of the items, by the hashes of their names.
    index: HashTable<usize>,
    /// The memory that the items take.
    pub(super) used: usize,
    /// The time from which [ticks](Self::tick) count.
    start: Instant,
    /// The seed of the hashes, so that clients cannot choose names with equal hashes.
    seed: u64,
    /// Items that take more memory are not stored.
    largest: usize,
}

struct Item {
    name: Box<[u8]>,
    hash: u64,
    value: Value,
    expires: Option<Instant>,
    /// The [tick](Shard::tick) at which the item was last stored or read.
    last_used: AtomicU64,
}

/// An item that may be removed to free memory.
pub(super) struct Candidate {
    /// The tick at which the item was last used; zero if it has expired.
    pub(super) last_used: u64,
    pub(super) shard: usize,
    position: usize,
    hash: u64,
}

/// The value of an item.
pub(super) enum Value {
    /// A nonce, or the token of a lease.
    Nonce(Nonce),
    Entry(FoundEntry),
}

impl Shard {
    pub(super) fn new(seed: u64, largest: usize, start: Instant) -> Self {
        Self {
            items: Vec::new(),
            index: HashTable::new(),
            used: 0,
            start,
            seed,
            largest,
        }
    }

    /// Reads an entry that has not expired.
    pub(super) fn entry(&self, name: Name<'_>, now: Instant) -> Option<FoundEntry> {
        match self.read(name, now)? {
            Value::Entry(entry) => Some(entry.clone()),
            Value::Nonce(_) => None,
        }
    }

    /// Reads a nonce that has not expired.
    pub(super) fn nonce(&self, name: Name<'_>, now: Instant) -> Option<Nonce> {
        match self.read(name, now)? {
            Value::Nonce(nonce) => Some(*nonce),
            Value::Entry(_) => None,
        }
    }

    /// Reads the token of a lease that has not ended.
    pub(super) fn holder(&self, name: Name<'_>, now: Instant) -> Option<Token> {
        self.nonce(name, now).map(Token)
    }

    fn read(&self, name: Name<'_>, now: Instant) -> Option<&Value> {
        let item = self.items.get(self.position(name)?)?;
        if item.is_expired(now) {
            return None;
        }
        let tick = self.tick(now);
        // An item that is read very often is not written each time, so that its memory stays in the
        // caches of all processors.
        if item.last_used.load(Ordering::Relaxed) != tick {
            item.last_used.store(tick, Ordering::Relaxed);
        }
        Some(&item.value)
    }

    /// Reads or draws a nonce, and extends its lifetime to at least `ttl` from now.
    pub(super) fn seed(
        &mut self,
        name: Name<'_>,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<Nonce, Fault> {
        if let Some(nonce) = self.nonce(name, now) {
            self.prolong(name, ttl, now);
            return Ok(nonce);
        }
        let nonce = random_nonce()?;
        self.set(name, Value::Nonce(nonce), ttl, now);
        Ok(nonce)
    }

    /// Extends the lifetime of an item, if there is one.
    pub(super) fn prolong(&mut self, name: Name<'_>, ttl: Option<Duration>, now: Instant) {
        let position = self.position(name);
        if let Some(item) = position.and_then(|position| self.items.get_mut(position)) {
            // `None` lasts longest.
            let both = item.expires.zip(expiry(ttl, now));
            item.expires = both.map(|(have, wanted)| have.max(wanted));
        }
    }

    /// Stores an item, unless it would take too much memory.
    pub(super) fn set(
        &mut self,
        name: Name<'_>,
        value: Value,
        ttl: Option<Duration>,
        now: Instant,
    ) {
        self.remove(name);
        let item = Item {
            hash: self.hash(name),
            name: name.concat().into_bytes().into_boxed_slice(),
            value,
            expires: expiry(ttl, now),
            last_used: AtomicU64::new(self.tick(now)),
        };
        let memory = item.memory();
        if memory > self.largest {
            return;
        }
        self.used += memory;
        let (hash, position) = (item.hash, self.items.len());
        self.items.push(item);
        let items = &self.items;
        let hash_at = |at: &usize| items.get(*at).map_or(0, |item| item.hash);
        self.index.insert_unique(hash, position, hash_at);
    }

    pub(super) fn remove_all<'a>(&mut self, names: impl IntoIterator<Item = Name<'a>>) {
        for name in names {
            self.remove(name);
        }
    }

    pub(super) fn remove(&mut self, name: Name<'_>) {
        if let Some(position) = self.position(name) {
            self.remove_at(position);
        }
    }

    fn remove_at(&mut self, position: usize) {
        let Some(hash) = self.items.get(position).map(|item| item.hash) else {
            return;
        };
        if let Ok(slot) = self.index.find_entry(hash, |at| *at == position) {
            slot.remove();
        }
        let removed = self.items.swap_remove(position);
        self.used -= removed.memory();
        // The last item has moved to the place of the removed one.
        let moved_from = self.items.len();
        if let Some(moved) = self.items.get(position)
            && let Some(at) = self.index.find_mut(moved.hash, |at| *at == moved_from)
        {
            *at = position;
        }
    }

    /// Appends random items, as candidates for being removed; all items, if there are few.
    pub(super) fn sample(&self, shard: usize, now: Instant, into: &mut Vec<Candidate>) {
        let mut add = |position: usize| {
            if let Some(item) = self.items.get(position) {
                let last_used = item.last_used.load(Ordering::Relaxed);
                into.push(Candidate {
                    last_used: if item.is_expired(now) { 0 } else { last_used },
                    shard,
                    position,
                    hash: item.hash,
                });
            }
        };
        let count = self.items.len();
        if count <= SAMPLED {
            (0..count).for_each(add);
        } else {
            (0..SAMPLED).for_each(|_| add(fastrand::usize(..count)));
        }
    }

    /// Removes a candidate, unless another item has its position now. Returns whether it did.
    pub(super) fn remove_candidate(&mut self, candidate: &Candidate) -> bool {
        let item = self.items.get(candidate.position);
        let is_there = item.is_some_and(|item| item.hash == candidate.hash);
        if is_there {
            self.remove_at(candidate.position);
        }
        is_there
    }

    /// Returns the number of units of about a microsecond until a time.
    fn tick(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start);
        since.as_secs() << 20 | u64::from(since.subsec_nanos() >> 10)
    }

    fn position(&self, name: Name<'_>) -> Option<usize> {
        let hash = self.hash(name);
        let is_wanted = |at: &usize| {
            let item = self.items.get(*at);
            item.is_some_and(|item| item.hash == hash && item.is_named(name))
        };
        self.index.find(hash, is_wanted).copied()
    }

    /// Returns the hash of a name. It leaves out the kind of a name with a text, so the names of a key
    /// have equal hashes.
    fn hash(&self, [kind, text, _, variant]: Name<'_>) -> u64 {
        let text = if text.is_empty() { kind } else { text };
        let hash = hash(text, self.seed);
        if variant.is_empty() {
            hash
        } else {
            self::hash(variant, hash)
        }
    }

    /// Returns every name with its value.
    #[cfg(test)]
    pub(super) fn contents(&self) -> impl Iterator<Item = (Vec<u8>, Bytes)> {
        self.items.iter().map(|item| {
            let value = match &item.value {
                Value::Nonce(nonce) => Bytes::copy_from_slice(nonce),
                Value::Entry(entry) => entry.clone().into_bytes(),
            };
            (item.name.to_vec(), value)
        })
    }

    /// Removes an item by the bytes of its name.
    #[cfg(test)]
    pub(super) fn lose(&mut self, name: &[u8]) {
        if let Some(position) = self.items.iter().position(|item| *item.name == *name) {
            self.remove_at(position);
        }
    }
}

impl Item {
    fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn is_named(&self, name: Name<'_>) -> bool {
        let mut rest = &*self.name;
        for piece in name {
            match rest.strip_prefix(piece.as_bytes()) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }

    fn memory(&self) -> usize {
        let value = match &self.value {
            Value::Nonce(_) => 0,
            Value::Entry(entry) => entry.memory(),
        };
        self.name.len() + value + ITEM_OVERHEAD
    }
}

/// Returns the hash of a text.
pub(super) fn hash(text: &str, seed: u64) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), seed)
}

/// Returns the time `ttl` from now; `None`: no expiry, or a time that cannot be represented.
fn expiry(ttl: Option<Duration>, now: Instant) -> Option<Instant> {
    ttl.and_then(|ttl| now.checked_add(ttl))
}
