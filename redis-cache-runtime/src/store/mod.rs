//! The store protocol: entries, leases and nonces.
//!
//! An entry is stamped with the nonces of its groups as they were before its handler ran, and is
//! reused only while every one of them is still current. Filling needs a lease taken before the
//! handler runs; evicting a key deletes the lease with the entry. A fill that began before an
//! eviction can therefore never be served after it: its stamps no longer match, or its lease is
//! gone.
//!
//! A lease also tells the others to wait for what is being filled. It is held for a short while only
//! and renewed as long as the handler runs, so that nobody waits for a process that died. A lease
//! that is not worth waiting for, of a write or of a stream, says so.

#[cfg(test)]
mod conformance;
pub(crate) mod entry;
#[cfg(test)]
pub(crate) mod gate;
#[cfg(test)]
pub(crate) mod interleaved;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "redis")]
mod redis;

use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use self::entry::Entry;
use crate::key::{Address, Eviction, Name, Names, Owed};
use crate::observe::fault::Fault;
use crate::observe::status::ServerStatus;

#[cfg(feature = "memory")]
pub(crate) use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::Redis;
#[cfg(feature = "redis")]
pub(crate) use redis::RedisStore;

#[cfg(not(any(feature = "redis", feature = "memory")))]
compile_error!("enable the feature `redis` or `memory`: a cache needs a store");

pub(crate) use crate::key::Nonce;

/// Identifies a server, and changes when the server may have lost evictions; all zero where the server
/// has no identity.
pub(crate) type Incarnation = Nonce;

/// A nonce as one server has it. An entry that was stamped with it on another server, or before its
/// own was started anew, is not served: evictions may be missing there.
pub(crate) fn of(mut nonce: Nonce, server: Incarnation) -> Nonce {
    nonce.iter_mut().zip(server).for_each(|(to, by)| *to ^= by);
    nonce
}

/// The longest pause before evictions that the store did not take are sent again.
pub(crate) const LAST_EVICTION_RETRY: Duration = Duration::from_millis(250);

/// The nonces a fill began under, in the order of [`Names::nonces`](crate::key::Names::nonces).
pub(crate) type Stamps = SmallVec<[Nonce; 4]>;

/// Draws a nonce.
pub(crate) fn random_nonce() -> Result<Nonce, Fault> {
    #[cfg(test)]
    if let Some(nonce) = interleaved::next_nonce() {
        return Ok(nonce);
    }
    let mut nonce = Nonce::default();
    getrandom::fill(&mut nonce).map_err(|_| Fault::Entropy)?;
    Ok(nonce)
}

/// The result of one lookup, at one moment per store node.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) entry: Option<Bytes>,
    /// The current nonces; `None` where there is none, which matches no stamp. If the address reads early,
    /// the one that every eviction removes comes last.
    pub(crate) nonces: SmallVec<[Option<Nonce>; 4]>,
    /// The token of the current read lease, if it was requested and is held.
    pub(crate) holder: Option<Token>,
}

impl Found {
    /// The entry, if it is one and every one of its stamps is current.
    pub(crate) fn into_entry(self) -> Option<Entry> {
        self.into_current().ok().flatten()
    }

    /// The entry, if there is one. `Err`: it is not current; `true`: only the last stamp is another,
    /// which is that of the mount of a handler.
    pub(crate) fn into_current(self) -> Result<Option<Entry>, bool> {
        let Some(entry) = self.entry.and_then(Entry::parse) else {
            return Ok(None);
        };
        if entry.is_stamped_with(self.nonces.iter().copied()) {
            return Ok(Some(entry));
        }
        let (Some((_, nonces)), mut stamps) = (self.nonces.split_last(), entry.stamps()) else {
            return Err(false);
        };
        let _mount = stamps.next_back();
        let current = nonces
            .iter()
            .map(|nonce| nonce.as_ref().map(|nonce| &nonce[..]));
        Err(stamps.map(Some).eq(current))
    }
}

