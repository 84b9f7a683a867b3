//! Searches for a stored response or value. A search looks the address up in the store. If another
//! request of this process already fills the address, the search waits for that run. While another
//! process fills it, the search repeats the lookup.
//!
//! The result is an entry to reuse, or a plan for running the handler.

mod miss;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::fill::{Begun, Fill};
use super::flight::Follower;
use super::plan::Plan;
use super::seen_nonces::Tick;
use super::{Engine, clock};
use crate::http::cache_status::{Forward, Outcome};
use crate::http::directives::RequestDirectives;
use crate::http::freshness::{Freshness, Reuse};
use crate::key::Address;
use crate::observe::fault::Fault;
use crate::observe::{Operation, Span};
use crate::store::entry::Entry;
use crate::store::{Claim, Found};

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
