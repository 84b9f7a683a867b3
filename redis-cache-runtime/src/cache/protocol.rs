//! What the attributes do with the store: every step of the protocol, and what is made up for later
//! when the store was not there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::{Cache, FIRST_RETRY, Inner, LAST_RETRY};
use crate::fault::Fault;
use crate::key::{Address, Eviction, Owed};
use crate::observe::{Measured, Operation, Started};
use crate::serve::BoxFuture;
use crate::store::{Claim, Claimed, Found, Lease, LeaseTerms, Token};
use crate::witnessed::Moment;
#[cfg(test)]
use crate::witnessed::Witnessed;

impl Cache {
    /// What the store has at an address, and, if asked, who is filling it. The only way to an entry.
    pub(crate) async fn look(&self, at: &Address, holder: bool) -> Result<Found, Fault> {
        if self.inner.backlog.concerns(at) {
            self.tend();
            return Err(Fault::EvictionPending);
        }
        let started = self.observer().start();
        let mut ended = self.inner.store.get(at, holder).await;
        if let Ok(found) = &mut ended {
            let witness = at.reads_early().then(|| found.nonces.pop()).flatten();
            if let Some(witness) = witness.flatten() {
                self.inner.witnessed.learn(Some(witness));
            }
            if let Some(mounted) = at.mounted {
                found.nonces.push(Some(mounted.stamp()));
            }
        }
        self.recorded("get", started, ended)
    }

    /// Whether what is stored at an address is evicted, which the store does not know.
    pub(crate) fn is_evicted(&self, at: &Address) -> bool {
        self.inner.backlog.concerns(at)
    }

    /// Takes the right to fill an address with what is kept for that long, and which may be made of what
    /// was read before.
    pub(crate) async fn lease(
        &self,
        at: &Address,
        claim: Claim,
        kept_for: Option<Duration>,
        reads_early: bool,
    ) -> Result<Claimed, Fault> {
        let lease = self.inner.lease_ttl;
        let hold = match claim {
            Claim::IfFree => self.hold(),
            Claim::Alone | Claim::Override => lease,
        };
        let terms = LeaseTerms {
            hold,
            lease,
            entry: kept_for,
            reads_early,
        };
        let token = Token::draw(claim)?;
        let started = self.observer().start();
        let mut claimed = self.inner.store.lease(at, claim, token, terms).await;
        if let (Ok(Claimed::Taken(lease, _)), Some(mounted)) = (&mut claimed, at.mounted) {
            lease.stamps.push(mounted.stamp());
        }
        if claimed.is_err() {
            self.release_later(at.clone(), claim, token);
        }
        self.recorded("lease", started, claimed)
    }

    #[cfg(test)]
    pub(crate) fn witnessed(&self) -> &Witnessed {
        &self.inner.witnessed
    }

    /// Returns the current moment.
    pub(crate) fn now(&self) -> Moment {
        self.inner.witnessed.now()
    }

    /// Returns whether nothing of the lease's address was evicted between a moment and the lease.
    pub(crate) fn proves(&self, lease: &Lease, since: Moment) -> bool {
        let witnesses = lease.witnesses.as_ref();
        witnesses.is_some_and(|witnesses| self.inner.witnessed.prove(witnesses, since))
    }

    /// Reads the nonce that every eviction removes, for a proof about what is read after that. `None`: the
    /// process knows it, as far as it can tell, and that is enough.
    pub(crate) fn prepare_proof(&self, insists: bool) -> Option<BoxFuture<()>> {
        if !insists && self.inner.witnessed.is_known() {
            return None;
        }
        let cache = self.clone();
        Some(Box::pin(async move {
            let started = cache.observer().start();
            let witness = cache.inner.store.witness().await;
            let witness = cache.recorded("witness", started, witness);
            cache.inner.witnessed.learn(witness.ok().flatten());
        }))
    }

    /// Holds a lease for longer, under a token that may be another; `false` when it was lost.
    pub(crate) async fn renew(
        &self,
        at: &Address,
        lease: &Lease,
        token: Token,
        hold: Duration,
    ) -> Result<bool, Fault> {
        let started = self.observer().start();
        let ended = self.inner.store.renew(at, lease, token, hold).await;
        self.recorded("renew", started, ended)
    }

    /// Stores an entry under a lease; `false` when the lease was lost.
    pub(crate) async fn fill(
        &self,
        at: &Address,
        lease: &Lease,
        entry: Bytes,
        lifetime: Option<Duration>,
    ) -> Result<bool, Fault> {
        let started = self.observer().start();
        let ended = self.inner.store.put(at, lease, entry, lifetime).await;
        if lease.claim == Claim::Override && !at.key.is_of_value() {
            self.inner.witnessed.forget();
        }
        self.recorded("put", started, ended)
    }

    /// Makes the nonces of an address outlast an entry that is stored next and kept for that long.
    pub(crate) async fn prolong(
        &self,
        at: &Address,
        kept_for: Option<Duration>,
    ) -> Result<(), Fault> {
        let ttl = kept_for.map(|kept_for| kept_for.saturating_add(self.inner.lease_ttl));
        let started = self.observer().start();
        let ended = self.inner.store.prolong(at, ttl).await;
        self.recorded("prolong", started, ended)
    }

    /// Gives a lease back.
    pub(crate) async fn release(&self, at: &Address, claim: Claim, token: Token) {
        let started = self.observer().start();
        let released = self.inner.store.release(at, claim, token).await;
        if self
            .recorded("release", started, released)
            .is_err_and(|fault| fault.is_absence())
        {
            self.release_later(at.clone(), claim, token);
        }
    }

