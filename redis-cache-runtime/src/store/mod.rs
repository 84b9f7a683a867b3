//! The store protocol: entries, leases and nonces.
//!
//! A nonce is a random value in the store. The eviction of a group deletes the nonce of the group, and
//! the next lease draws a new one. An entry is stamped with the nonces that its groups had before its
//! handler ran. The entry is reused only while all these nonces are current. To store an entry, a fill
//! needs a lease that was taken before the handler ran. The eviction of a key deletes its entry, its
//! lease and the nonce of its variants. So if a fill began before an eviction, its response is never
//! served after the eviction: its stamps no longer match, or its lease is lost.
//!
//! Some leases are held for fills that other processes wait for. Such a lease is short and is renewed
//! while the handler runs, so that no process waits long for one that died. The lease of a write, of a
//! stream or of a read that nobody waits for is held for the whole time limit of the run, and has a bit
//! set in its token: other processes do not wait for its fill.

#[cfg(test)]
mod conformance;
pub(crate) mod entry;
mod found;
#[cfg(test)]
pub(crate) mod gate;
#[cfg(test)]
pub(crate) mod interleaved;
#[cfg(feature = "memory")]
mod memory;
#[cfg(any(feature = "redis", test))]
pub(crate) mod near;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "redis", test))]
pub(crate) mod shared_lookups;
mod stamps;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::sleep;
use xxhash_rust::xxh3::xxh3_128;

use crate::key::{Address, Eviction, Name, Names, Owed};
use crate::observe::fault::Fault;
use crate::observe::status::{NearCacheStatus, ServerStatus};

#[cfg(feature = "memory")]
pub(crate) use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::Redis;
#[cfg(feature = "redis")]
pub(crate) use redis::RedisStore;

#[cfg(not(any(feature = "redis", feature = "memory")))]
compile_error!("enable the feature `redis` or `memory`: a cache needs a store");

pub(crate) use self::found::{Found, FoundEntry};
pub(crate) use crate::key::Nonce;
pub(crate) use stamps::{EntryStamps, GroupNonces, Stamps};

/// An identifier of a server, which changes when the server may have lost evictions. All zero if the
/// server has no identity.
pub(crate) type Incarnation = Nonce;

/// Returns a nonce combined with the incarnation of its server. So the stamps of an entry do not match
/// on another server or after a restart, where evictions may have been lost.
pub(crate) fn nonce_on(mut nonce: Nonce, server: Incarnation) -> Nonce {
    nonce.iter_mut().zip(server).for_each(|(to, by)| *to ^= by);
    nonce
}

/// Parses a nonce, and combines it with the incarnation of its server.
#[cfg(any(feature = "redis", test))]
fn stored_nonce(bytes: &[u8], server: Incarnation) -> Option<Nonce> {
    let nonce = bytes.try_into().ok()?;
    Some(nonce_on(nonce, server))
}

/// The longest pause before a retry of pending evictions.
pub(crate) const LAST_EVICTION_RETRY: Duration = Duration::from_millis(250);

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

/// The secret of the holder of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(Nonce);

impl Token {
    /// The bit of a token that is set if other requests do not wait for its holder.
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

    /// Sets the bit: other requests do not wait for the holder.
    pub(crate) fn unawaited(mut self) -> Self {
        self.0[0] |= Self::UNAWAITED;
        self
    }

    /// Returns whether other requests wait for the holder.
    pub(crate) fn is_awaited(self) -> bool {
        self.0[0] & Self::UNAWAITED == 0
    }

    /// Parses the token of a lease. A value of another length counts as a token whose holder is not
    /// waited for.
    #[cfg(any(feature = "redis", test))]
    fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.try_into().unwrap_or([u8::MAX; 16]))
    }
}

/// The result of a claim of a lease.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The caller has the lease. A read also gets the entry that was stored when the lease was taken:
    /// another fill may have ended between the lookup and the claim.
    Taken(Lease, Option<Bytes>),
    /// Another fill has the lease.
    Held(Token),
}

/// The condition for taking a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A read that other requests wait for. It takes the lease only if the lease is free.
    IfFree,
    /// A read that no request waits for. It takes the lease only if the lease is free.
    Alone,
    /// A write. It always takes the lease, so that running fills lose it.
    Override,
}

impl Claim {
    /// Returns the name of the lease. A write takes the lease of the key itself, not that of a variant,
    /// because an eviction of the key removes this lease.
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
    /// The response groups of the address, with the nonces that they had when the lease was taken.
    pub(crate) groups: Option<Arc<GroupNonces>>,
    /// The witnesses, if they were requested.
    pub(crate) witnesses: Option<Witnesses>,
    /// The new nonce of the variants of a written key, if the entry is stamped with that nonce.
    variants: Option<Box<Nonce>>,
}

/// Returns the index, among the stamps of an entry, of the nonce that all variants of a key share. The
/// entry must be stamped by its key.
fn position_of_variants(at: &Address) -> usize {
    1 + usize::from(at.key.base().is_some())
}

