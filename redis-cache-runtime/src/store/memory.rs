//! The store protocol in memory. Each step does under one lock what a command or script does in Redis.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lru::LruCache;

use super::entry::Entry;
use super::{
    Claim, Claimed, Found, FoundEntry, Incarnation, Lease, LeaseTerms, Nonce, Stamps, Token, WITNESS_TTL,
    random_nonce,
};
use crate::key::{Address, Eviction, Name, Names, Owed};
use crate::observe::fault::Fault;

/// The cost of an item besides its name and value: the bookkeeping of the map and the list.
const ITEM_OVERHEAD: usize = 128;

/// A bounded store in this process. The least recently used items are removed first, as in a Redis with
/// `maxmemory-policy allkeys-lru`.
pub(crate) struct MemoryStore {
    names: Names,
    table: Mutex<Table>,
}

struct Table {
    items: LruCache<Vec<u8>, Item>,
    used: usize,
    limit: usize,
    /// The buffer in which a name is built for a lookup.
    name: Vec<u8>,
}

struct Item {
    value: Value,
    expires: Option<Instant>,
}

enum Value {
    /// A nonce, a token, or an entry that does not parse.
    Bytes(Bytes),
    /// An entry, parsed and decoded when it was stored.
    Entry(Entry),
}

impl MemoryStore {
    pub(crate) fn new(prefix: &str, limit: usize) -> Self {
        let table = Table {
            items: LruCache::unbounded(),
            used: 0,
            limit,
            name: Vec::new(),
        };
        Self {
            names: Names::new(prefix),
            table: Mutex::new(table),
        }
    }

    pub(crate) fn get(&self, at: &Address, holder: bool) -> Found {
        let mut table = self.table();
        let mut found = Found {
            entry: table.read(self.names.entry(at), Value::to_found),
            ..Found::default()
        };
        for name in self.names.nonces(at) {
            found.nonces.push(table.nonce(name));
        }
        if at.reads_early() {
            let witness = self.names.witness_of(at);
            found
                .nonces
                .push(witness.and_then(|name| table.nonce(name)));
        }
        if holder {
            found.holder = table.holder(self.names.lease(at));
        }
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
        let mut table = self.table();
        let name = claim.lease(&self.names, at);
        let holder = table.holder(name).filter(|_| claim != Claim::Override);
        if let Some(holder) = holder {
            return Err(holder);
        }
        table.set(name, Value::copy(&token.0), Some(hold));
        Ok(match claim {
            Claim::IfFree | Claim::Alone => {
                table.read(self.names.entry(at), |value| value.bytes().clone())
            }
            Claim::Override => None,
        })
    }

    /// Reads the nonces, seeds missing ones, and extends their lifetimes.
    pub(super) fn seed(&self, at: &Address, terms: LeaseTerms) -> Result<Stamps, Fault> {
        let mut table = self.table();
        let nonces = terms.nonces(&self.names, at);
        nonces.map(|(name, ttl)| table.seed(name, ttl)).collect()
    }

    pub(crate) fn witness(&self) -> Result<Option<Nonce>, Fault> {
        let seed = |name| self.table().seed(name, Some(WITNESS_TTL));
        self.names.witness().map(seed).transpose()
    }

    pub(crate) fn renew(&self, at: &Address, lease: &Lease, token: Token, hold: Duration) -> bool {
        let mut table = self.table();
        let name = lease.claim.lease(&self.names, at);
        let is_held = table.holder(name) == Some(lease.token);
        if is_held {
            table.set(name, Value::copy(&token.0), Some(hold));
        }
        is_held
    }

    pub(crate) fn put(
        &self,
        at: &Address,
        lease: &Lease,
        entry: Bytes,
        ttl: Option<Duration>,
    ) -> bool {
        let mut table = self.table();
        let (lease_name, entry_name) = (lease.claim.lease(&self.names, at), self.names.entry(at));
        let held = table.holder(lease_name) == Some(lease.token);
        match lease.claim {
            Claim::IfFree | Claim::Alone if !held => {}
            Claim::IfFree | Claim::Alone => table.remove(lease_name),
            Claim::Override => {
                table.remove_all([lease_name, entry_name, self.names.lease(at)]);
                table.remove_all(self.names.evicted(&Eviction::Key(at.key.clone())));
                if let Some(variants) = lease.variants.as_deref().filter(|_| held) {
                    table.set(self.names.variants(&at.key), Value::copy(variants), ttl);
                }
            }
        }
        if held {
            for (name, holds_value) in self.names.nonces_by_origin(at) {
                if holds_value {
                    table.prolong(name, ttl);
                }
            }
            table.set(entry_name, Value::entry(entry), ttl);
        }
        held
    }

    pub(crate) fn prolong(&self, at: &Address, ttl: Option<Duration>) -> Result<(), Fault> {
        let mut table = self.table();
        let seeded = self.names.nonces(at).map(|name| table.seed(name, ttl));
        seeded.collect::<Result<Stamps, Fault>>().map(drop)
    }

