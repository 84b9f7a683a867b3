//! A fill under way: holds a lease from before the handler runs until what it makes is stored.

use std::time::Duration;

use tokio::time::Instant;

use super::flight::Lead;
use crate::cache::Cache;
use crate::clock;
use crate::declared_groups;
use crate::entry::Entry;
use crate::http::freshness::Freshness;
use crate::http::storable::NotStorable;
use crate::key::{Address, Eviction};
use crate::observe::{Measured, Writes, Written};
use crate::store::{Claim, Claimed, Lease, Stamps, Token};
use crate::witnessed::Moment;

/// How often the lease of a run that others wait for is renewed. It ends a few beats after a process
/// that died held it.
pub(crate) const BEAT: Duration = Duration::from_millis(500);

/// Dropped before it is done (its client is gone, or the handler panicked), a read gives its lease
/// back, and a write evicts: what it wrote before it was dropped is unknown.
pub(crate) struct Fill {
    inner: Option<Box<Inner>>,
}

struct Inner {
    held: Held,
    /// Who it is for, as metrics and spans call it.
    handler: &'static str,
    /// How long the nonces of the lease outlast it; `None`: for ever.
    kept_for: Option<Duration>,
}

/// A lease that is held.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) cache: Cache,
    at: Address,
    lease: Lease,
    /// When the lease ends, however long the handler takes.
    end: Instant,
}

/// How the attempt to begin a fill ended.
pub(crate) enum Begun {
    /// With the entry that is there, which another fill may have put there just now.
    Fill(Fill, Option<Entry>),
    /// Its data may have been read before an eviction. With the entry that is there.
    ReadTooEarly(Option<Entry>),
    /// Another fill has the lease.
    Held(Token),
    /// The store has a fault.
    Fault,
}

impl Fill {
    /// Takes the lease, to store what is kept for that long. If the run has read data since `read_since`, the
    /// lease must prove that nothing was evicted after that.
    pub(crate) async fn begin(
        cache: Cache,
        at: Address,
        handler: &'static str,
        claim: Claim,
        kept_for: Option<Duration>,
        read_since: Option<Moment>,
    ) -> Begun {
        let handle = cache.clone();
        let begun = handle.background().to_its_end(async move {
            let end = Instant::now() + cache.lease_ttl();
            let (lease, entry) = match cache
                .lease(&at, claim, kept_for, read_since.is_some())
                .await
            {
                Ok(Claimed::Taken(lease, entry)) => (lease, entry),
                Ok(Claimed::Held(holder)) => return Begun::Held(holder),
                Err(_) => return Begun::Fault,
            };
            let entry = entry.and_then(|entry| Entry::current(entry, lease.nonces()));
            declared_groups::declare_made(&at.groups);
            let is_proved = |since| cache.proves(&lease, since) && !cache.is_evicted(&at);
            let is_too_early = read_since.is_some_and(|since| !is_proved(since));
            let held = Held {
                cache,
                at,
                lease,
                end,
            };
            if is_too_early {
                held.release().await;
                return Begun::ReadTooEarly(entry);
            }
            let inner = Box::new(Inner {
                held,
                handler,
                kept_for,
            });
            Begun::Fill(Self { inner: Some(inner) }, entry)
        });
        begun.await.unwrap_or(Begun::Fault)
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.held().map(|held| &held.cache)
    }

    /// What the entry must be stamped with.
    pub(crate) fn stamps(&self) -> Option<&Stamps> {
        self.held().map(|held| &held.lease.stamps)
    }

    /// The lease, for those who look after it while the handler runs.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.inner.as_ref().map(|inner| &inner.held)
    }

    /// Tells the others not to wait for it; what streams may take long. `None` when it is lost.
    pub(crate) async fn unawaited(mut self) -> Option<Self> {
        let held = &mut self.inner.as_mut()?.held;
        let token = held.lease.token.unawaited();
        let renewed = held.cache.renew(&held.at, &held.lease, token, held.left());
        match renewed.await {
            Ok(true) => {
                held.lease.token = token;
                Some(self)
            }
            Ok(false) => {
                self.inner = None;
                None
            }
            // It is held under the one token or the other, which the fill gives back when dropped.
            Err(_) => {
                let (cache, at, claim) = (&held.cache, held.at.clone(), held.lease.claim);
                cache.release_later(at, claim, token);
                None
            }
        }
    }

    /// Stores an entry, if nothing was evicted since the fill began. Before that it is shared with
    /// those who wait for it. It is kept for `stale_for` when it is no longer fresh. `None`: what was
    /// made could not be encoded. Tells what became of it.
    pub(crate) async fn store(
        mut self,
        entry: Option<Entry>,
        stale_for: Duration,
        lead: Option<Lead>,
    ) -> Written {
        match (lead, &entry) {
            (Some(lead), Some(entry)) => lead.land(self.held(), entry.clone()).await,
            (Some(lead), None) => lead.fail(),
            (None, _) => {}
        }
        let Some(inner) = self.inner.take() else {
            return Written::Superseded;
        };
        let cache = inner.held.cache.clone();
        let end = cache.background().to_its_end(inner.end(entry, stale_for));
        end.await.unwrap_or(Written::Superseded)
    }

    /// Ends without storing: a read gives its lease back, a write evicts its key.
    pub(crate) async fn give_up(mut self) {
        if let Some(inner) = self.inner.take() {
            let cache = inner.held.cache.clone();
            cache.background().to_its_end(inner.give_up()).await;
        }
    }

    /// Gives the lease back and leaves the entry as it is.
    pub(crate) async fn abandon(mut self) {
        if let Some(inner) = self.inner.take() {
            let cache = inner.held.cache.clone();
            let release = async move { inner.held.release().await };
            cache.background().to_its_end(release).await;
        }
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            let cache = inner.held.cache.clone();
            cache.background().spawn(inner.give_up());
        }
    }
}