impl Lease {
    /// Completes a lease. If the entry of a write is stamped with the nonce of the variants of its key,
    /// draws a new nonce, so that the other variants do not outlive the write.
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
        let of_groups = stamps.drain(count.saturating_sub(at.response_groups().len())..);
        let groups = GroupNonces::of(at.response_groups.as_ref(), of_groups.map(Some));
        let mut variants = None;
        if claim == Claim::Override && at.is_stamped_by_key() {
            let nonce = random_nonce()?;
            stamps[position_of_variants(at)] = nonce_on(nonce, server);
            variants = Some(Box::new(nonce));
        }
        Ok(Self {
            token,
            claim,
            stamps,
            groups,
            witnesses,
            variants,
        })
    }

    /// Returns the result of a lookup that finds an entry while the nonces are those of this lease.
    pub(crate) fn found(&self, entry: Bytes) -> Found {
        Found {
            entry: Some(FoundEntry::Bytes(entry)),
            nonces: self.nonces().collect(),
            groups: self.groups.clone(),
            holder: None,
        }
    }

    fn nonces(&self) -> impl Iterator<Item = Option<Nonce>> {
        self.stamps.iter().copied().map(Some)
    }

    /// Returns whether the lease is still held, and nothing has been evicted since it was taken. `None`: a
    /// group has been evicted, which the response may or may not name.
    pub(crate) fn is_current(&self, found: &Found) -> Option<bool> {
        let is_held = found.holder == Some(self.token);
        if !is_held || !self.nonces().eq(found.nonces.iter().copied()) {
            return Some(false);
        }
        (self.groups == found.groups).then_some(true)
    }
}

/// Nonces that prove that nothing at an address has been evicted since they were last seen. Either of
/// them is proof if it is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Witnesses {
    /// The nonce that every eviction of responses removes; none in a cluster.
    pub(crate) of_everything: Option<Nonce>,
    /// The hash of the nonces that evictions of the address remove.
    pub(crate) of_address: Nonce,
}

impl Witnesses {
    /// Makes the witnesses from nonces. Evictions of the address remove the first `of_address` of these
    /// nonces.
    fn of(nonces: &[Nonce], of_address: usize) -> Self {
        let of_everything = nonces.get(of_address).copied();
        // Sorted, because responses may name the same groups in another order.
        let mut of_address: SmallVec<[Nonce; 8]> =
            nonces.iter().take(of_address).copied().collect();
        of_address.sort_unstable();
        let of_address = of_address.concat();
        Self {
            of_everything,
            of_address: xxh3_128(&of_address).to_be_bytes(),
        }
    }
}

/// The lifetime of the nonce that every eviction of responses removes.
const WITNESS_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest time for which a witness outlives a lease that stored nothing, if the name of the witness
/// contains a value of a request.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// The lifetimes of a lease, of its nonces and of its entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseTerms {
    /// The time for which the lease is held unless it is renewed.
    pub(crate) hold: Duration,
    /// The time limit of the run. The response of a longer run is not stored.
    pub(crate) lease: Duration,
    /// The time for which the entry may be kept after the run; `None`: no expiry.
    pub(crate) entry: Option<Duration>,
    /// The handler may use data that was read before the lease was taken.
    pub(crate) reads_early: bool,
}

impl LeaseTerms {
    /// Returns the lifetime of a nonce. A nonce outlives the entries that are stamped with it, and an
    /// entry may be stored until the lease ends. The name of a nonce may contain a value of a request
    /// (`holds_value`). Such a nonce gets the whole lifetime of the entry only when the entry is stored.
    /// Otherwise a request whose response is not stored would leave a nonce for a long time.
    fn nonce(self, holds_value: bool) -> Option<Duration> {
        let lease = self.lease.max(self.hold);
        if !holds_value {
            return self.entry.map(|entry| entry.saturating_add(lease));
        }
        if !self.reads_early {
            return Some(lease);
        }
        let remembered = self.entry.unwrap_or(REMEMBERED).min(REMEMBERED);
        Some(lease.saturating_add(remembered))
    }

    /// Returns the nonces that a lease needs, with their lifetimes: its stamps, then the witnesses that
    /// are not stamps.
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

/// The store of a cache: Redis, memory, or none.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a cache has one of them")]
pub(crate) enum Store {
    /// No store: the cache is disabled.
    Disabled,
    #[cfg(feature = "memory")]
    Memory(MemoryStore),
    #[cfg(feature = "redis")]
    Redis(RedisStore),
    /// The store of the model checker, which decides when each command happens.
    #[cfg(test)]
    Interleaved(interleaved::InterleavedStore),
}

/// Calls the same method on each kind of store. The stores implement no common trait, because the
/// methods of the store in memory are not async.
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
    /// Returns the store in Redis, if this is one.
    #[cfg(feature = "redis")]
    pub(crate) fn in_redis(&self) -> Option<&RedisStore> {
        if let Self::Redis(store) = self {
            return Some(store);
        }
        None
    }