/// The secret of the holder of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(Nonce);

impl Token {
    /// One bit of a token says that its holder is not worth waiting for.
    const UNAWAITED: u8 = 0x80;

    pub(crate) fn draw(claim: Claim) -> Result<Self, Fault> {
        let token = Self(random_nonce()?);
        Ok(match claim {
            Claim::IfFree => token.awaited(),
            Claim::Alone | Claim::Override => token.unawaited(),
        })
    }

    fn awaited(mut self) -> Self {
        self.0[0] &= !Self::UNAWAITED;
        self
    }

    /// Marks the token as that of a lease which is not worth waiting for.
    pub(crate) fn unawaited(mut self) -> Self {
        self.0[0] |= Self::UNAWAITED;
        self
    }

    /// Returns whether the holder is worth waiting for.
    pub(crate) fn is_awaited(self) -> bool {
        self.0[0] & Self::UNAWAITED == 0
    }

    /// Reads the token of a lease. A foreign value there is not worth waiting for.
    fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.try_into().unwrap_or([u8::MAX; 16]))
    }
}

/// The answer to who asks for a lease.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The caller has the lease. For a read, with the entry that was there when the lease was taken:
    /// another fill may have ended between the lookup and the claim.
    Taken(Lease, Option<Bytes>),
    /// Another fill has it.
    Held(Token),
}

/// The condition for taking a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A read that others wait for: only if nobody holds it.
    IfFree,
    /// A read that nobody waits for: only if nobody holds it.
    Alone,
    /// A write: always, which makes every fill under way lose its own.
    Override,
}

impl Claim {
    /// The name of the lease. A write concerns every variant of its key, and an eviction of the key
    /// must take the lease away from it.
    fn lease<'a>(self, names: &'a Names, at: &'a Address) -> Name<'a> {
        match self {
            Self::IfFree | Self::Alone => names.lease(at),
            Self::Override => names.base_lease(&at.key),
        }
    }
}

/// The right to store one response, taken before its handler runs.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) token: Token,
    pub(crate) claim: Claim,
    pub(crate) stamps: Stamps,
    /// If they were asked for.
    pub(crate) witnesses: Option<Witnesses>,
    /// The nonce that a write must leave behind for the variants of its key, if it has any.
    variants: Option<Box<Nonce>>,
}

/// Returns the position of the nonce of the key's variants in the stamps of a variant.
fn position_of_variants(at: &Address) -> usize {
    1 + usize::from(at.key.base().is_some())
}

impl Lease {
    /// Completes a lease. The variants of a key that is written are stamped anew, because the
    /// others must not outlive the write.
    ///
    /// `nonces` are those of [`LeaseTerms::nonces`].
    fn new(
        names: &Names,
        at: &Address,
        claim: Claim,
        token: Token,
        terms: LeaseTerms,
        nonces: Stamps,
        server: Incarnation,
    ) -> Result<Self, Fault> {
        let mut stamps = nonces;
        let count = names.nonces(at).count();
        let of_address = count + usize::from(!at.is_stamped_by_key());
        let witnesses = terms
            .reads_early
            .then(|| Witnesses::of(&stamps, of_address));
        stamps.truncate(count);
        let mut variants = None;
        if claim == Claim::Override && at.is_stamped_by_key() {
            let nonce = random_nonce()?;
            stamps[position_of_variants(at)] = of(nonce, server);
            variants = Some(Box::new(nonce));
        }
        Ok(Self {
            token,
            claim,
            stamps,
            witnesses,
            variants,
        })
    }

    /// The stamps, as nonces that are there.
    pub(crate) fn nonces(&self) -> impl ExactSizeIterator<Item = Option<Nonce>> {
        self.stamps.iter().copied().map(Some)
    }

    /// Returns whether nothing was evicted since the lease was taken.
    pub(crate) fn is_current(&self, found: &Found) -> bool {
        found.holder == Some(self.token) && self.nonces().eq(found.nonces.iter().copied())
    }
}

