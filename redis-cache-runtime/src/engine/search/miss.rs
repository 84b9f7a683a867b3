//! The steps of a search that found no entry to reuse: it follows a run, leads one, or runs the handler
//! alone.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::{Search, Sought, StoredOrPlan, Unusable};
use crate::engine::fill::Begun;
use crate::engine::flight::{Follower, Landing, Lead, Role};
use crate::engine::plan::Plan;
use crate::engine::turns::ShareResult;
use crate::engine::waits::Run;
use crate::store::Claim;
use crate::store::entry::Entry;

/// The largest number of attempts to follow a run, to lead one, or to take its lease. After that, the
/// request no longer waits for a run that fills the address.
const MAX_ATTEMPTS: usize = 3;

/// The longest wait for another process if the search is part of a run itself. Runs in several
/// processes can wait for each other in a cycle, which no process can detect: this limit ends the
/// cycle.
const NESTED_WAIT: Duration = Duration::from_secs(1);

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

impl<S: Sought> Search<'_, S> {
    /// Leads the run that fills the address, or follows the request that leads it.
    pub(super) async fn fill_or_follow(
        &mut self,
        mut follower: Option<Follower>,
    ) -> StoredOrPlan<S::Stored> {
        if !self.may_wait() || self.engine.flights().is_unshared(self.at) {
            return self.alone().await;
        }
        let deadline = Instant::now() + self.engine.lease_ttl();
        let mut attempts = 0;
        while attempts < MAX_ATTEMPTS {
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
                Landing::LookUpAgain => attempts += 1,
                // Leaders may give up one after the other, as soon as they may serve a stale response.
                Landing::Abandoned if Instant::now() < deadline => {}
                Landing::Abandoned => attempts = MAX_ATTEMPTS,
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

    /// Repeats the lookup until the other process has stored an entry or released its lease, or until
    /// the deadline. A lookup is due when the lease changes or, if the store does not push changes, at
    /// growing intervals.
    async fn wait_for_another(&self, lead: &Lead, deadline: Instant) -> Waited<S::Stored> {
        let begun = Instant::now();
        let mut was_free = false;
        loop {
            if was_free {
                // All waiting processes learn at the same moment that the lease is free. The first one
                // that repeats its lookup takes the lease, and the others wait for its run.
                sleep(pause(Duration::ZERO)).await;
            } else {
                let client = self.engine.client();
                let pause = pause(begun.elapsed());
                client.await_lease_change(self.at, pause, deadline).await;
            }
            let joined = lead.joined();
            let Ok(found) = self.engine.client().lookup(self.at, true).await else {
                return Waited::GaveUp;
            };
            let holder = found.holder;
            if let Some((entry, answer)) = self.already_there(found.into_entry()) {
                return Waited::Stored(joined, entry, answer);
            }
            match holder {
                None if was_free => return Waited::NotStored,
                None => was_free = true,
                Some(holder) if holder.is_awaited() && Instant::now() < deadline => {
                    was_free = false;
                }
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
    pub(super) async fn alone(&mut self) -> StoredOrPlan<S::Stored> {
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

    /// Waits for a turn to run the handler, or for the response of a run that begins after this call.
    /// In both cases the response is not stored.
    pub(super) async fn unstored(&mut self) -> StoredOrPlan<S::Stored> {
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

    /// Prepares the lead of a run that begins now. If the extractors of this request may have read
    /// data before the lease was claimed, only the followers that had joined before the claim are
    /// confirmed. A later check of the store can confirm more followers.
    fn prepared(&self, mut lead: Lead, joined: u64) -> Lead {
        if self.sought.read_since().is_some() {
            lead.confirm_only_joined(joined);
        }
        lead
    }
}

/// Returns the pause before the next lookup after a wait of `elapsed`. The pause grows with the wait,
/// between two limits, and is random, so that processes do not look up at the same moments.
fn pause(elapsed: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(100);
    let pause = (elapsed / 16).clamp(SHORTEST, LONGEST);
    pause.mul_f64(0.75 + fastrand::f64() / 2.0)
}
