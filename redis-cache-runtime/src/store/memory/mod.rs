//! The store protocol in memory.
//!
//! The names are divided among shards, each with a lock of its own. A shard does for its names what one
//! Redis does for all: under the lock, each step of the protocol is atomic. All names that the requests
//! for one key use are in one shard: the entries and leases of the key and of the keys that extend it,
//! and *copies* of the nonces of buckets and groups. A shard seeds these copies by itself, like the
//! slots of a cluster their nonces of buckets. So a lookup takes one lock, which it shares with other
//! lookups, and the lookups of other keys take other locks.
//!
//! The eviction of a group, a handler or everything visits the shards one after another. Until it has
//! ended, some keys are evicted and others are not. Each key is evicted at one moment, when its shard is
//! visited, as if the eviction had happened just then. No request can tell the difference, because no
//! step reads the names of two shards.
//!
//! Only the witness, the nonce that every eviction removes, belongs to no shard. An eviction removes the
//! witness first, and a lease reads it last. So a lease that finds the old witness has read its other
//! nonces before the eviction removed them, and its entry is evicted.

mod shard;
mod witness;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::shard::{Shard, Value, hash};
use self::witness::Witness;
use super::{
    Claim, Claimed, Found, FoundEntry, Incarnation, Lease, LeaseTerms, Nonce, Stamps, Token,
};
use crate::key::{Address, CacheKey, Eviction, Names, Owed};
use crate::observe::fault::Fault;

/// The number of shards.
const SHARDS: usize = 16;

/// A bounded store in this process. The least recently used items are removed first, approximately, as
/// in a Redis with `maxmemory-policy allkeys-lru`.
pub(crate) struct MemoryStore {
    names: Names,
    shards: Box<[Slot]>,
    /// The seed of the hashes of names.
    seed: u64,
    witness: Witness,
    /// The memory that the items of all shards take.
    used: AtomicUsize,
    limit: usize,
}

/// A shard, apart from the others in memory, so that processors do not contend for it when they lock
/// its neighbor.
#[repr(align(128))]
struct Slot(RwLock<Shard>);

impl MemoryStore {
    pub(crate) fn new(prefix: &str, limit: usize) -> Self {
        Self::with_shards(SHARDS, prefix, limit)
    }

    /// Makes a store in which each name has one value, for the model checker.
    #[cfg(test)]
    pub(super) fn in_one_shard(prefix: &str, limit: usize) -> Self {
        Self::with_shards(1, prefix, limit)
    }

    fn with_shards(count: usize, prefix: &str, limit: usize) -> Self {
        let seed = RandomState::new().hash_one(prefix);
        let start = Instant::now();
        let shard = || Slot(RwLock::new(Shard::new(seed, limit / 2, start)));
        Self {
            names: Names::new(prefix),
            shards: (0..count).map(|_| shard()).collect(),
            seed,
            witness: Witness::default(),
            used: AtomicUsize::new(0),
            limit,
        }
    }

    pub(crate) fn get(&self, at: &Address, holder: bool) -> Found {
        let shard = self.read(self.shard_of(&at.key));
        let now = Instant::now();
        let mut found = Found {
            entry: shard.entry(self.names.entry(at), now),
            ..Found::default()
        };
        let nonces = self.names.nonces(at);
        nonces.for_each(|name| found.nonces.push(shard.nonce(name, now)));
        if at.reads_early() {
            found.nonces.push(self.witness.get());
        }
        if holder {
            found.holder = shard.holder(self.names.lease(at), now);
        }
        found.set_groups_apart(at);
        found
    }

    pub(crate) fn lease(
        &self,
        at: &Address,
        claim: Claim,
        token: Token,
        terms: LeaseTerms,
    ) -> Result<Claimed, Fault> {
        match self.claim(at, claim, token, terms.hold) {
            Err(holder) => Ok(Claimed::Held(holder)),
            Ok(entry) => {
                let nonces = self.seed(at, terms)?;
                let server = Incarnation::default();
                Lease::new(&self.names, at, claim, token, terms, nonces, server)
                    .map(|lease| Claimed::Taken(lease, entry))
            }
        }
    }