/// Nonces that prove that nothing was evicted since they were seen before. Each is a proof by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Witnesses {
    /// The one that every eviction removes; none in a cluster.
    pub(crate) of_everything: Option<Nonce>,
    /// The hash of those that evictions of the address remove.
    pub(crate) of_address: Nonce,
}

impl Witnesses {
    /// The first `of_address` nonces are those that evictions of the address remove.
    fn of(nonces: &[Nonce], of_address: usize) -> Self {
        let of_everything = nonces.get(of_address).copied();
        let of_address = nonces.iter().take(of_address).flatten().copied();
        let of_address = of_address.collect::<SmallVec<[u8; 128]>>();
        Self {
            of_everything,
            of_address: xxh3_128(&of_address).to_be_bytes(),
        }
    }
}

/// The lifetime of the nonce that every eviction removes.
const WITNESS_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The time for which witnesses are kept beyond a lease, when nothing was stored.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// The lifetimes of the names that a lease needs, and whether it needs witnesses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseTerms {
    /// The time for which the lease is held unless it is renewed.
    pub(crate) hold: Duration,
    /// The longest run of a handler whose response is still stored.
    pub(crate) lease: Duration,
    /// The time for which the entry may be kept after the run; `None`: for ever.
    pub(crate) entry: Option<Duration>,
    /// The fill is made of what may have been read before the lease.
    pub(crate) reads_early: bool,
}

impl LeaseTerms {
    /// The time for which a nonce is kept. It outlives the entries stamped with it, which may be stored as late as
    /// the lease; but one whose name holds a value of a request is kept for an entry only when there is
    /// one, so that requests whose responses are not stored leave nothing behind.
    fn nonce(self, holds_value: bool) -> Option<Duration> {
        let lease = self.lease.max(self.hold);
        match self.entry {
            entry if holds_value && self.reads_early => {
                let remembered = entry.unwrap_or(REMEMBERED).min(REMEMBERED);
                Some(lease.saturating_add(remembered))
            }
            _ if holds_value => Some(lease),
            entry => entry.map(|entry| entry.saturating_add(lease)),
        }
    }

    /// The nonces that a lease needs, and for how long: its stamps, and then the witnesses that are no
    /// stamps.
    fn nonces<'a>(
        self,
        names: &'a Names,
        at: &'a Address,
    ) -> impl Iterator<Item = (Name<'a>, Option<Duration>)> {
        let stamps = names.nonces_by_origin(at);
        let is_to_witness = self.reads_early && !at.is_stamped_by_key();
        let of_key = is_to_witness.then(|| names.variants(&at.key));
        let of_everything = names.witness().filter(|_| self.reads_early);
        stamps
            .chain(of_key.map(|name| (name, true)))
            .map(move |(name, holds_value)| (name, self.nonce(holds_value)))
            .chain(of_everything.map(|name| (name, Some(WITNESS_TTL))))
    }
}

/// The one place that knows which store is behind a cache.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a cache has one of them")]
pub(crate) enum Store {
    /// There is none, on purpose.
    Disabled,
    #[cfg(feature = "memory")]
    Memory(MemoryStore),
    #[cfg(feature = "redis")]
    Redis(RedisStore),
    /// The store of the model checker, which decides when each command happens.
    #[cfg(test)]
    Interleaved(interleaved::InterleavedStore),
}

/// Calls the same method on whichever store this is. The stores agree on the protocol, not on a
/// trait: futures of a trait's methods would have to be boxed or lose `Send`.
macro_rules! dispatch {
    ($self:ident, $store:ident => $memory:expr, $redis:expr) => {
        match $self {
            Self::Disabled => Err(Fault::Disabled),
            #[cfg(feature = "memory")]
            Self::Memory($store) => $memory,
            #[cfg(feature = "redis")]
            Self::Redis($store) => $redis,
            #[cfg(test)]
            Self::Interleaved($store) => $redis,
        }
    };
}

