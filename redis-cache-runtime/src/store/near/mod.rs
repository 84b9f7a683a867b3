//! The near cache: copies of entries in this process, which Redis keeps coherent.
//!
//! When the response to an eviction starts, no process serves the evicted entry from its near cache:
//!
//! * Redis remembers the names that are read on a connection, and pushes an invalidation when the value
//!   of one of them changes. A push is applied before any later reply on the connection is used. So a
//!   reply proves that the invalidations of all changes before its command have been applied.
//! * A copy is served only while its connection has a proof: a reply whose command was sent less than a
//!   window ago. Only values that were read on such a connection are kept, and only if none of their
//!   names was invalidated since before the read.
//! * The connection is a member of a registry in Redis, and keeps and serves copies only while it knows
//!   that.
//! * In a cluster, the names of a copy are read on connections to several nodes, and each of them needs a
//!   proof. The registry is on one node, and the connection to that node is the member. Before it
//!   acknowledges an eviction, all other connections have new proofs, or none.
//! * The process that evicts reads the registry after it has deleted the names, and waits until each
//!   member has acknowledged that it has applied the invalidations, or until the window has passed.
//!
//! [`connection`] is the part of the process that keeps copies, [`eviction`] that of the process that
//! evicts. The model checker runs both.

mod clock;
pub(crate) mod connection;
mod epochs;
pub(crate) mod eviction;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::DefaultHashBuilder;
use memmap2::MmapMut;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use smallvec::SmallVec;

use self::connection::TrackedConnection;
use self::epochs::Epochs;
pub(crate) use self::epochs::Token;
use super::entry::ALLOCATION;
use super::{Found, FoundEntry, GroupNonces};
use crate::key::{Address, Name};
use crate::observe::status::NearCacheStatus;

pub(crate) use self::clock::now;
#[cfg(test)]
pub(crate) use self::clock::use_ticks;

/// The memory of a place in the tables of the cache, which grow to twice their length.
const PLACE: usize = 80;

/// The memory of a copy besides its entry, the texts of its address and long lists.
const COPY: usize = PLACE + size_of::<Address>() + size_of::<Copy>() + 2 * ALLOCATION;

/// The memory of a text besides its bytes. A group is in a list.
const TEXT: usize = ALLOCATION + size_of::<String>();

/// The memory for which the cache expects one entry. It remembers the hashes of half as many evicted
/// entries as it expects, each in a place of its own.
const EXPECTED_COPY: usize = 1280;

/// The part of the limit for the memory that the allocator keeps after copies were removed, as a divisor.
const RESERVE: usize = 12;

/// The longest entry that is kept, in bytes. Redis sends longer ones on a connection of their own, on
/// which nothing is tracked.
pub(crate) const LONGEST_ENTRY: usize = 256 * 1024;

/// The shortest entry that is kept in pages of its own. An allocator with an arena for each thread keeps
/// the memory of removed entries in the arenas: with long entries, the process would take up to twice the
/// limit.
const SHORTEST_MAPPED: usize = 8 * 1024;

/// The largest number of entries in pages of their own. Linux allows a process 65530 mappings.
const MAX_MAPPED: usize = 32 * 1024;

/// The unit to which the memory of an entry in pages is rounded up.
const PAGE: usize = 4096;

/// The number of entries of the greatest length that a shard of the cache has room for.
const SHARD_ENTRIES: usize = 8;

const MAX_SHARDS: usize = 64;

/// The copies of one process.
pub(crate) struct NearCache {
    copies: Cache<Box<Address>, Arc<Copy>, Weight, DefaultHashBuilder>,
    epochs: Epochs,
    limit: usize,
    /// Entries of this length and longer ones are in pages of their own.
    mapped_from: usize,
}