    pub(crate) fn release(&self, at: &Address, claim: Claim, token: Token) {
        let mut table = self.table();
        let name = claim.lease(&self.names, at);
        if table.holder(name) == Some(token) {
            table.remove(name);
        }
    }

    pub(crate) fn remove(&self, owed: &[Owed]) {
        let mut table = self.table();
        for Owed { eviction, .. } in owed {
            table.remove_all(self.names.evicted(eviction));
        }
    }

    #[cfg(test)]
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Returns every name with its value, in order.
    #[cfg(test)]
    pub(super) fn contents(&self) -> std::collections::BTreeMap<Vec<u8>, Bytes> {
        let table = self.table();
        let items = table.items.iter();
        items
            .map(|(name, item)| (name.clone(), item.value.bytes().clone()))
            .collect()
    }

    /// Removes a name, as `maxmemory` or a restart may.
    #[cfg(test)]
    pub(super) fn lose(&self, name: &[u8]) {
        self.table().forget(name);
    }

    /// Locks the table. A panic under the lock can only come from an allocation failure, and leaves
    /// every item whole.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Reads a value that has not expired.
    fn read<T>(&mut self, name: Name<'_>, read: impl FnOnce(&Value) -> T) -> Option<T> {
        let item = self.items.get(write(&mut self.name, name))?;
        if item.expires.is_none_or(|expires| Instant::now() < expires) {
            return Some(read(&item.value));
        }
        let name = std::mem::take(&mut self.name);
        self.forget(&name);
        None
    }

    fn nonce(&mut self, name: Name<'_>) -> Option<Nonce> {
        self.read(name, |value| value.bytes().as_ref().try_into().ok())?
    }

    fn holder(&mut self, name: Name<'_>) -> Option<Token> {
        self.read(name, |value| Token::of_bytes(value.bytes()))
    }

    /// Reads or draws a nonce, and extends its lifetime to at least `ttl` from now.
    fn seed(&mut self, name: Name<'_>, ttl: Option<Duration>) -> Result<Nonce, Fault> {
        let Some(nonce) = self.nonce(name) else {
            let nonce = random_nonce()?;
            self.set(name, Value::copy(&nonce), ttl);
            return Ok(nonce);
        };
        self.prolong(name, ttl);
        Ok(nonce)
    }

    /// Extends the lifetime of an item, if there is one.
    fn prolong(&mut self, name: Name<'_>, ttl: Option<Duration>) {
        if let Some(item) = self.items.get_mut(write(&mut self.name, name)) {
            // `None` lasts longest.
            let both = item.expires.zip(expiry(ttl));
            item.expires = both.map(|(have, wanted)| have.max(wanted));
        }
    }

    /// Inserts an item, unless it would take more than half of the memory.
    fn set(&mut self, name: Name<'_>, value: Value, ttl: Option<Duration>) {
        let name = name.concat().into_bytes();
        self.forget(&name);
        let cost = cost(&name, &value);
        if cost > self.limit / 2 {
            return;
        }
        self.used += cost;
        let expires = expiry(ttl);
        self.items.put(name, Item { value, expires });
        while self.used > self.limit {
            let Some((name, item)) = self.items.pop_lru() else {
                break;
            };
            self.used -= self::cost(&name, &item.value);
        }
    }

    fn remove_all<'a>(&mut self, names: impl IntoIterator<Item = Name<'a>>) {
        for name in names {
            self.remove(name);
        }
    }

    fn remove(&mut self, name: Name<'_>) {
        self.forget(&name.concat().into_bytes());
    }

    fn forget(&mut self, name: &[u8]) {
        if let Some(item) = self.items.pop(name) {
            self.used -= cost(name, &item.value);
        }
    }
}

fn write<'a>(out: &'a mut Vec<u8>, name: Name<'_>) -> &'a [u8] {
    out.clear();
    for piece in name {
        out.extend_from_slice(piece.as_bytes());
    }
    out
}

/// Returns the time `ttl` from now; `None`: no expiry, or a time that cannot be represented.
fn expiry(ttl: Option<Duration>) -> Option<Instant> {
    ttl.and_then(|ttl| Instant::now().checked_add(ttl))
}

fn cost(name: &[u8], value: &Value) -> usize {
    let value = match value {
        Value::Bytes(bytes) => bytes.len(),
        Value::Entry(entry) => entry.memory(),
    };
    name.len() + value + ITEM_OVERHEAD
}

impl Value {
    fn copy(bytes: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }

    fn entry(bytes: Bytes) -> Self {
        match Entry::parse(bytes.clone()) {
            Some(entry) => Self::Entry(entry.decoded()),
            None => Self::Bytes(bytes),
        }
    }

    fn bytes(&self) -> &Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Entry(entry) => entry.bytes(),
        }
    }

    fn to_found(&self) -> FoundEntry {
        match self {
            Self::Bytes(bytes) => FoundEntry::Bytes(bytes.clone()),
            Self::Entry(entry) => FoundEntry::Parsed(entry.clone()),
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}
