//! Searches for a stored response or value. A search looks the address up in the store. If another
//! request of this process already fills the address, the search waits for that run. While another
//! process fills it, the search repeats the lookup.
//!
//! The result is an entry to reuse, or a plan for running the handler.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::fill::{Begun, Fill};
use super::flight::{Follower, Landing, Lead, Role};
use super::plan::Plan;
use super::seen_nonces::Tick;
use super::turns::ShareResult;
use super::waits::Run;
use super::{Engine, clock};
use crate::http::cache_status::{Forward, Outcome};
use crate::http::directives::RequestDirectives;
use crate::http::freshness::{Freshness, Reuse};
use crate::key::Address;
use crate::observe::fault::Fault;
use crate::observe::{Operation, Span};
use crate::store::entry::Entry;
use crate::store::{Claim, Found};

/// The largest number of attempts to follow a run, to lead one, or to take its lease. After that, the
/// request no longer waits for a run that fills the address.
const MAX_ATTEMPTS: usize = 3;

/// The longest wait for another process if the search is part of a run itself. Runs in several
/// processes can wait for each other in a cycle, which no process can detect: this limit ends the
/// cycle.
const NESTED_WAIT: Duration = Duration::from_secs(1);

/// The target of a search: a response or a value.
pub(crate) trait Sought {
    /// A decoded entry.
    type Stored;

    /// Decodes an entry, if it may be reused now.
    fn reuse(&self, entry: &Entry) -> Option<(Reuse, Self::Stored)>;

    /// Returns the time for which an entry is kept; `None`: no expiry.
    fn kept_for(&self, engine: &Engine) -> Option<Duration>;

    /// Returns whether an entry that this request cannot reuse is still valid for other requests.
    fn is_valid_for_others(&self, _: &Entry) -> bool {
        false
    }

    /// Returns the tick of the logical clock after which the extractors of the request may have read
    /// data. `None`: they have read no data.
    fn read_since(&self) -> Option<Tick> {
        None
    }

    /// Records that a response is not stored because its data may have been read before an
    /// eviction.
    fn read_too_early(&self, _: &Engine) {}

    /// Returns the name of the handler in metrics and spans.
    fn handler(&self) -> &'static str;

    /// Returns the freshness of a decoded entry, if it has one.
    fn freshness(_: &Self::Stored) -> Option<Freshness> {
        None
    }

    /// Returns the directives of the request.
    fn directives(&self) -> Option<&RequestDirectives> {
        None
    }

    /// Returns an entry that may be reused because the run of another request gave this request no
    /// response.
    async fn on_failure(&self, _: &Engine, _: &Address) -> Option<Self::Stored> {
        None
    }
}

/// The result of a search.
pub(crate) enum Searched<T> {
    /// An entry to reuse: a stored one, or one that the run of another request has just made. If this
    /// request was collapsed with the run of another request, the second field holds the reason for
    /// forwarding this request. Otherwise it is `None`.
    Stored(T, Option<Forward>),
    /// The reason for running the handler, and the plan for the run.
    Run(Forward, Plan<T>),
}

/// A search under way. It must stay small, because the future of every hit contains it.
pub(crate) struct Search<'a, S> {
    engine: &'a Engine,
    at: &'a Address,
    sought: &'a S,
    /// The reason for forwarding the request, as known so far.
    forward: Forward,
    /// This request waited for the run of another request, which made the entry.
    collapsed: bool,
    /// The name of the fault of a failed lookup. A lookup that is repeated while another process fills
    /// the address does not count.
    fault: Option<&'static str>,
}

/// An entry to reuse, or a plan for running the handler.
type StoredOrPlan<T> = Result<T, Plan<T>>;

/// The result of a lookup that found no entry to reuse as it is.
enum Unusable<T> {
    /// The entry is stale, and may be reused while it is refreshed.
    Stale(T),
    /// There is no entry to reuse.
    Missing,
    /// The entry is valid for other requests, but not for this one.
    Refused,
    /// The store had a fault.
    Fault,
}

/// A search that has begun, with the steps that it has already taken.
pub(crate) enum Start<T> {
    /// No step: the lookup may have to wait for the store, or for a run of this process.
    LookUp,
    /// No step either, but the search has a span.
    InSpan(Box<Span>),
    /// A lookup that found no entry to reuse as it is.
    Missed(Box<Miss<T>>),
}

/// The state of a search after a lookup that found no entry to reuse as it is.
pub(crate) struct Miss<T> {
    reason: Unusable<T>,
    forward: Forward,
    fault: Option<&'static str>,
}

