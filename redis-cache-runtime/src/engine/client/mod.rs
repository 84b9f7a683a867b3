//! The client of the store: every step of the protocol, with faults counted and operations timed.
//! Requests reach the store only through it, so that no lookup misses a pending eviction.

mod at_once;
mod evict;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::background::Background;
use super::eviction_queue::EvictionQueue;
use super::known_groups::KnownGroups;
use super::seen_nonces::{SeenNonces, Tick};
use crate::key::{Address, ResponseGroups};
use crate::observe::fault::{Fault, FaultLog};
use crate::observe::status::Status;
use crate::observe::{Measured, Observer, Started};
use crate::settings::{LONGEST, Settings};
use crate::store::{
    Claim, Claimed, Found, FoundEntry, LAST_EVICTION_RETRY, Lease, LeaseTerms, Store, Token,
};

pub(crate) use evict::Evicted;

/// The interval at which the lease of a run with followers is renewed. If the process that holds it
/// dies, the lease ends a few beats later.
pub(crate) const BEAT: Duration = Duration::from_millis(500);

/// The longest wait for a pushed change of a lease. If a connection is lost, so are its pushes.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// The first pause before pending evictions are retried.
pub(crate) const FIRST_EVICTION_RETRY: Duration = Duration::from_millis(20);

/// The client of the store, which every request uses.
pub(crate) struct StoreClient {
    store: Store,
    faults: Arc<FaultLog>,
    queue: EvictionQueue,
    background: Background,
    seen_nonces: SeenNonces,
    known_groups: KnownGroups,
    /// The time for which the response to a write is held while its evictions are pending; `None`:
    /// it is not held.
    hold_pending: Option<Duration>,
    lease_ttl: Duration,
}

impl StoreClient {
    pub(crate) fn new(settings: &Settings, store: Store, faults: Arc<FaultLog>) -> Self {
        Self {
            store,
            faults,
            queue: EvictionQueue::default(),
            background: Background::new(settings.max_detached_runs),
            seen_nonces: SeenNonces::default(),
            known_groups: KnownGroups::default(),
            hold_pending: settings
                .hold_pending
                .then(|| settings.pulse + settings.near_cache_window),
            lease_ttl: settings.lease_ttl.min(LONGEST),
        }
    }

    #[cfg(feature = "redis")]
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn observer(&self) -> &Observer {
        self.faults.observer()
    }

    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    /// Returns the number of operations of the store that have failed.
    pub(crate) fn faults(&self) -> u64 {
        self.faults.count()
    }

    pub(crate) fn lease_ttl(&self) -> Duration {
        self.lease_ttl
    }

    /// Returns the time for which the lease of a run with followers is held unless it is renewed.
    pub(crate) fn hold(&self) -> Duration {
        self.lease_ttl.min(3 * BEAT)
    }

    /// Returns the state of the connections and the counters, without asking the servers.
    pub(crate) fn status(&self) -> Status {
        Status {
            servers: self.store.servers(),
            pending_evictions: self.queue.len(),
            faults: self.faults.count(),
            budget: self.store.budget(),
            near_cache: self.store.near_cache(),
        }
    }

    /// Looks up the entry at an address and, if `holder`, the holder of its lease. Fails while an
    /// eviction of the address is pending.
    ///
    /// If this process knows the response groups, their nonces are read together with the entry.
    /// Otherwise a second lookup reads them.
    pub(crate) async fn lookup(
        self: &Arc<Self>,
        at: &Address,
        holder: bool,
    ) -> Result<Found, Fault> {
        // The futures for response groups are boxed, so that the future of other lookups stays small.
        if let Some(known) = self.known_groups.of(at) {
            return Box::pin(self.lookup_in(at, known.stored, holder)).await;
        }
        self.check_pending(at)?;
        let started = self.observer().start();
        let mut ended = self.store.get(at, holder).await;
        self.end_lookup(at, started, &mut ended);
        if names_groups(&ended) {
            return Box::pin(self.learn_and_repeat(at, ended?, holder)).await;
        }
        ended
    }