    /// Returns whether the store keeps entries, or copies of entries, in the memory of this process.
    pub(crate) fn answers_at_once(&self) -> bool {
        match self {
            #[cfg(feature = "memory")]
            Self::Memory(_) => true,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.answers_at_once(),
            _ => false,
        }
    }

    /// Returns the servers behind the store, with the state of their connections.
    pub(crate) fn servers(&self) -> Vec<ServerStatus> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.servers(),
            _ => Vec::new(),
        }
    }

    /// Returns the current time budget of an operation; `None`: operations take no time.
    pub(crate) fn budget(&self) -> Option<Duration> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => Some(store.budget()),
            _ => None,
        }
    }

    /// Returns the state of the near cache, if one is on.
    pub(crate) fn near_cache(&self) -> Option<NearCacheStatus> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.near_cache(),
            _ => None,
        }
    }

    /// Attends to the connection of the near cache in the model checker.
    #[cfg(test)]
    pub(crate) fn attend(&self) {
        if let Self::Interleaved(store) = self {
            store.attend();
        }
    }

    /// Summarizes the lookups on their way and the near caches, for the model checker.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> String {
        match self {
            Self::Interleaved(store) => store.summary(),
            _ => String::new(),
        }
    }

    /// Reads an entry, its current nonces and, if `holder` is set, the token of its lease.
    pub(crate) async fn get(&self, at: &Address, holder: bool) -> Result<Found, Fault> {
        dispatch!(self, store => Ok(store.get(at, holder)), store.get(at, holder).await)
    }

    /// Reads an entry and its current nonces from the memory of this process. `None`: they are not
    /// there.
    pub(crate) fn get_at_once(&self, at: &Address) -> Option<Found> {
        match self {
            #[cfg(feature = "memory")]
            Self::Memory(store) => Some(store.get(at, false)),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.get_at_once(at),
            _ => None,
        }
    }

    /// Reads the nonce that every eviction of responses removes, or seeds it; none in a cluster.
    pub(crate) async fn witness(&self) -> Result<Option<Nonce>, Fault> {
        dispatch!(self, store => Ok(Some(store.witness())), store.witness().await)
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

    /// Stores an entry if the lease is still held, and releases the lease. `false`: the lease was lost.
    /// A write also evicts the other variants of its key. A write that has lost its lease evicts the
    /// whole key.
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

    /// Renews a lease for `hold` from now, and replaces its token by `token`. `false`: the lease was
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

    /// Waits until the lease of an address may have changed: for at most `longest` if the store pushes the
    /// change, and otherwise for `pause`.
    #[cfg_attr(
        not(feature = "redis"),
        allow(unused_variables, reason = "the store in memory pushes nothing")
    )]
    pub(crate) async fn await_lease_change(
        &self,
        at: &Address,
        pause: Duration,
        longest: Duration,
    ) {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.await_lease_change(at, pause, longest).await,
            _ => sleep(pause).await,
        }
    }

    /// Extends the lifetime of the nonces of an address to at least `ttl` from now.
    pub(crate) async fn prolong(&self, at: &Address, ttl: Option<Duration>) -> Result<(), Fault> {
        dispatch!(self, store => store.prolong(at, ttl), store.prolong(at, ttl).await)
    }

    /// Releases the lease without storing an entry, if it is still held.
    pub(crate) async fn release(
        &self,
        at: &Address,
        claim: Claim,
        token: Token,
    ) -> Result<(), Fault> {
        dispatch!(self, store => { store.release(at, claim, token); Ok(()) },
            store.release(at, claim, token).await)
    }

    /// Runs evictions. The cost does not depend on the number of evicted entries.
    pub(crate) async fn remove(&self, evictions: &[Eviction]) -> Result<(), EvictionError> {
        let owed: Vec<_> = evictions.iter().cloned().map(Owed::whole).collect();
        self.remove_owed(&owed).await
    }

    /// Runs evictions that are still to be sent, each everywhere or only in some slots of a cluster.
    pub(crate) async fn remove_owed(&self, owed: &[Owed]) -> Result<(), EvictionError> {
        if matches!(self, Self::Disabled) {
            return Ok(());
        }
        let removed = dispatch!(self, store => { store.remove(owed); Ok(Ok(())) },
            store.remove(owed).await);
        match removed {
            Ok(result) => result,
            // No eviction is certain to have taken effect, so all of them have to be retried.
            Err(fault) => Err(EvictionError::everything(fault, owed)),
        }
    }
}

/// The evictions that failed, and the last fault.
#[derive(Debug)]
pub(crate) struct EvictionError {
    pub(crate) fault: Fault,
    pub(crate) owed: Vec<Owed>,
    /// All evictions failed, so an immediate retry would most likely fail, too.
    pub(crate) is_everything: bool,
}

impl EvictionError {
    fn everything(fault: Fault, owed: &[Owed]) -> Self {
        Self {
            fault,
            owed: owed.to_vec(),
            is_everything: true,
        }
    }
}