/// The result of waiting for the fill of another process.
enum Waited<T> {
    /// The number of followers that had joined when the lookup began, and the entry.
    Stored(u64, Entry, T),
    /// The lease is free, and there is no entry that this request can reuse.
    NotStored,
    /// The deadline has passed, the lease now has a holder for which no request waits, or the store
    /// had a fault.
    GaveUp,
}

impl<'a, S: Sought> Search<'a, S> {
    pub(crate) fn new(engine: &'a Engine, at: &'a Address, sought: &'a S) -> Self {
        Self {
            engine,
            at,
            sought,
            forward: Forward::Miss,
            collapsed: false,
            fault: None,
        }
    }

    /// Begins a search. Unless the search has a span or a run is under way in this process, an entry in
    /// the memory of this process is looked up now. A hit then needs no future, which would have to be
    /// boxed.
    pub(crate) fn start(&mut self) -> Result<S::Stored, Start<S::Stored>> {
        if let Some(span) = self.engine.observer().span(Operation::Get) {
            return Err(Start::InSpan(Box::new(span)));
        }
        if !self.engine.flights().is_empty() {
            return Err(Start::LookUp);
        }
        let Some(found) = self.engine.client().lookup_at_once(self.at) else {
            return Err(Start::LookUp);
        };
        self.judge(found).map_err(|reason| {
            Start::Missed(Box::new(Miss {
                reason,
                forward: self.forward,
                fault: self.fault,
            }))
        })
    }

    /// Finds a stored entry, or decides how the handler runs. `None`: the search has not begun yet.
    pub(crate) async fn run(&mut self, begun: Option<Start<S::Stored>>) -> Searched<S::Stored> {
        let begun = match begun {
            Some(begun) => begun,
            None => match self.start() {
                Ok(stored) => return Searched::Stored(stored, None),
                Err(begun) => begun,
            },
        };
        // All futures but that of a lookup are boxed, so that this one stays small.
        let found = match begun {
            Start::LookUp => self.search().await,
            Start::InSpan(span) => Box::pin(self.search_in_span(*span)).await,
            Start::Missed(miss) => {
                (self.forward, self.fault) = (miss.forward, miss.fault);
                Box::pin(self.after_lookup(miss.reason)).await
            }
        };
        self.searched(found)
    }

    fn searched(&self, found: StoredOrPlan<S::Stored>) -> Searched<S::Stored> {
        match found {
            Ok(stored) => Searched::Stored(stored, self.collapsed.then_some(self.forward)),
            Err(plan) => Searched::Run(self.forward, plan),
        }
    }

    async fn search_in_span(&mut self, span: Span) -> StoredOrPlan<S::Stored> {
        span.about(self.sought.handler(), self.at);
        let found = span.around(self.search()).await;
        let stored = match &found {
            Ok(stored) => Some(stored),
            Err(Plan::Refresh(_, stale)) => Some(&**stale),
            Err(Plan::Run(_)) => None,
        };
        if let Some(stored) = stored {
            let freshness = S::freshness(stored);
            let outcome = freshness.map_or(Outcome::Hit, Outcome::of_reuse);
            span.answered(outcome.name(self.collapsed), true);
            span.ttl(freshness.and_then(Freshness::remaining));
        } else {
            span.answered(self.forward.outcome().name(false), false);
        }
        if let Some(fault) = self.fault {
            span.failed(fault);
        }
        found
    }

    /// Looks the address up in the store, unless another request of this process already fills it.
    /// All other steps are boxed, so that the future of a hit stays small.
    async fn search(&mut self) -> StoredOrPlan<S::Stored> {
        if let Some(follower) = self.join() {
            return Box::pin(self.fill_or_follow(Some(follower))).await;
        }
        let found = self.engine.client().lookup(self.at, false).await;
        match self.judge(found) {
            Ok(answer) => Ok(answer),
            Err(reason) => Box::pin(self.after_lookup(reason)).await,
        }
    }

    /// Continues after the first lookup found no entry to reuse as it is.
    async fn after_lookup(&mut self, reason: Unusable<S::Stored>) -> StoredOrPlan<S::Stored> {
        match reason {
            Unusable::Stale(answer) => self.refresh(answer).await,
            Unusable::Missing | Unusable::Refused if self.only_if_cached() => Err(Plan::unstored()),
            Unusable::Missing => self.fill_or_follow(None).await,
            Unusable::Refused => self.alone().await,
            // The lookup may have timed out because many requests miss the same entry. If one of
            // them already fills the address, its run is followed.
            Unusable::Fault => match self.join() {
                None => self.unstored().await,
                follower => {
                    self.forward = Forward::Miss;
                    self.fill_or_follow(follower).await
                }
            },
        }
    }