    /// Looks up an entry that is known to be in response groups.
    async fn lookup_in(
        self: &Arc<Self>,
        at: &Address,
        groups: ResponseGroups,
        holder: bool,
    ) -> Result<Found, Fault> {
        let in_groups = at.with_response_groups(&groups);
        let found = self.lookup_as_is(&in_groups, holder).await?;
        self.learn_and_repeat(at, found, holder).await
    }

    /// Learns the groups of a found entry. Repeats the lookup if it has not read all their nonces.
    async fn learn_and_repeat(
        self: &Arc<Self>,
        at: &Address,
        mut found: Found,
        holder: bool,
    ) -> Result<Found, Fault> {
        match self.known_groups.learn_found(at, &mut found) {
            None => Ok(found),
            Some(groups) => {
                let in_groups = at.with_response_groups(&groups);
                self.lookup_as_is(&in_groups, holder).await
            }
        }
    }

    /// Looks up an entry. Of response groups, reads the nonces of those that the address has.
    pub(crate) async fn lookup_as_is(
        self: &Arc<Self>,
        at: &Address,
        holder: bool,
    ) -> Result<Found, Fault> {
        self.check_pending(at)?;
        let started = self.observer().start();
        let mut ended = self.store.get(at, holder).await;
        self.end_lookup(at, started, &mut ended);
        ended
    }

    /// Completes the result of a lookup, and records it.
    fn end_lookup(&self, at: &Address, started: Started, ended: &mut Result<Found, Fault>) {
        if let Ok(found) = ended {
            self.complete(at, found);
        }
        self.record("get", started, ended.as_ref().err());
    }

