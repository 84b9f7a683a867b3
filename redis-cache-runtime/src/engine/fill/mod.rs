//! A fill: the run of a handler whose response is stored. The lease is taken before the run, and
//! the response is stored only if the lease is still held after it.

mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::work::{Content, Work};
use super::client::StoreClient;
use super::declared_groups;
use super::flight::Lead;
use super::lease::HeldLease;
use super::seen_nonces::Tick;
use crate::key::{Address, Group, ResponseGroups};
use crate::observe::Written;
use crate::store::entry::Entry;
use crate::store::{Claim, Claimed, EntryStamps, Found, Token};

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
        let at = with_expected_groups(&client, at);
        let begun = handle.background().run_to_completion(async move {
            let end = Instant::now() + client.lease_ttl();
            let leased = client.lease(&at, claim, kept_for, read_since.is_some());
            let (lease, entry) = match leased.await {
                Ok(Claimed::Taken(lease, entry)) => (lease, entry),
                Ok(Claimed::Held(holder)) => return Begun::Held(holder),
                Err(_) => return Begun::Fault,
            };
            let entry = match entry {
                Some(entry) => current_entry(&client, &at, lease.found(entry)).await,
                None => None,
            };
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

    /// Returns the stamps for the entry of a response that names groups. `None`: it is unknown
    /// whether one of the groups was evicted since the fill began. Then the response must not be
    /// stored. After [`expect`](Self::expect), the next response can be stored.
    pub(crate) fn stamps_for(&self, groups: &[Group]) -> Option<EntryStamps> {
        let held = &self.work.held;
        let mut stamps = held.stamps_for(groups)?;
        if !groups.is_empty() || !held.at.response_groups().is_empty() {
            let known = held.client.known_groups().learn_stored(&held.at, groups);
            stamps.expected = known.more_than_stored().to_vec();
        }
        Some(stamps)
    }

    /// Reads the nonces of groups after the run, if a test breaks the protocol on purpose.
    #[cfg(test)]
    pub(crate) async fn break_protocol(&mut self, groups: &[Group]) {
        let held = &mut self.work.held;
        let reads_after_run = &held.client.known_groups().reads_after_run;
        if reads_after_run.load(std::sync::atomic::Ordering::Relaxed) {
            held.read_groups_again(groups).await;
        }
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
        let content = Content::Entry(entry);
        self.finish(|work| work.store_and_record(content, stale_for))
            .await
            .unwrap_or(Written::Superseded)
    }

    /// Ends the fill without storing its response, because the lease lacks the nonces of some of its
    /// groups. Remembers the groups in this process and in the store, so that the next response can be
    /// stored. Keeps the current entry, for `stale_for` after it has become stale.
    pub(crate) async fn expect(
        mut self: Box<Self>,
        groups: Vec<Group>,
        stale_for: Duration,
    ) -> Written {
        let lead = self.lead.take();
        let content = Content::Expected(groups);
        let written = self
            .finish(|work| work.store_and_record(content, stale_for))
            .await;
        // The lease is free now, so that a follower can take it.
        if let Some(lead) = lead {
            lead.look_up_again();
        }
        written.unwrap_or(Written::Superseded)
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

/// Returns an address with all groups that its response may name.
fn with_expected_groups(client: &StoreClient, at: Address) -> Address {
    let Some(known) = client.known_groups().of(&at) else {
        return at;
    };
    let own = at.response_groups();
    let others = known.expected.iter().filter(|group| !own.contains(group));
    let both: ResponseGroups = own.iter().chain(others).cloned().collect();
    at.with_response_groups(&both)
}

/// Returns the entry that was there when a lease was taken, if it is current.
async fn current_entry(client: &Arc<StoreClient>, at: &Address, mut found: Found) -> Option<Entry> {
    // The entry may name groups that were not known when the lease was taken.
    if client.known_groups().learn_found(at, &mut found).is_some() {
        found = client.lookup(at, false).await.ok()?;
    }
    found.into_entry().filter(|_| !client.is_evicted(at))
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.is_done {
            let work = self.work.clone();
            self.work.held.client.background().spawn(work.give_up());
        }
    }
}
