//! Looks for a response to reuse: in the store, in the run of another request of this process, and in
//! the store again while another process fills it.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::Outcome;
use super::fill::{Begun, Fill};
use super::flight::{Flights, Follower, Landing, Lead, Role};
use super::read::Plan;
use super::reuse::{freshness, is_of_use, reuse, reuse_on_error};
use crate::cache::Cache;
use crate::entry::Entry;
use crate::http::directives::RequestDirectives;
use crate::http::freshness::Reuse;
use crate::key::Address;
use crate::request::RequestHead;
use crate::route::Route;
use crate::store::Claim;

/// How often a request looks again when what it waited for was not for it.
const TURNS: usize = 3;

/// A request that looks for a response.
pub(super) struct Search {
    pub(super) cache: Cache,
    pub(super) route: &'static Route,
    pub(super) request: RequestHead,
    pub(super) at: Address,
}

/// A response, or what becomes of what the handler makes.
pub(super) type Found = Result<Response, Plan>;

/// What a request found in the store.
enum Looked {
    Answer(Response),
    Nothing,
    /// A response that others are answered with, and that does not do for this one.
    Refused,
}

/// What waiting for the fill of another process led to.
enum Waited {
    /// The entry, and how many had joined when it was looked for.
    Found(u64, Entry),
    /// The fill ended without one.
    Free,
    Enough,
}

impl Search {
    /// Looks in the store, unless there is a run to wait for. What comes after a miss is boxed, so
    /// that a hit does not carry it along.
    pub(super) async fn run(&self) -> Found {
        let mut follower = self.join();
        if follower.is_none() {
            match self.look().await {
                Ok(Looked::Answer(response)) => return Ok(response),
                Ok(Looked::Refused) => return Box::pin(self.alone()).await,
                Ok(Looked::Nothing) => {}
                // It may have been late because so many ask for the same.
                Err(plan) => match self.join() {
                    None => return Err(plan),
                    joined => follower = joined,
                },
            }
        }
        Box::pin(self.fill_or_follow(follower)).await
    }

    /// Leads, or waits for who does.
    async fn fill_or_follow(&self, mut follower: Option<Follower>) -> Found {
        if !self.may_wait() {
            return self.alone().await;
        }
        let deadline = Instant::now() + self.cache.lease_ttl();
        for _ in 0..TURNS {
            let follower = match follower.take() {
                Some(follower) => follower,
                None => match self.cache.flights().lead_or_join(&self.at) {
                    Role::Leader(lead) => return self.lead(lead, deadline).await,
                    Role::Follower(follower) => follower,
                },
            };
            match follower.landing(deadline).await {
                Landing::Stored(entry) => return self.answer_with(&entry),
                Landing::Failed => return self.without_leader().await,
                Landing::Again => {}
            }
            match self.look().await? {
                Looked::Answer(response) => return Ok(response),
                Looked::Refused => break,
                Looked::Nothing => {}
            }
        }
        self.alone().await
    }

    /// Whether the run of another may answer it, and it waits for it.
    fn may_wait(&self) -> bool {
        !self.forces_a_run()
            && !self.request.only_if_cached()
            && !Flights::is_nested()
            // Without Tokio nobody waits.
            && Handle::try_current().is_ok()
    }

    /// Joins the run that fills the address, if there is one.
    fn join(&self) -> Option<Follower> {
        let flights = self.cache.flights();
        if flights.is_empty() || !self.may_wait() || self.cache.is_evicted(&self.at) {
            return None;
        }
        flights.join(&self.at)
    }

    /// Looks in the store.
    async fn look(&self) -> Result<Looked, Plan> {
        let found = self.cache.lookup(&self.at).await;
        // Without the store the handler runs as if there were no cache.
        let outcome = found.as_ref().map_or(Outcome::Bypass, |_| Outcome::Miss);
        let mut is_refused = false;
        if let Ok(Some(entry)) = found {
            match reuse(&entry, &self.request, self.route) {
                Some((Reuse::WhileRevalidating, response)) => {
                    return Box::pin(self.refresh(response)).await.map(Looked::Answer);
                }
                Some((_, response)) => return Ok(Looked::Answer(response)),
                None => is_refused = is_of_use(&entry, self.route),
            }
        }
        if self.request.only_if_cached() {
            let response = StatusCode::GATEWAY_TIMEOUT.into_response();
            return Ok(Looked::Answer(outcome.label(response)));
        }
        match outcome {
            Outcome::Bypass => Err(Plan::Unstored(outcome)),
            _ if is_refused => Ok(Looked::Refused),
            _ => Ok(Looked::Nothing),
        }
    }