    /// Takes the lease of an address, for an entry that is kept for `kept_for`. If `reads_early`,
    /// the entry may be made of data that was read before this call, and the lease includes nonces
    /// for a proof.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        at: &Address,
        claim: Claim,
        kept_for: Option<Duration>,
        reads_early: bool,
    ) -> Result<Claimed, Fault> {
        let hold = match claim {
            Claim::IfFree => self.hold(),
            Claim::Alone | Claim::Override => self.lease_ttl,
        };
        let terms = LeaseTerms {
            hold,
            lease: self.lease_ttl,
            entry: kept_for,
            reads_early,
        };
        let token = Token::draw(claim)?;
        let started = self.observer().start();
        let mut claimed = self.store.lease(at, claim, token, terms).await;
        if let (Ok(Claimed::Taken(lease, _)), Some(mounted)) = (&mut claimed, at.mounted) {
            lease.stamps.push(mounted.stamp());
        }
        if claimed.is_err() {
            self.release_later(at.clone(), claim, token);
        }
        self.recorded("lease", started, claimed)
    }

    /// Returns the groups that responses have named.
    pub(crate) fn known_groups(&self) -> &KnownGroups {
        &self.known_groups
    }

    #[cfg(test)]
    pub(crate) fn seen_nonces(&self) -> &SeenNonces {
        &self.seen_nonces
    }

    /// Returns the current tick.
    pub(crate) fn tick(&self) -> Tick {
        self.seen_nonces.tick()
    }

    /// Returns whether a lease proves that nothing at its address was evicted between a tick and
    /// the lease.
    pub(crate) fn proves_no_eviction(&self, lease: &Lease, since: Tick) -> bool {
        let witnesses = lease.witnesses.as_ref();
        witnesses.is_some_and(|witnesses| self.seen_nonces.proves_no_eviction(witnesses, since))
    }

    /// Returns a future that reads the eviction nonce, for a proof about data that is read after
    /// it. `None`: this process knows the nonce, as far as it can tell. With `insists`, the nonce
    /// is always read.
    pub(crate) fn prepare_proof(self: &Arc<Self>, insists: bool) -> Option<BoxFuture<'static, ()>> {
        if !insists && self.seen_nonces.knows_eviction_nonce() {
            return None;
        }
        let client = Arc::clone(self);
        Some(Box::pin(async move {
            let started = client.observer().start();
            let witness = client.store.witness().await;
            let witness = client.recorded("witness", started, witness);
            client
                .seen_nonces
                .learn_eviction_nonce(witness.ok().flatten());
        }))
    }

    /// Waits until the lease of an address may have changed, for [`LONGEST_WAIT`] and until a deadline
    /// at most. If the store does not push changes, waits for `pause`.
    pub(crate) async fn await_lease_change(
        &self,
        at: &Address,
        pause: Duration,
        deadline: Instant,
    ) {
        let longest = LONGEST_WAIT.min(deadline.saturating_duration_since(Instant::now()));
        self.store.await_lease_change(at, pause, longest).await;
    }

    /// Renews a lease, and may replace its token; returns `false` if the lease was lost.
    pub(crate) async fn renew(
        &self,
        at: &Address,
        lease: &Lease,
        token: Token,
        hold: Duration,
    ) -> Result<bool, Fault> {
        let started = self.observer().start();
        let ended = self.store.renew(at, lease, token, hold).await;
        self.recorded("renew", started, ended)
    }

    /// Stores an entry under a lease; returns `false` if the lease was lost.
    pub(crate) async fn fill(
        &self,
        at: &Address,
        lease: &Lease,
        entry: Bytes,
        lifetime: Option<Duration>,
    ) -> Result<bool, Fault> {
        let started = self.observer().start();
        let ended = self.store.put(at, lease, entry, lifetime).await;
        if lease.claim == Claim::Override && !at.key.is_of_value() {
            self.seen_nonces.forget_eviction_nonce();
        }
        self.recorded("put", started, ended)
    }

    /// Prolongs the nonces of an address, so that they outlast an entry that is stored next and
    /// kept for `kept_for`.
    pub(crate) async fn prolong(
        &self,
        at: &Address,
        kept_for: Option<Duration>,
    ) -> Result<(), Fault> {
        let ttl = kept_for.map(|kept_for| kept_for.saturating_add(self.lease_ttl));
        let started = self.observer().start();
        let ended = self.store.prolong(at, ttl).await;
        self.recorded("prolong", started, ended)
    }

    /// Releases a lease.
    pub(crate) async fn release(self: &Arc<Self>, at: &Address, claim: Claim, token: Token) {
        let started = self.observer().start();
        let released = self.store.release(at, claim, token).await;
        if self
            .recorded("release", started, released)
            .is_err_and(|fault| fault.is_absence())
        {
            self.release_later(at.clone(), claim, token);
        }
    }

    /// Retries to release a lease that may be held, so that no request waits for it. The attempts
    /// stop when the lease has ended by itself.
    pub(crate) fn release_later(self: &Arc<Self>, at: Address, claim: Claim, token: Token) {
        let client = Arc::clone(self);
        self.background.spawn_bounded(async move {
            let ends = Instant::now() + client.hold();
            while Instant::now() < ends {
                sleep(LAST_EVICTION_RETRY).await;
                if client.store.release(&at, claim, token).await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Records the result and the duration of an operation of the store, and returns the result.
    fn recorded<T>(
        &self,
        operation: &'static str,
        started: Started,
        ended: Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.record(operation, started, ended.as_ref().err());
        ended
    }

    fn record(&self, operation: &'static str, started: Started, fault: Option<&Fault>) {
        if let Some(took) = started.elapsed() {
            self.observer().record(Measured::StoreOperation {
                operation,
                fault: fault.map(Fault::name),
                took,
            });
        }
        if let Some(fault) = fault {
            self.faults.record(fault);
        }
    }
}

/// Returns whether a lookup has found an entry that names groups.
fn names_groups(ended: &Result<Found, Fault>) -> bool {
    let entry = ended.as_ref().ok().and_then(|found| found.entry.as_ref());
    entry.is_some_and(FoundEntry::names_groups)
}

impl Drop for StoreClient {
    fn drop(&mut self) {
        let lost = self.queue.len();
        if lost > 0 {
            tracing::warn!(
                lost,
                "evictions lost: the cache was dropped before the store took them"
            );
        }
    }
}

impl fmt::Debug for StoreClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreClient")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