/// The result of a lookup, and what it takes to serve it again.
struct Copy {
    found: Found,
    names: Token,
    member: Arc<TrackedConnection>,
    /// The connections on which the names were read, except the member.
    others: Box<[Arc<TrackedConnection>]>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<Address>, Arc<Copy>> for Weight {
    fn weight(&self, at: &Box<Address>, copy: &Arc<Copy>) -> u64 {
        let texts = at.texts().map(|text| TEXT + text.len());
        let groups = copy.found.groups.as_deref().map_or(0, GroupNonces::memory);
        let lists = copy.names.memory() + heap(&copy.found.nonces) + groups;
        let entry = copy.found.entry.as_ref();
        let length = entry.map_or(0, FoundEntry::len);
        let rounding = if length < SHORTEST_MAPPED {
            0
        } else {
            length.next_multiple_of(PAGE) - length
        };
        let entry = rounding + entry.map_or(0, FoundEntry::memory);
        (COPY + texts.sum::<usize>() + lists + entry) as u64
    }
}

/// Copies bytes to pages of their own. The process returns these pages when the copy is dropped.
fn mapped(bytes: &[u8]) -> io::Result<Bytes> {
    let mut pages = MmapMut::map_anon(bytes.len())?;
    pages.copy_from_slice(bytes);
    Ok(Bytes::from_owner(pages))
}

/// Returns the memory that a list takes besides itself.
fn heap<A: smallvec::Array>(list: &SmallVec<A>) -> usize {
    if list.spilled() {
        ALLOCATION + list.capacity() * size_of::<A::Item>()
    } else {
        0
    }
}

impl NearCache {
    /// Creates a near cache that takes `limit` bytes at most.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let items = limit / EXPECTED_COPY;
        let evicted = items / 2 * PLACE;
        let capacity = limit.saturating_sub(evicted + Epochs::MEMORY + limit / RESERVE);
        // A shard refuses an entry that is longer than itself.
        let shards = limit / (SHARD_ENTRIES * LONGEST_ENTRY);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(capacity as u64)
            .shards(shards.clamp(1, MAX_SHARDS))
            .build();
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let copies = match options {
            Ok(options) => Cache::with_options(options, Weight, hasher, lifecycle),
            Err(_) => Cache::with(items, capacity as u64, Weight, hasher, lifecycle),
        };
        Arc::new(Self {
            copies,
            epochs: Epochs::default(),
            limit,
            mapped_from: SHORTEST_MAPPED.max(limit / MAX_MAPPED),
        })
    }

    /// Returns the copy of a lookup of the same response groups, if it is proved to be current.
    pub(crate) fn get(&self, at: &Address) -> Option<Found> {
        let copy = self.copies.get(at)?;
        let now = now();
        let groups = copy
            .found
            .groups
            .as_deref()
            .map_or(&[][..], GroupNonces::groups);
        let is_served = groups == at.response_groups()
            && copy.member.may_serve(now)
            && copy.others.iter().all(|other| other.is_proved(now))
            && self.epochs.are_current(&copy.names);
        is_served.then(|| copy.found.clone())
    }

    /// Returns a token for a read of names that is sent after this call.
    pub(crate) fn token<'a>(&self, names: impl Iterator<Item = Name<'a>>) -> Token {
        self.epochs.token(names)
    }

    /// Keeps the result of a lookup that was sent after its token was taken, unless one of its names was
    /// invalidated since then. `on` has the member of the registry, then the other connections on which
    /// the names were read. If it is empty, the result is not kept.
    pub(crate) fn keep(
        &self,
        at: &Address,
        found: &Found,
        names: Token,
        on: Vec<Arc<TrackedConnection>>,
    ) {
        let mut on = on.into_iter();
        let Some(member) = on.next() else {
            return;
        };
        let is_short = |entry: &FoundEntry| entry.len() <= LONGEST_ENTRY;
        if found.entry.as_ref().is_some_and(is_short)
            && member.is_member()
            && self.epochs.are_current(&names)
        {
            let mut found = found.without_witness(at);
            if let Some(FoundEntry::Bytes(bytes)) = &mut found.entry
                && bytes.len() >= self.mapped_from
            {
                let Ok(mapped) = mapped(bytes) else { return };
                *bytes = mapped;
            }
            found.entry = found.entry.map(FoundEntry::decoded);
            if !found.has_read_groups() {
                return;
            }
            let copy = Copy {
                found,
                names,
                member,
                others: on.collect(),
            };
            self.copies.insert(Box::new(at.clone()), Arc::new(copy));
        }
    }

    /// Drops the copies that depend on a name.
    pub(crate) fn invalidate(&self, name: &[u8]) {
        self.epochs.invalidate(name);
    }

    /// Drops the copies that depend on names that this process has changed.
    pub(crate) fn invalidate_own<'a>(&self, names: impl IntoIterator<Item = Name<'a>>) {
        for name in names {
            self.invalidate(name.concat().as_bytes());
        }
    }

    /// Drops all copies.
    pub(crate) fn invalidate_all(&self) {
        self.epochs.invalidate_all();
    }

    pub(crate) fn status(&self) -> NearCacheStatus {
        NearCacheStatus {
            entries: self.copies.len(),
            bytes: usize::try_from(self.copies.weight()).unwrap_or(usize::MAX),
            max_bytes: self.limit,
        }
    }
}