impl Store {
    /// The store in Redis, if it is there.
    #[cfg(feature = "redis")]
    pub(crate) fn in_redis(&self) -> Option<&RedisStore> {
        if let Self::Redis(store) = self {
            return Some(store);
        }
        None
    }

    /// Returns the servers behind the store, with the state of their connections.
    pub(crate) fn servers(&self) -> Vec<ServerStatus> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.servers(),
            _ => Vec::new(),
        }
    }

    /// Reads an entry and the nonces it must be stamped with, and, if asked, who is filling it.
    pub(crate) async fn get(&self, at: &Address, holder: bool) -> Result<Found, Fault> {
        dispatch!(self, store => Ok(store.get(at, holder)), store.get(at, holder).await)
    }

    /// Reads the nonce that every eviction removes, or seeds it; none in a cluster.
    pub(crate) async fn witness(&self) -> Result<Option<Nonce>, Fault> {
        dispatch!(self, store => store.witness(), store.witness().await)
    }

    /// Takes the lease and seeds missing nonces.
    pub(crate) async fn lease(
        &self,
        at: &Address,
        claim: Claim,
        token: Token,
        terms: LeaseTerms,
    ) -> Result<Claimed, Fault> {
        dispatch!(self, store => store.lease(at, claim, token, terms),
            store.lease(at, claim, token, terms).await)
    }

    /// Stores an entry if the lease is still held, and gives the lease back; `false` when it was
    /// lost. An overriding lease also drops the key's other variants, and drops the key when lost.
    pub(crate) async fn put(
        &self,
        at: &Address,
        lease: &Lease,
        entry: Bytes,
        ttl: Option<Duration>,
    ) -> Result<bool, Fault> {
        dispatch!(self, store => Ok(store.put(at, lease, entry, ttl)),
            store.put(at, lease, &entry, ttl).await)
    }

    /// Holds a lease for `hold` from now, under a token that may be another; `false` when it was
    /// lost.
    pub(crate) async fn renew(
        &self,
        at: &Address,
        lease: &Lease,
        token: Token,
        hold: Duration,
    ) -> Result<bool, Fault> {
        dispatch!(self, store => Ok(store.renew(at, lease, token, hold)),
            store.renew(at, lease, token, hold).await)
    }

    /// Makes the nonces of an address last at least `ttl` from now.
    pub(crate) async fn prolong(&self, at: &Address, ttl: Option<Duration>) -> Result<(), Fault> {
        dispatch!(self, store => store.prolong(at, ttl), store.prolong(at, ttl).await)
    }

    /// Gives the lease back without storing, if it is still held.
    pub(crate) async fn release(
        &self,
        at: &Address,
        claim: Claim,
        token: Token,
    ) -> Result<(), Fault> {
        dispatch!(self, store => { store.release(at, claim, token); Ok(()) },
            store.release(at, claim, token).await)
    }

    /// Evicts: one deletion, however many entries it concerns.
    pub(crate) async fn remove(&self, evictions: &[Eviction]) -> Result<(), Left> {
        let owed: Vec<_> = evictions.iter().cloned().map(Owed::whole).collect();
        self.remove_owed(&owed).await
    }

    /// Evicts what, or where, the store was not told of yet.
    pub(crate) async fn remove_owed(&self, owed: &[Owed]) -> Result<(), Left> {
        if matches!(self, Self::Disabled) {
            return Ok(());
        }
        let removed = dispatch!(self, store => { store.remove(owed); Ok(Ok(())) },
            store.remove(owed).await);
        removed.unwrap_or_else(|fault| Err(Left::everything(fault, owed)))
    }
}

/// The evictions that the store did not take.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) fault: Fault,
    pub(crate) owed: Vec<Owed>,
    /// Nobody took any, so that it is of no use to go on.
    pub(crate) is_everything: bool,
}

impl Left {
    fn everything(fault: Fault, owed: &[Owed]) -> Self {
        Self {
            fault,
            owed: owed.to_vec(),
            is_everything: true,
        }
    }
}