impl Inner {
    /// Stores an entry, and says what became of it to those who watch.
    async fn end(self, entry: Option<Entry>, stale_for: Duration) -> Written {
        let (cache, handler) = (self.held.cache.clone(), self.handler);
        let writes = match self.held.lease.claim {
            Claim::IfFree | Claim::Alone => Writes::Fill,
            Claim::Override => Writes::Through,
        };
        let written = match cache.observer().span(writes.operation()) {
            None => self.store(entry, stale_for).await,
            Some(span) => {
                span.about(handler, &self.held.at);
                span.ttl(entry.as_ref().and_then(Entry::lifetime));
                let written = span.around(self.store(entry, stale_for)).await;
                span.written(written);
                written
            }
        };
        if written == Written::Superseded {
            tracing::debug!(
                handler,
                "superseded: evicted or written since its fill began"
            );
        }
        cache.observer().record(Measured::Write {
            handler,
            writes,
            written,
        });
        written
    }

    async fn store(self, entry: Option<Entry>, stale_for: Duration) -> Written {
        let Some(entry) = entry else {
            self.give_up().await;
            return Written::Refused(NotStorable::TooLarge.name());
        };
        // What is left of it: the body may have taken a while.
        let freshness = Freshness::at(clock::now(), entry.generated(), entry.lifetime());
        let fresh_for = freshness.remaining();
        if fresh_for.is_some_and(|lifetime| lifetime.is_zero()) {
            self.give_up().await;
            return Written::Refused(NotStorable::AlreadyStale.name());
        }
        let ttl = fresh_for.map(|fresh_for| fresh_for.saturating_add(stale_for));
        // The handler may have granted more than the route declared when the nonces were seeded.
        if outlasts(ttl, self.kept_for) {
            let _ = self.held.cache.prolong(&self.held.at, ttl).await;
        }
        let stored = self
            .held
            .cache
            .fill(&self.held.at, &self.held.lease, entry.into_bytes(), ttl);
        match stored.await {
            Ok(true) => Written::Stored,
            Ok(false) => Written::Superseded,
            // It may have been stored, or not: whatever is left must go. The request has waited long
            // enough.
            Err(fault) if fault.is_absence() => {
                if let Some(evictions) = self.evictions() {
                    self.held.cache.remove_later(&evictions).await;
                } else {
                    let cache = self.held.cache.clone();
                    cache.background().spawn(self.give_up());
                }
                Written::Failed(fault.name())
            }
            Err(fault) => {
                self.give_up().await;
                Written::Failed(fault.name())
            }
        }
    }

    async fn give_up(self) {
        match self.evictions() {
            Some(evictions) => {
                let _ = self.held.cache.remove(&evictions).await;
            }
            None => self.held.release().await,
        }
    }

    /// What a write that did not end as it should evicts: its lease is part of it.
    fn evictions(&self) -> Option<Vec<Eviction>> {
        let is_write = self.held.lease.claim == Claim::Override;
        is_write.then(|| vec![Eviction::Key(self.held.at.key.clone())])
    }
}

impl Held {
    /// Says whether nothing was evicted since the lease was taken; `None` when the store cannot tell.
    pub(crate) async fn is_current(&self) -> Option<bool> {
        let found = self.cache.look(&self.at, true).await.ok()?;
        Some(self.lease.is_current(&found))
    }

    /// Holds the lease a while longer; `false` when it was lost.
    pub(crate) async fn renew(&self) -> bool {
        let hold = self.cache.hold().min(self.left());
        let lease = &self.lease;
        let renewed = self.cache.renew(&self.at, lease, lease.token, hold);
        // A fault is recorded by the cache, and the lease may be held still.
        !matches!(renewed.await, Ok(false))
    }

    /// The end of the lease, however often it is renewed.
    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Lets others begin.
    pub(crate) async fn release(&self) {
        let (claim, token) = (self.lease.claim, self.lease.token);
        self.cache.release(&self.at, claim, token).await;
    }
}

/// Whether one lifetime is longer than another; `None` is the longest.
fn outlasts(lifetime: Option<Duration>, other: Option<Duration>) -> bool {
    match (lifetime, other) {
        (Some(lifetime), Some(other)) => lifetime > other,
        (None, other) => other.is_some(),
        (Some(_), None) => false,
    }
}
