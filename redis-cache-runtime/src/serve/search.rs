//! Looks for what is sought, a response or a value: in the store, in the run of another of this
//! process, and in the store again while another process fills it.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::fill::{Begun, Fill};
use super::flight::{Follower, Landing, Lead, Role};
use super::outcome::{Forward, Outcome};
use super::reuse::freshness;
use super::turns::{Queued, Turn};
use super::waits::Run;
use crate::cache::Cache;
use crate::entry::Entry;
use crate::fault::Fault;
use crate::http::directives::RequestDirectives;
use crate::http::freshness::{Freshness, Reuse};
use crate::key::Address;
use crate::observe::{Operation, Span};
use crate::store::{Claim, Found};
use crate::witnessed::Moment;

/// How often it is looked again when what was waited for was not for this search.
const LOOKS: usize = 3;

/// The longest wait of a run, which others may wait for, for another process: a circle of waiting that leads
/// through several processes ends with it.
const NESTED_WAIT: Duration = Duration::from_secs(1);

/// What a search is for.
pub(super) trait Sought {
    /// What is made of an entry.
    type Answer;

    /// The answer that an entry is, if it may be reused now.
    fn reuse(&self, entry: &Entry) -> Option<(Reuse, Self::Answer)>;

    /// How long what is filled is kept; `None`: for ever.
    fn kept_for(&self, cache: &Cache) -> Option<Duration>;

    /// Whether an entry that may not be reused for this is of use to others.
    fn is_of_use_to_others(&self, _: &Entry) -> bool {
        false
    }

    /// The moment since which something of a run may have been read before it began; `None`: nothing was.
    fn read_since(&self) -> Option<Moment> {
        None
    }

    /// Notes that a run is not stored, because something of it may have been read before an eviction.
    fn read_too_early(&self, _: &Cache) {}

    /// Who it is for, as metrics and spans call it.
    fn handler(&self) -> &'static str;

    /// How fresh an answer is, if it tells.
    fn freshness(_: &Self::Answer) -> Option<Freshness> {
        None
    }

    /// What the client asks of the cache.
    fn directives(&self) -> Option<&RequestDirectives> {
        None
    }

    /// The answer when the run that was waited for failed, if nothing else is to be run.
    async fn on_failure(&self, _: &Cache, _: &Address) -> Option<Self::Answer> {
        None
    }
}

/// Small: it is part of every future on the way to a hit.
pub(super) struct Search<'a, S> {
    cache: &'a Cache,
    at: &'a Address,
    sought: &'a S,
    /// Why there is no answer in the store, as far as it is known.
    pub(super) forward: Forward,
    /// The run of another is the answer.
    pub(super) collapsed: bool,
    /// The fault of the store, if it has one.
    fault: Option<&'static str>,
}

/// What becomes of what a run makes, when there is nothing to reuse.
pub(super) enum Plan<A> {
    /// The request rules out the cache.
    Bypass,
    /// It is not stored.
    Unstored,
    /// It is not stored, because the store has a fault.
    InTurn(Box<Turn>),
    /// It is stored, and others may wait for it.
    Fill(Fill, Option<Lead>),
    /// It is stored, and meanwhile the client gets the stale answer.
    Refresh(Fill, Lead, Box<A>),
}

/// An answer, or what becomes of what a run makes.
type Searched<A> = Result<A, Plan<A>>;

/// Why what was found in the store is not the answer.
enum NoAnswer<A> {
    /// It is stale, and may be given while it is refreshed.
    Stale(A),
    /// There is nothing to reuse.
    Nothing,
    /// Others are answered with it, and it does not do for this one.
    Refused,
    /// The store had a fault.
    Fault,
}

/// What waiting for the fill of another process led to.
enum Waited<A> {
    /// The entry, and how many had joined when it was looked for.
    Found(u64, Entry, A),
    /// The fill ended without one.
    Free,
    Enough,
}

impl<'a, S: Sought> Search<'a, S> {
    pub(super) fn new(cache: &'a Cache, at: &'a Address, sought: &'a S) -> Self {
        Self {
            cache,
            at,
            sought,
            forward: Forward::Miss,
            collapsed: false,
            fault: None,
        }
    }

    /// Finds an answer, or who has to make it. Watched only if somebody does.
    pub(super) async fn run(&mut self) -> Searched<S::Answer> {
        if let Some(span) = self.cache.observer().span(Operation::Get) {
            return Box::pin(self.find_within(span)).await;
        }
        self.find().await
    }

