//! A fill: the run of a handler whose response is stored. The lease is taken before the run, and
//! the response is stored only if the lease is still held after it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::client::StoreClient;
use super::flight::Lead;
use super::lease::HeldLease;
use super::seen_nonces::Tick;
use super::{clock, declared_groups};
use crate::http::storable::NotStorable;
use crate::key::{Address, Eviction};
use crate::observe::{Measured, Writes, Written};
use crate::store::entry::Entry;
use crate::store::{Claim, Claimed, Stamps, Token};

/// A fill under way, with the requests that wait for it.
///
/// If a fill is dropped before it is done (the client has disconnected, or the handler panicked), a
/// read releases its lease, and a write evicts its key: the changes that the write made until then
/// are unknown.
pub(crate) struct Fill {
    work: Work,
    lead: Option<Lead>,
    is_done: bool,
}

#[derive(Clone)]
struct Work {
    held: HeldLease,
    /// The name of the handler in metrics and spans.
    handler: &'static str,
    /// The time for which the nonces of the lease are kept after the lease; `None`: no expiry.
    kept_for: Option<Duration>,
}

/// The result of an attempt to begin a fill.
pub(crate) enum Begun {
    /// The lease is taken. The entry is the current one, which another fill may have stored since
    /// the lookup.
    Fill(Box<Fill>, Option<Entry>),
    /// The request may have read its data before an eviction. The entry is the current one.
    ReadTooEarly(Option<Entry>),
    /// Another fill has the lease.
    Held(Token),
    /// The store has a fault.
    Fault,
}

impl Fill {
    /// Takes the lease for an entry that is kept for `kept_for`. If the request has read data since
    /// `read_since`, the lease must prove that nothing was evicted after that tick.
    pub(crate) async fn begin(
        client: Arc<StoreClient>,
        at: Address,
        handler: &'static str,
        claim: Claim,
        kept_for: Option<Duration>,
        read_since: Option<Tick>,
    ) -> Begun {
        let handle = Arc::clone(&client);
        let begun = handle.background().run_to_completion(async move {
            let end = Instant::now() + client.lease_ttl();
            let leased = client.lease(&at, claim, kept_for, read_since.is_some());
            let (lease, entry) = match leased.await {
                Ok(Claimed::Taken(lease, entry)) => (lease, entry),
                Ok(Claimed::Held(holder)) => return Begun::Held(holder),
                Err(_) => return Begun::Fault,
            };
            let entry = entry.and_then(|entry| Entry::current(entry, lease.nonces()));
            declared_groups::declare_made(&at.groups);
            let is_proved =
                |since| client.proves_no_eviction(&lease, since) && !client.is_evicted(&at);
            let is_too_early = read_since.is_some_and(|since| !is_proved(since));
            let held = HeldLease {
                client,
                at,
                lease,
                end,
            };
            if is_too_early {
                held.release().await;
                return Begun::ReadTooEarly(entry);
            }
            let work = Work {
                held,
                handler,
                kept_for,
            };
            let fill = Self {
                work,
                lead: None,
                is_done: false,
            };
            Begun::Fill(Box::new(fill), entry)
        });
        begun.await.unwrap_or(Begun::Fault)
    }

    /// Lets the followers of a lead wait for this fill.
    pub(super) fn led_by(mut self: Box<Self>, lead: Lead) -> Box<Self> {
        self.lead = Some(lead);
        self
    }

    /// Returns the stamps for the entry.
    pub(crate) fn stamps(&self) -> &Stamps {
        self.work.held.stamps()
    }

    /// Returns the end of the lease.
    pub(crate) fn end(&self) -> Instant {
        self.work.held.end()
    }

    /// Runs the handler. Renews the lease during the run if other requests may follow.
    pub(crate) async fn run<T>(&self, handler: impl Future<Output = T>) -> T {
        match &self.lead {
            Some(lead) => lead.run(&self.work.held, handler).await,
            None => handler.await,
        }
    }

    /// Makes the followers and other processes stop waiting for the response, because it is a
    /// stream and may take long. `None`: the lease is lost, or the store has a fault.
    pub(crate) async fn unawaited(mut self: Box<Self>) -> Option<Box<Self>> {
        if let Some(lead) = self.lead.take() {
            lead.fail_to_share();
        }
        match self.work.held.make_unawaited().await {
            Ok(true) => Some(self),
            Ok(false) => {
                self.is_done = true;
                None
            }
            Err(_) => None,
        }
    }