    /// Leads the run that fills the address, or follows the request that leads it.
    async fn fill_or_follow(&mut self, mut follower: Option<Follower>) -> StoredOrPlan<S::Stored> {
        if !self.may_wait() || self.engine.flights().is_unshared(self.at) {
            return self.alone().await;
        }
        let deadline = Instant::now() + self.engine.lease_ttl();
        for _ in 0..MAX_ATTEMPTS {
            let follower = match follower.take() {
                Some(follower) => follower,
                None => match self.engine.flights().lead_or_join(self.at) {
                    Role::Leader(lead) => return self.lead(lead, deadline).await,
                    Role::Follower(follower) => follower,
                    Role::Cycle => break,
                },
            };
            match follower.landing(deadline).await {
                Landing::Stored(entry) => {
                    self.collapsed = true;
                    return self.answer_with(&entry);
                }
                Landing::Failed => return self.without_leader().await,
                Landing::LookUpAgain => {}
            }
            let found = self.engine.client().lookup(self.at, false).await;
            match self.judge(found) {
                Ok(answer) => return Ok(answer),
                Err(Unusable::Stale(answer)) => return self.refresh(answer).await,
                Err(Unusable::Refused) => return self.alone().await,
                Err(Unusable::Missing) => {}
                Err(Unusable::Fault) => return self.unstored().await,
            }
        }
        match self.claim(Claim::Alone).await {
            // The attempts are used up, or the run waits for this request. Another request holds the
            // lease.
            Begun::Held(_) => self.unstored().await,
            claimed => self.alone_with(claimed).await,
        }
    }

    /// Waits for a turn to run the handler, or for the response of a run that begins after this call.
    /// In both cases the response is not stored.
    async fn unstored(&mut self) -> StoredOrPlan<S::Stored> {
        // Without a Tokio runtime, no request can wait.
        if self.only_if_cached() || Handle::try_current().is_err() {
            return Err(Plan::unstored());
        }
        let deadline = Instant::now() + self.engine.lease_ttl();
        let turns = self.engine.turns();
        if self.sought.read_since().is_none() && !self.forces_a_run() {
            match turns.share(self.at, deadline).await {
                ShareResult::Turn(turn) => return Err(Plan::in_turn(turn)),
                ShareResult::NoTurn => return Err(Plan::unstored()),
                ShareResult::Answered(entry) => {
                    if let Some((_, answer)) = self.sought.reuse(&entry) {
                        self.collapsed = true;
                        return Ok(answer);
                    }
                }
            }
        }
        match turns.alone(self.at, deadline).await {
            Some(turn) => Err(Plan::in_turn(turn)),
            None => Err(Plan::unstored()),
        }
    }

    /// Returns whether the request may wait for the run of another request.
    fn may_wait(&self) -> bool {
        !self.forces_a_run()
            && !self.only_if_cached()
            // Without a Tokio runtime, no request can wait.
            && Handle::try_current().is_ok()
    }

    /// Follows the run that fills the address, if there is one.
    fn join(&self) -> Option<Follower> {
        let flights = self.engine.flights();
        if flights.is_empty() || !self.may_wait() || self.engine.client().is_evicted(self.at) {
            return None;
        }
        flights.join(self.at)
    }

    /// Decides whether the result of a lookup can be reused.
    fn judge(&mut self, found: Result<Found, Fault>) -> Result<S::Stored, Unusable<S::Stored>> {
        let entry = match found {
            Ok(found) => self.current(found),
            Err(fault) => {
                // Without an answer of the store, the request bypasses the cache.
                self.forward = Forward::Bypass;
                self.fault = Some(fault.name());
                return Err(Unusable::Fault);
            }
        };
        let Some(entry) = entry else {
            self.forward = match self.at.variant {
                Some(_) => Forward::Miss,
                None => Forward::UriMiss,
            };
            return Err(Unusable::Missing);
        };
        match self.sought.reuse(&entry) {
            Some((Reuse::WhileRevalidating, answer)) => {
                self.forward = Forward::Stale;
                Err(Unusable::Stale(answer))
            }
            Some((_, answer)) => Ok(answer),
            None => {
                self.forward = if is_fresh(&entry) {
                    Forward::Request
                } else {
                    Forward::Stale
                };
                if self.sought.is_valid_for_others(&entry) {
                    Err(Unusable::Refused)
                } else {
                    Err(Unusable::Missing)
                }
            }
        }
    }