    async fn find_within(&mut self, span: Span) -> Searched<S::Answer> {
        span.about(self.sought.handler(), self.at);
        let found = span.around(self.find()).await;
        let answer = match &found {
            Ok(answer) => Some(answer),
            Err(Plan::Refresh(_, _, stale)) => Some(&**stale),
            Err(Plan::Bypass | Plan::Unstored | Plan::InTurn(_) | Plan::Fill(..)) => None,
        };
        if let Some(answer) = answer {
            let freshness = S::freshness(answer);
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

    /// Looks in the store, unless there is a run to wait for. Whatever else comes of it is boxed, so
    /// that a hit does not carry it along.
    async fn find(&mut self) -> Searched<S::Answer> {
        if let Some(follower) = self.join() {
            return Box::pin(self.fill_or_follow(Some(follower))).await;
        }
        let found = self.cache.look(self.at, false).await;
        match self.judge(found) {
            Ok(answer) => Ok(answer),
            Err(reason) => Box::pin(self.go_on(reason)).await,
        }
    }

    /// Goes on after the first look has given no answer.
    async fn go_on(&mut self, reason: NoAnswer<S::Answer>) -> Searched<S::Answer> {
        match reason {
            NoAnswer::Stale(answer) => self.refresh(answer).await,
            NoAnswer::Nothing | NoAnswer::Refused if self.only_if_cached() => Err(Plan::Unstored),
            NoAnswer::Nothing => self.fill_or_follow(None).await,
            NoAnswer::Refused => self.alone().await,
            // It may have been late because so many ask for the same.
            NoAnswer::Fault => match self.join() {
                None => self.unstored().await,
                follower => {
                    self.forward = Forward::Miss;
                    self.fill_or_follow(follower).await
                }
            },
        }
    }

    /// Leads, or waits for who does.
    async fn fill_or_follow(&mut self, mut follower: Option<Follower>) -> Searched<S::Answer> {
        if !self.may_wait() || self.cache.flights().is_unshared(self.at) {
            return self.alone().await;
        }
        let deadline = Instant::now() + self.cache.lease_ttl();
        for _ in 0..LOOKS {
            let follower = match follower.take() {
                Some(follower) => follower,
                None => match self.cache.flights().lead_or_join(self.at) {
                    Role::Leader(lead) => return self.lead(lead, deadline).await,
                    Role::Follower(follower) => follower,
                    Role::Circle => break,
                },
            };
            match follower.landing(deadline).await {
                Landing::Stored(entry) => {
                    self.collapsed = true;
                    return self.answer_with(&entry);
                }
                Landing::Failed => return self.without_leader().await,
                Landing::Again => {}
            }
            let found = self.cache.look(self.at, false).await;
            match self.judge(found) {
                Ok(answer) => return Ok(answer),
                Err(NoAnswer::Stale(answer)) => return self.refresh(answer).await,
                Err(NoAnswer::Refused) => return self.alone().await,
                Err(NoAnswer::Nothing) => {}
                Err(NoAnswer::Fault) => return self.unstored().await,
            }
        }
        match self.alone().await {
            Err(Plan::Unstored) => self.unstored().await,
            searched => searched,
        }
    }

    /// Waits for its turn to run the handler, or for who has it: what is made is not stored.
    async fn unstored(&mut self) -> Searched<S::Answer> {
        // Without Tokio nobody waits.
        if self.only_if_cached() || Handle::try_current().is_err() {
            return Err(Plan::Unstored);
        }
        let deadline = Instant::now() + self.cache.lease_ttl();
        let turns = self.cache.turns();
        if self.sought.read_since().is_none() && !self.forces_a_run() {
            match turns.share(self.at, deadline).await {
                Queued::Turn(turn) => return Err(Plan::InTurn(Box::new(turn))),
                Queued::Alone => return Err(Plan::Unstored),
                Queued::Answered(entry) => {
                    if let Some((_, answer)) = self.sought.reuse(&entry) {
                        self.collapsed = true;
                        return Ok(answer);
                    }
                }
            }
        }
        match turns.alone(self.at, deadline).await {
            Some(turn) => Err(Plan::InTurn(Box::new(turn))),
            None => Err(Plan::Unstored),
        }
    }

    /// Whether the run of another may answer it, and it waits for it.
    fn may_wait(&self) -> bool {
        !self.forces_a_run()
            && !self.only_if_cached()
            // Without Tokio nobody waits.
            && Handle::try_current().is_ok()
    }

    /// Joins the run that fills the address, if there is one.
    fn join(&self) -> Option<Follower> {
        let flights = self.cache.flights();
        if flights.is_empty() || !self.may_wait() || self.cache.is_evicted(self.at) {
            return None;
        }
        flights.join(self.at)
    }

    /// Judges what was found in the store.
    fn judge(&mut self, found: Result<Found, Fault>) -> Result<S::Answer, NoAnswer<S::Answer>> {
        let entry = match found {
            Ok(found) => self.current(found),
            Err(fault) => {
                // Without the store it is run as if there were no cache.
                self.forward = Forward::Bypass;
                self.fault = Some(fault.name());
                return Err(NoAnswer::Fault);
            }
        };
        let Some(entry) = entry else {
            self.forward = match self.at.variant {
                Some(_) => Forward::Miss,
                None => Forward::UriMiss,
            };
            return Err(NoAnswer::Nothing);
        };
        match self.sought.reuse(&entry) {
            Some((Reuse::WhileRevalidating, answer)) => {
                self.forward = Forward::Stale;
                Err(NoAnswer::Stale(answer))
            }
            Some((_, answer)) => Ok(answer),
            None => {
                self.forward = if freshness(&entry).is_fresh() {
                    Forward::Request
                } else {
                    Forward::Stale
                };
                if self.sought.is_of_use_to_others(&entry) {
                    Err(NoAnswer::Refused)
                } else {
                    Err(NoAnswer::Nothing)
                }
            }
        }
    }

    /// The entry that was found, if it is current. Where another process has stored it for another
    /// mount of the handler, their entries have to be told apart from now on.
    fn current(&self, found: Found) -> Option<Entry> {
        match found.into_current() {
            Ok(entry) => entry,
            Err(of_another_mount) => {
                let mounted = self.at.mounted.filter(|mounted| mounted.is_plain());
                if let Some(mounted) = mounted.filter(|_| of_another_mount) {
                    mounted.spread();
                }
                None
            }
        }
    }

    /// Becomes the one that refreshes a stale answer, if nobody does yet.
    async fn refresh(&self, stale: S::Answer) -> Searched<S::Answer> {
        if self.only_if_cached() || Handle::try_current().is_err() {
            return Ok(stale);
        }
        let Some(lead) = self.cache.flights().refresh(self.at) else {
            return Ok(stale);
        };
        match self.claim(Claim::IfFree).await {
            Begun::Fill(fill, there) => match self.already_there(there) {
                None => return Err(Plan::Refresh(fill, lead, Box::new(stale))),
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
        let kept_for = self.sought.kept_for(self.cache);
        let (cache, at) = (self.cache.clone(), self.at.clone());
        let (handler, read_since) = (self.sought.handler(), self.sought.read_since());
        Fill::begin(cache, at, handler, claim, kept_for, read_since).await
    }

    /// Takes the lease, or waits for the process that has it.
    async fn lead(&mut self, lead: Lead, deadline: Instant) -> Searched<S::Answer> {
        let patience = if Run::is_within_one() {
            deadline.min(Instant::now() + NESTED_WAIT)
        } else {
            deadline
        };
        for _ in 0..LOOKS {
            let joined = lead.joined();
            match self.claim(Claim::IfFree).await {
                Begun::Fill(fill, there) => match self.already_there(there) {
                    None => return Err(Plan::Fill(fill, Some(self.led(lead, joined)))),
                    Some((entry, answer)) => {
                        lead.found(joined, entry);
                        fill.abandon().await;
                        return Ok(answer);
                    }
                },
                Begun::Held(holder) if holder.is_awaited() => {
                    match self.wait_for_another(&lead, patience).await {
                        Waited::Found(joined, entry, answer) => {
                            self.collapsed = true;
                            lead.found(joined, entry);
                            return Ok(answer);
                        }
                        Waited::Free => {}
                        // Another may wait for longer, and those who do not share a run.
                        Waited::Enough => {
                            drop(lead);
                            return self.unstored().await;
                        }
                    }
                }
                Begun::ReadTooEarly(there) => {
                    // Who follows may have read later.
                    drop(lead);
                    return self.too_early(there).await;
                }
                Begun::Held(_) => break,
                // Who follows finds out the same.
                Begun::Fault => {
                    drop(lead);
                    return self.unstored().await;
                }
            }
        }
        lead.fail();
        Err(Plan::Unstored)
    }

    /// Looks again and again, the less often the longer it takes, until another process has filled
    /// the address, has given up, or takes too long.
    async fn wait_for_another(&self, lead: &Lead, deadline: Instant) -> Waited<S::Answer> {
        let begun = Instant::now();
        loop {
            sleep(pause(begun.elapsed())).await;
            let joined = lead.joined();
            let Ok(found) = self.cache.look(self.at, true).await else {
                return Waited::Enough;
            };
            let holder = found.holder;
            if let Some((entry, answer)) = self.already_there(found.into_entry()) {
                return Waited::Found(joined, entry, answer);
            }
            match holder {
                None => return Waited::Free,
                Some(holder) if holder.is_awaited() && Instant::now() < deadline => {}
                Some(_) => return Waited::Enough,
            }
        }
    }

    /// Runs it itself, because the run that was waited for did not help.
    async fn without_leader(&mut self) -> Searched<S::Answer> {
        if let Some(answer) = self.sought.on_failure(self.cache, self.at).await {
            return Ok(answer);
        }
        // Of all who waited, one tries to store what it makes.
        let first = self.cache.flights().refresh(self.at);
        if first.is_none() {
            return Err(Plan::Unstored);
        }
        let claimed = self.claim(Claim::Alone).await;
        drop(first);
        self.alone_with(claimed).await
    }

    /// Waits for nobody, and nobody waits for it. What is made is stored if nobody else stores.
    async fn alone(&mut self) -> Searched<S::Answer> {
        let claimed = self.claim(Claim::Alone).await;
        self.alone_with(claimed).await
    }

    async fn alone_with(&mut self, claimed: Begun) -> Searched<S::Answer> {
        match claimed {
            Begun::Fill(fill, there) => {
                let there = there.filter(|_| !self.forces_a_run());
                match self.already_there(there) {
                    None => Err(Plan::Fill(fill, None)),
                    Some((_, answer)) => {
                        fill.abandon().await;
                        Ok(answer)
                    }
                }
            }
            Begun::ReadTooEarly(there) => self.too_early(there).await,
            Begun::Held(_) => Err(Plan::Unstored),
            Begun::Fault => self.unstored().await,
        }
    }

    /// Answers with the entry that is there, or waits for its turn to run the handler, whose response is not
    /// stored because its arguments may have been read before an eviction. Meanwhile another request may
    /// have stored one.
    async fn too_early(&mut self, there: Option<Entry>) -> Searched<S::Answer> {
        let there = there.filter(|_| !self.forces_a_run());
        if let Some((_, answer)) = self.already_there(there) {
            return Ok(answer);
        }
        self.sought.read_too_early(self.cache);
        let plan = match self.unstored().await {
            Err(plan) => plan,
            answered => return answered,
        };
        if self.forces_a_run() {
            return Err(plan);
        }
        let found = self.cache.look(self.at, false).await;
        self.judge(found).map_err(|_| plan)
    }

    /// The lead of a run that begins now. If its arguments were read before, it is good for nobody who has
    /// joined since its lease was asked for, unless the store says so later.
    fn led(&self, mut lead: Lead, joined: u64) -> Lead {
        if self.sought.read_since().is_some() {
            lead.is_good_for(joined);
        }
        lead
    }

    fn forces_a_run(&self) -> bool {
        let directives = self.sought.directives();
        directives.is_some_and(RequestDirectives::force_a_run)
    }

    /// Whether nothing is run, whatever there is.
    fn only_if_cached(&self) -> bool {
        let directives = self.sought.directives();
        directives.is_some_and(|directives| directives.only_if_cached)
    }

    /// An entry that was put there since the store was looked at, if it is an answer.
    fn already_there(&self, entry: Option<Entry>) -> Option<(Entry, S::Answer)> {
        let entry = entry.filter(|entry| freshness(entry).is_fresh())?;
        let (_, answer) = self.sought.reuse(&entry)?;
        Some((entry, answer))
    }

    fn answer_with(&self, entry: &Entry) -> Searched<S::Answer> {
        let reused = self.sought.reuse(entry);
        reused.map_or(Err(Plan::Unstored), |(_, answer)| Ok(answer))
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