    /// Gives a lease back that may be held, when the store can be told, so that nobody waits for it.
    /// If that takes long, the lease has ended by itself.
    pub(crate) fn release_later(&self, at: Address, claim: Claim, token: Token) {
        let cache = self.clone();
        self.inner.background.spawn_one_of_many(async move {
            let ends = Instant::now() + cache.hold();
            while Instant::now() < ends {
                sleep(LAST_RETRY).await;
                if cache.inner.store.release(&at, claim, token).await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Evicts; `false`: the store has not been told yet. The only way out for an entry before its time.
    pub(crate) async fn remove(&self, evictions: &[Eviction]) -> bool {
        let Some(span) = self.observer().span(Operation::Evict) else {
            return self.tell_or_hold(evictions).await.is_ok();
        };
        span.evicts(evictions);
        let told = span.around(self.tell_or_hold(evictions)).await;
        if let Err(fault) = &told {
            span.failed(fault.name());
        }
        told.is_ok()
    }

    /// Tells the store of evictions. If it does not take them, waits as long as others may serve what is
    /// evicted, where the settings say so.
    async fn tell_or_hold(&self, evictions: &[Eviction]) -> Result<(), Fault> {
        let told = self.tell(evictions).await;
        if told.is_err() && self.hold_for(evictions).await {
            return Ok(());
        }
        told
    }

    /// Waits as long as others may serve what is evicted, where the settings say so; `true`: the store has
    /// taken it meanwhile.
    async fn hold_for(&self, evictions: &[Eviction]) -> bool {
        let Some(held) = self.inner.held else {
            return false;
        };
        sleep(held).await;
        !self.inner.backlog.holds_any_of(evictions)
    }

    /// Tells the store of evictions, now or later.
    async fn tell(&self, evictions: &[Eviction]) -> Result<(), Fault> {
        self.evicts(evictions);
        let started = self.observer().start();
        let mut left = Vec::new();
        let removed = self.inner.store.remove(evictions).await.map_err(|failed| {
            left = failed.owed;
            failed.fault
        });
        self.inner.forget_witness(evictions.iter());
        let removed = self.recorded("remove", started, removed);
        if removed.is_err() {
            self.keep(left);
        } else if self.pending_evictions() > 0 {
            self.tend();
        }
        removed
    }

    /// Evicts for this process now, and for the others when the store can be told.
    pub(crate) async fn remove_later(&self, evictions: &[Eviction]) {
        self.evicts(evictions);
        self.keep(evictions.iter().cloned().map(Owed::whole).collect());
        self.hold_for(evictions).await;
    }

    fn keep(&self, owed: Vec<Owed>) {
        if self.inner.backlog.push(owed) {
            self.inner.faults.record(&Fault::Overflow);
        }
        self.tend();
    }

    /// Says that something is evicted, and of what kind it is.
    fn evicts(&self, evictions: &[Eviction]) {
        for eviction in evictions {
            let (target, group) = (eviction.target(), eviction.named_group());
            self.observer().record(Measured::Eviction { target });
            tracing::debug!(target, group, "evicted");
        }
    }

    /// Goes on telling the store of evictions, unless somebody does.
    pub(super) fn tend(&self) {
        if let Ok(runtime) = Handle::try_current()
            && self.inner.backlog.take_care()
        {
            tracing::warn!("evictions wait for the store, and are repeated until it takes them");
            runtime.spawn(Tending(Arc::downgrade(&self.inner)).run());
        }
    }

    /// Notes how an operation of the store ended, and how long it took.
    fn recorded<T>(
        &self,
        operation: &'static str,
        started: Started,
        ended: Result<T, Fault>,
    ) -> Result<T, Fault> {
        if let Some(took) = started.elapsed() {
            self.observer().record(Measured::StoreOperation {
                operation,
                fault: ended.as_ref().err().map(Fault::name),
                took,
            });
        }
        ended.inspect_err(|fault| self.inner.faults.record(fault))
    }
}

/// Tells the store of evictions until it has taken them all. Dropped with its runtime, it leaves them
/// to the next request that they concern.
struct Tending(Weak<Inner>);

impl Tending {
    async fn run(mut self) {
        let mut delay = FIRST_RETRY;
        while let Some(inner) = self.0.upgrade() {
            let has_succeeded = inner.tell_once().await;
            if inner.backlog.is_done() {
                tracing::info!("the store has taken every eviction");
                self.0 = Weak::new();
                return;
            }
            drop(inner);
            if has_succeeded {
                delay = FIRST_RETRY;
                continue;
            }
            sleep(delay).await;
            delay = LAST_RETRY.min(delay * 2);
        }
    }
}

impl Inner {
    /// Forgets the nonce that evictions have removed.
    fn forget_witness<'a>(&self, mut evictions: impl Iterator<Item = &'a Eviction>) {
        if evictions.any(Eviction::concerns_responses) {
            self.witnessed.forget();
        }
    }

    /// Tells the store of every eviction that waits, once: where one server of several is away, what
    /// others would take does not wait for it. Returns whether the store took them.
    async fn tell_once(&self) -> bool {
        let (attempts, mut has_succeeded) = (self.backlog.attempts(), true);
        while let Some(batch) = self.backlog.batch(attempts) {
            let removed = self.store.remove_owed(&batch.owed).await;
            self.forget_witness(batch.owed.iter().map(|owed| &owed.eviction));
            let Err(left) = removed else {
                self.backlog.settle(&batch, Vec::new());
                continue;
            };
            has_succeeded = false;
            if left.is_everything {
                break;
            }
            self.backlog.settle(&batch, left.owed);
        }
        has_succeeded
    }
}

impl Drop for Tending {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.backlog.abandon();
        }
    }
}