    /// Returns the entry of a lookup, if it is current. If another process has stored the entry for
    /// another mount of the handler, each mount gets entries of its own from now on.
    fn current(&self, found: Found) -> Option<Entry> {
        match found.into_current() {
            Ok(entry) => entry,
            Err(of_another_mount) => {
                if of_another_mount
                    && let Some(mounted) = self.at.mounted
                    && mounted.is_plain()
                {
                    mounted.spread();
                }
                None
            }
        }
    }

    /// Plans to refresh a stale entry, unless another request refreshes it already.
    async fn refresh(&self, stale: S::Stored) -> StoredOrPlan<S::Stored> {
        if self.only_if_cached() || Handle::try_current().is_err() {
            return Ok(stale);
        }
        let Some(lead) = self.engine.flights().refresh(self.at) else {
            return Ok(stale);
        };
        match self.claim(Claim::IfFree).await {
            Begun::Fill(fill, there) => match self.already_there(there) {
                None => return Err(Plan::Refresh(fill.led_by(lead), Box::new(stale))),
                Some((_, answer)) => {
                    fill.abandon().await;
                    return Ok(answer);
                }
            },
            Begun::ReadTooEarly(there) => {
                if let Some((_, answer)) = self.already_there(there) {
                    return Ok(answer);
                }
            }
            Begun::Held(_) | Begun::Fault => {}
        }
        Ok(stale)
    }

    async fn claim(&self, claim: Claim) -> Begun {
        let kept_for = self.sought.kept_for(self.engine);
        let (client, at) = (Arc::clone(self.engine.client()), self.at.clone());
        let (handler, read_since) = (self.sought.handler(), self.sought.read_since());
        Fill::begin(client, at, handler, claim, kept_for, read_since).await
    }

    /// Takes the lease, or waits for the process that holds it.
    async fn lead(&mut self, lead: Lead, deadline: Instant) -> StoredOrPlan<S::Stored> {
        let patience = if Run::is_within_one() {
            deadline.min(Instant::now() + NESTED_WAIT)
        } else {
            deadline
        };
        for _ in 0..MAX_ATTEMPTS {
            let joined = lead.joined();
            match self.claim(Claim::IfFree).await {
                Begun::Fill(fill, there) => match self.already_there(there) {
                    None => return Err(Plan::fill(fill.led_by(self.prepared(lead, joined)))),
                    Some((entry, answer)) => {
                        lead.share_stored(joined, entry);
                        fill.abandon().await;
                        return Ok(answer);
                    }
                },
                Begun::Held(holder) if holder.is_awaited() => {
                    match self.wait_for_another(&lead, patience).await {
                        Waited::Stored(joined, entry, answer) => {
                            self.collapsed = true;
                            lead.share_stored(joined, entry);
                            return Ok(answer);
                        }
                        Waited::NotStored => {}
                        // Another request may wait longer, so this request gives up the lead. Requests
                        // that have given up waiting share a run whose response is not stored.
                        Waited::GaveUp => {
                            drop(lead);
                            return self.unstored().await;
                        }
                    }
                }
                // No request waits for this holder of the lease.
                Begun::Held(_) => break,
                Begun::ReadTooEarly(there) => {
                    // This request may have read its data before an eviction. The followers may have
                    // read theirs after the eviction, so one of the followers can lead.
                    drop(lead);
                    return self.too_early(there).await;
                }
                // The followers look up again, and get the same fault.
                Begun::Fault => {
                    drop(lead);
                    return self.unstored().await;
                }
            }
        }
        // Each follower runs the handler itself.
        lead.fail();
        Err(Plan::unstored())
    }

    /// Repeats the lookup, at growing intervals, until the other process has stored an entry or
    /// released its lease, or until the deadline.
    async fn wait_for_another(&self, lead: &Lead, deadline: Instant) -> Waited<S::Stored> {
        let begun = Instant::now();
        loop {
            sleep(pause(begun.elapsed())).await;
            let joined = lead.joined();
            let Ok(found) = self.engine.client().lookup(self.at, true).await else {
                return Waited::GaveUp;
            };
            let holder = found.holder;
            if let Some((entry, answer)) = self.already_there(found.into_entry()) {
                return Waited::Stored(joined, entry, answer);
            }
            match holder {
                None => return Waited::NotStored,
                Some(holder) if holder.is_awaited() && Instant::now() < deadline => {}
                Some(_) => return Waited::GaveUp,
            }
        }
    }