    /// Takes the lease and reads the entry, or reads the token of its holder.
    pub(super) fn claim(
        &self,
        at: &Address,
        claim: Claim,
        token: Token,
        hold: Duration,
    ) -> Result<Option<Bytes>, Token> {
        let name = claim.lease(&self.names, at);
        self.change(self.shard_of(&at.key), |shard, now| {
            let holder = shard.holder(name, now);
            if let Some(holder) = holder.filter(|_| claim != Claim::Override) {
                return Err(holder);
            }
            shard.set(name, Value::Nonce(token.0), Some(hold), now);
            Ok(match claim {
                Claim::IfFree | Claim::Alone => shard.entry(self.names.entry(at), now),
                Claim::Override => None,
            })
        })
        .map(|entry| entry.map(FoundEntry::into_bytes))
    }

    /// Reads the nonces, seeds missing ones, and extends their lifetimes.
    pub(super) fn seed(&self, at: &Address, terms: LeaseTerms) -> Result<Stamps, Fault> {
        let witness = self.names.witness();
        self.change(self.shard_of(&at.key), |shard, now| {
            // The witness comes last.
            let nonces = terms.nonces(&self.names, at);
            let seeded = nonces.map(|(name, ttl)| {
                if Some(name) == witness {
                    Ok(self.witness.seed())
                } else {
                    shard.seed(name, ttl, now)
                }
            });
            seeded.collect()
        })
    }

    /// Reads the nonce that every eviction removes, or makes it.
    pub(crate) fn witness(&self) -> Nonce {
        self.witness.seed()
    }

    pub(crate) fn renew(&self, at: &Address, lease: &Lease, token: Token, hold: Duration) -> bool {
        let name = lease.claim.lease(&self.names, at);
        self.change(self.shard_of(&at.key), |shard, now| {
            let is_held = shard.holder(name, now) == Some(lease.token);
            if is_held {
                shard.set(name, Value::Nonce(token.0), Some(hold), now);
            }
            is_held
        })
    }

    pub(crate) fn put(
        &self,
        at: &Address,
        lease: &Lease,
        entry: Bytes,
        ttl: Option<Duration>,
    ) -> bool {
        let entry = Value::Entry(FoundEntry::Bytes(entry).decoded());
        let is_write = lease.claim == Claim::Override;
        let eviction = is_write.then(|| Eviction::Key(at.key.clone()));
        if eviction.as_ref().is_some_and(Eviction::concerns_responses) {
            self.witness.remove();
        }
        let (lease_name, entry_name) = (lease.claim.lease(&self.names, at), self.names.entry(at));
        self.change(self.shard_of(&at.key), |shard, now| {
            let held = shard.holder(lease_name, now) == Some(lease.token);
            match &eviction {
                None if !held => {}
                None => shard.remove(lease_name),
                Some(eviction) => {
                    shard.remove_all([lease_name, entry_name, self.names.lease(at)]);
                    shard.remove_all(self.names.evicted(eviction));
                    if let Some(variants) = lease.variants.as_deref().filter(|_| held) {
                        let name = self.names.variants(&at.key);
                        shard.set(name, Value::Nonce(*variants), ttl, now);
                    }
                }
            }
            if held {
                for (name, holds_value) in self.names.nonces_by_origin(at) {
                    if holds_value {
                        shard.prolong(name, ttl, now);
                    }
                }
                shard.set(entry_name, entry, ttl, now);
            }
            held
        })
    }

    pub(crate) fn prolong(&self, at: &Address, ttl: Option<Duration>) -> Result<(), Fault> {
        self.change(self.shard_of(&at.key), |shard, now| {
            let mut names = self.names.nonces(at);
            names.try_for_each(|name| shard.seed(name, ttl, now).map(drop))
        })
    }

    pub(crate) fn release(&self, at: &Address, claim: Claim, token: Token) {
        let name = claim.lease(&self.names, at);
        self.change(self.shard_of(&at.key), |shard, now| {
            if shard.holder(name, now) == Some(token) {
                shard.remove(name);
            }
        });
    }