    /// Shares an entry with the followers, then stores it if nothing was evicted since the fill
    /// began. The store keeps the entry for `stale_for` after it has become stale. If `entry` is
    /// `None`, the response could not be encoded.
    pub(crate) async fn store(
        mut self: Box<Self>,
        entry: Option<Entry>,
        stale_for: Duration,
    ) -> Written {
        match (self.lead.take(), &entry) {
            (Some(lead), Some(entry)) => lead.land(&self.work.held, entry.clone()).await,
            (Some(lead), None) => lead.fail(),
            (None, _) => {}
        }
        self.finish(|work| work.store_and_record(entry, stale_for))
            .await
            .unwrap_or(Written::Superseded)
    }

    /// Ends the fill without storing an entry: a read releases its lease, a write evicts its key.
    pub(crate) async fn give_up(self: Box<Self>) {
        self.finish(Work::give_up).await;
    }

    /// Releases the lease, leaves the entry as it is, and lets the followers run the handler
    /// themselves. The lease is released first, so that a follower can take it.
    pub(crate) async fn abandon(mut self: Box<Self>) {
        let lead = self.lead.take();
        self.release().await;
        if let Some(lead) = lead {
            lead.fail();
        }
    }

    /// Does the same as `abandon`. For a short time, no request follows another one, because the
    /// next response most likely cannot be shared either.
    pub(crate) async fn abandon_unshared(mut self: Box<Self>) {
        let lead = self.lead.take();
        self.release().await;
        if let Some(lead) = lead {
            lead.fail_to_share();
        }
    }

    /// Lets the followers run the handler themselves, and releases the lease in the background.
    pub(crate) fn fail(mut self: Box<Self>) {
        if let Some(lead) = self.lead.take() {
            lead.fail();
        }
    }

    async fn release(self: Box<Self>) {
        self.finish(|work| async move { work.held.release().await })
            .await;
    }

    /// Runs the last step to completion, even if the caller is dropped.
    async fn finish<F>(mut self: Box<Self>, step: impl FnOnce(Work) -> F) -> Option<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.is_done = true;
        let client = Arc::clone(&self.work.held.client);
        let step = step(self.work.clone());
        client.background().run_to_completion(step).await
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.is_done {
            let work = self.work.clone();
            self.work.held.client.background().spawn(work.give_up());
        }
    }
}

impl Work {
    /// Stores an entry, and records the result in metrics, spans and the log.
    async fn store_and_record(self, entry: Option<Entry>, stale_for: Duration) -> Written {
        let (client, handler) = (Arc::clone(&self.held.client), self.handler);
        let writes = match self.held.lease.claim {
            Claim::IfFree | Claim::Alone => Writes::Fill,
            Claim::Override => Writes::Through,
        };
        let written = match client.observer().span(writes.operation()) {
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
                "response not stored: its entry was evicted or written after the fill began"
            );
        }
        client.observer().record(Measured::Write {
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
        // Uses the remaining lifetime, because the body may have taken a while.
        let fresh_for = entry.freshness(clock::now()).remaining();
        if fresh_for.is_some_and(|lifetime| lifetime.is_zero()) {
            self.give_up().await;
            return Written::Refused(NotStorable::AlreadyStale.name());
        }
        let ttl = fresh_for.map(|fresh_for| fresh_for.saturating_add(stale_for));
        let HeldLease {
            client, at, lease, ..
        } = &self.held;
        // The nonces were seeded for the lifetime that the route declares, but the handler may have
        // granted a longer one.
        if outlasts(ttl, self.kept_for) {
            let _ = client.prolong(at, ttl).await;
        }
        match client.fill(at, lease, entry.into_bytes(), ttl).await {
            Ok(true) => Written::Stored,
            Ok(false) => Written::Superseded,
            // The entry may have been stored, so it must be evicted. The request does not wait for
            // the eviction, because its time budget is used up.
            Err(fault) if fault.is_absence() => {
                if let Some(evictions) = self.evictions() {
                    client.evict_later(&evictions).await;
                } else {
                    let client = Arc::clone(client);
                    client.background().spawn(self.give_up());
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
            // The client retries an eviction that fails.
            Some(evictions) => {
                let _ = self.held.client.evict(&evictions).await;
            }
            None => self.held.release().await,
        }
    }

    /// Returns the evictions of a write that failed; `None`: the fill belongs to a read. The
    /// eviction of the key removes the lease, too.
    fn evictions(&self) -> Option<Vec<Eviction>> {
        let is_write = self.held.is_of_write();
        is_write.then(|| vec![Eviction::Key(self.held.at.key.clone())])
    }
}

/// Returns whether one lifetime is longer than another; `None`: no expiry.
fn outlasts(lifetime: Option<Duration>, other: Option<Duration>) -> bool {
    match (lifetime, other) {
        (Some(lifetime), Some(other)) => lifetime > other,
        (None, other) => other.is_some(),
        (Some(_), None) => false,
    }
}