    /// Continues when the run that this request followed has failed, cannot be shared or takes too long.
    async fn without_leader(&mut self) -> StoredOrPlan<S::Stored> {
        if let Some(answer) = self.sought.on_failure(self.engine, self.at).await {
            return Ok(answer);
        }
        // The lead only chooses one of the followers, which claims the lease. Nothing is refreshed.
        let chosen = self.engine.flights().refresh(self.at);
        if chosen.is_none() {
            return Err(Plan::unstored());
        }
        let claimed = self.claim(Claim::Alone).await;
        drop(chosen);
        self.alone_with(claimed).await
    }

    /// Takes the lease, and plans a run that no request follows. If another request holds the lease, the
    /// response is not stored. If the store has a fault, the request waits for a turn instead, which it
    /// may share with other requests. If its data may have been read before an eviction, it waits for a
    /// turn of its own. Returns the current entry instead, if it can be reused.
    async fn alone(&mut self) -> StoredOrPlan<S::Stored> {
        let claimed = self.claim(Claim::Alone).await;
        self.alone_with(claimed).await
    }

    async fn alone_with(&mut self, claimed: Begun) -> StoredOrPlan<S::Stored> {
        match claimed {
            Begun::Fill(fill, there) => {
                let there = there.filter(|_| !self.forces_a_run());
                match self.already_there(there) {
                    None => Err(Plan::fill(fill)),
                    Some((_, answer)) => {
                        fill.abandon().await;
                        Ok(answer)
                    }
                }
            }
            Begun::ReadTooEarly(there) => self.too_early(there).await,
            Begun::Held(_) => Err(Plan::unstored()),
            Begun::Fault => self.unstored().await,
        }
    }

    /// Reuses the current entry, or waits for a turn to run the handler. The response is not stored,
    /// because the arguments may have been read before an eviction. During the wait, another request
    /// may have stored an entry, so the address is looked up again.
    async fn too_early(&mut self, there: Option<Entry>) -> StoredOrPlan<S::Stored> {
        let there = there.filter(|_| !self.forces_a_run());
        if let Some((_, answer)) = self.already_there(there) {
            return Ok(answer);
        }
        self.sought.read_too_early(self.engine);
        let plan = match self.unstored().await {
            Err(plan) => plan,
            answered => return answered,
        };
        if self.forces_a_run() {
            return Err(plan);
        }
        let found = self.engine.client().lookup(self.at, false).await;
        self.judge(found).map_err(|_| plan)
    }

    /// Prepares the lead of a run that begins now. If the extractors of this request may have read
    /// data before the lease was claimed, only the followers that had joined before the claim are
    /// confirmed. A later check of the store can confirm more followers.
    fn prepared(&self, mut lead: Lead, joined: u64) -> Lead {
        if self.sought.read_since().is_some() {
            lead.confirm_only_joined(joined);
        }
        lead
    }

    fn forces_a_run(&self) -> bool {
        let directives = self.sought.directives();
        directives.is_some_and(RequestDirectives::force_a_run)
    }

    /// Returns whether the request must not run the handler.
    fn only_if_cached(&self) -> bool {
        let directives = self.sought.directives();
        directives.is_some_and(|directives| directives.only_if_cached)
    }

    /// Returns an entry that has been stored since the last lookup, if it can be reused.
    fn already_there(&self, entry: Option<Entry>) -> Option<(Entry, S::Stored)> {
        let entry = entry.filter(is_fresh)?;
        let (_, answer) = self.sought.reuse(&entry)?;
        Some((entry, answer))
    }

    fn answer_with(&self, entry: &Entry) -> StoredOrPlan<S::Stored> {
        let reused = self.sought.reuse(entry);
        reused.map_or(Err(Plan::unstored()), |(_, answer)| Ok(answer))
    }
}

fn is_fresh(entry: &Entry) -> bool {
    entry.freshness(clock::now()).is_fresh()
}

/// Returns the pause before the next lookup after a wait of `elapsed`. The pause grows with the wait,
/// between two limits, and is random, so that processes do not look up at the same moments.
fn pause(elapsed: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(100);
    let pause = (elapsed / 16).clamp(SHORTEST, LONGEST);
    pause.mul_f64(0.75 + fastrand::f64() / 2.0)
}