    /// Becomes the one that refreshes a stale response, if nobody does yet.
    async fn refresh(&self, stale: Response) -> Found {
        if self.request.only_if_cached() || Handle::try_current().is_err() {
            return Ok(stale);
        }
        let Some(lead) = self.cache.flights().refresh(&self.at) else {
            return Ok(stale);
        };
        if let Begun::Fill(fill, there) = self.claim(Claim::IfFree).await {
            if !there.is_some_and(|entry| freshness(&entry).is_fresh()) {
                return Err(Plan::Refresh(fill, lead, Box::new(stale)));
            }
            fill.abandon().await;
        }
        Ok(stale)
    }

    async fn claim(&self, claim: Claim) -> Begun {
        let (cache, at) = (self.cache.clone(), self.at.clone());
        Fill::begin(cache, self.route, at, claim).await
    }

    /// Takes the lease, or waits for the process that has it.
    async fn lead(&self, lead: Lead, deadline: Instant) -> Found {
        for _ in 0..TURNS {
            let joined = lead.joined();
            match self.claim(Claim::IfFree).await {
                Begun::Fill(fill, there) => match self.already_there(there) {
                    None => return Err(Plan::Fill(fill, Some(lead))),
                    Some((entry, response)) => {
                        lead.found(joined, entry);
                        fill.abandon().await;
                        return Ok(response);
                    }
                },
                Begun::Held(holder) if holder.is_awaited() => {
                    match self.wait_for_another(&lead, deadline).await {
                        Waited::Found(joined, entry) => {
                            lead.found(joined, entry.clone());
                            return self.answer_with(&entry);
                        }
                        Waited::Free => {}
                        Waited::Enough => break,
                    }
                }
                Begun::Held(_) | Begun::Fault => break,
            }
        }
        lead.fail();
        Err(Plan::Unstored(Outcome::Miss))
    }

    /// Looks again and again, the less often the longer it takes, until another process has filled
    /// the address, has given up, or takes too long.
    async fn wait_for_another(&self, lead: &Lead, deadline: Instant) -> Waited {
        let begun = Instant::now();
        loop {
            sleep(pause(begun.elapsed())).await;
            let joined = lead.joined();
            let Ok(found) = self.cache.look(&self.at, true).await else {
                return Waited::Enough;
            };
            let holder = found.holder;
            let entry = found.into_entry();
            if let Some((entry, _)) = self.already_there(entry) {
                return Waited::Found(joined, entry);
            }
            match holder {
                None => return Waited::Free,
                Some(holder) if holder.is_awaited() && Instant::now() < deadline => {}
                Some(_) => return Waited::Enough,
            }
        }
    }

    /// Runs the handler itself, because the run that it waited for did not help.
    async fn without_leader(&self) -> Found {
        if !self.route.windows().if_error.is_zero()
            && let Some(stale) =
                reuse_on_error(&self.cache, self.route, &self.request, &self.at).await
        {
            return Ok(stale);
        }
        // Of all who waited, one tries to store what it makes.
        match self.cache.flights().refresh(&self.at) {
            Some(_first) => self.alone().await,
            None => Err(Plan::Unstored(Outcome::Miss)),
        }
    }

    /// Waits for nobody, and nobody waits for it. What the handler makes is stored if nobody else
    /// stores.
    async fn alone(&self) -> Found {
        match self.claim(Claim::Alone).await {
            Begun::Fill(fill, there) => {
                let there = there.filter(|_| !self.forces_a_run());
                match self.already_there(there) {
                    None => Err(Plan::Fill(fill, None)),
                    Some((_, response)) => {
                        fill.abandon().await;
                        Ok(response)
                    }
                }
            }
            Begun::Held(_) | Begun::Fault => Err(Plan::Unstored(Outcome::Miss)),
        }
    }

    fn forces_a_run(&self) -> bool {
        let directives = self.request.directives();
        directives.is_some_and(RequestDirectives::force_a_run)
    }

    /// An entry that was put there since the request looked, if it answers it.
    fn already_there(&self, entry: Option<Entry>) -> Option<(Entry, Response)> {
        let entry = entry.filter(|entry| freshness(entry).is_fresh())?;
        let (_, response) = reuse(&entry, &self.request, self.route)?;
        Some((entry, response))
    }

    fn answer_with(&self, entry: &Entry) -> Found {
        let reused = reuse(entry, &self.request, self.route);
        reused.map_or(Err(Plan::Unstored(Outcome::Miss)), |(_, response)| {
            Ok(response)
        })
    }
}

/// How long to wait before looking again, after having waited for `elapsed`: it adds little to what
/// is waited for, and processes do not look in step.
fn pause(elapsed: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(100);
    let pause = (elapsed / 16).clamp(SHORTEST, LONGEST);
    pause.mul_f64(0.75 + fastrand::f64() / 2.0)
}