    pub(crate) fn remove(&self, owed: &[Owed]) {
        let evictions = || owed.iter().map(|owed| &owed.eviction);
        if evictions().any(Eviction::concerns_responses) {
            self.witness.remove();
        }
        let evicted = |eviction| {
            (
                self.shard_evicted_by(eviction),
                self.names.evicted(eviction),
            )
        };
        let evicted: Vec<_> = evictions().map(evicted).collect();
        for at in 0..self.shards.len() {
            let mut names = evicted
                .iter()
                .filter(|(only, _)| only.is_none_or(|only| only == at))
                .flat_map(|(_, names)| names.iter().copied())
                .peekable();
            if names.peek().is_some() {
                self.change(at, |shard, _| shard.remove_all(names));
            }
        }
    }

    /// Returns the only shard that an eviction concerns; `None`: it concerns all of them.
    fn shard_evicted_by(&self, eviction: &Eviction) -> Option<usize> {
        match eviction {
            Eviction::Key(key) => Some(self.shard_of(key)),
            Eviction::Group(_) | Eviction::Handler(_) | Eviction::All => None,
        }
    }

    /// Returns the shard of a key, and of the keys that extend it.
    fn shard_of(&self, key: &CacheKey) -> usize {
        let text = key.base().unwrap_or_else(|| key.text());
        // The index of a shard uses the bits at both ends.
        let [_, _, _, middle, ..] = hash(text, self.seed).to_be_bytes();
        usize::from(middle) % self.shards.len().max(1)
    }

    /// Changes a shard in one step, then frees memory if too much is used.
    fn change<T>(&self, at: usize, change: impl FnOnce(&mut Shard, Instant) -> T) -> T {
        let changed = self.locked(at, |shard| change(shard, Instant::now()));
        self.reclaim();
        changed
    }

    /// Changes a shard, and counts the memory that it takes now.
    fn locked<T>(&self, at: usize, change: impl FnOnce(&mut Shard) -> T) -> T {
        let mut shard = self.write(at);
        let before = shard.used;
        let changed = change(&mut shard);
        if shard.used > before {
            self.used.fetch_add(shard.used - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - shard.used, Ordering::Relaxed);
        }
        changed
    }

    /// Removes items until the limit is kept: the least recently used of a sample, as Redis does.
    fn reclaim(&self) {
        // A round without success means that other threads have changed the sampled shards, which then
        // keep the limit themselves.
        const ROUNDS_WITHOUT_SUCCESS: usize = 3;
        let is_over = || self.used.load(Ordering::Relaxed) > self.limit;
        let mut without_success = 0;
        let mut sample = Vec::new();
        while is_over() && without_success < ROUNDS_WITHOUT_SUCCESS {
            sample.clear();
            let now = Instant::now();
            for at in 0..self.shards.len() {
                self.read(at).sample(at, now, &mut sample);
            }
            sample.sort_unstable_by_key(|candidate| candidate.last_used);
            // The recently used part of the sample stays, in case that all of it is recently used.
            let oldest = sample.iter().take(sample.len().div_ceil(4));
            let removed = oldest.take_while(|_| is_over()).filter(|candidate| {
                self.locked(candidate.shard, |shard| shard.remove_candidate(candidate))
            });
            if removed.count() == 0 {
                without_success += 1;
            }
        }
    }

    fn read(&self, at: usize) -> RwLockReadGuard<'_, Shard> {
        let lock = &self.shards[at].0;
        lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks a shard. A panic under the lock can only come from an allocation failure, and leaves every
    /// item whole.
    fn write(&self, at: usize) -> RwLockWriteGuard<'_, Shard> {
        let lock = &self.shards[at].0;
        lock.write().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Returns every name with its value, in order.
    #[cfg(test)]
    pub(super) fn contents(&self) -> std::collections::BTreeMap<Vec<u8>, Bytes> {
        let witness = self.names.witness().zip(self.witness.get());
        let witness =
            witness.map(|(name, nonce)| (name.concat().into_bytes(), nonce.to_vec().into()));
        let shards = 0..self.shards.len();
        let items = shards.flat_map(|at| self.read(at).contents().collect::<Vec<_>>());
        items.chain(witness).collect()
    }

    /// Removes a name, as `maxmemory` or a restart may.
    #[cfg(test)]
    pub(super) fn lose(&self, name: &[u8]) {
        let witness = self.names.witness().map(|name| name.concat());
        if witness.is_some_and(|witness| witness.as_bytes() == name) {
            self.witness.remove();
        }
        for at in 0..self.shards.len() {
            self.locked(at, |shard| shard.lose(name));
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
