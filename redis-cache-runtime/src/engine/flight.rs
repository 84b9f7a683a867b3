//! Single-flight: of the requests that miss the same entry, one leads: it runs the handler. The others
//! follow: they wait for its response.
//!
//! The invariant: if a request arrives after an eviction, it never gets a response that was made before
//! the eviction. A follower may share the response of a run that began after the follower joined. If
//! the run began earlier, the follower may share the response only if nothing was evicted in between.
//! This information is in the store. So the leader checks in the store that its lease is still held and
//! that its stamps are still current. One check confirms all followers that have joined before it.
//! Followers are numbered in the order in which they join, and the leader records the number of the
//! last confirmed follower.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::client::BEAT;
use super::lease::HeldLease;
use super::waits::{self, Run, Wait};
use crate::key::Address;
use crate::store::entry::Entry;

/// The time for which requests to an address do not follow each other after a response that could not
/// be shared.
const UNSHARED: Duration = Duration::from_secs(1);

/// The largest number of addresses in `Flights::unshared`.
const MAX_UNSHARED: usize = 1024;

/// The runs under way in this process, by their addresses.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    table: Mutex<HashMap<Address, Arc<Flight>>>,
    len: AtomicUsize,
    /// Addresses whose last response could not be shared. Until the time given, their requests do not
    /// follow each other.
    unshared: Mutex<HashMap<Address, Instant>>,
    /// Breaks the protocol on purpose, for a test that must detect the error.
    #[cfg(test)]
    pub(crate) join_by_key_only: std::sync::atomic::AtomicBool,
}

#[derive(Debug)]
struct Flight {
    at: Address,
    run: Run,
    /// The lead was taken by [`Flights::refresh`]: to refresh a stale response, or to choose which one
    /// of the followers of a failed run claims the lease. A request follows this run only if the
    /// request has no stale response to use.
    refreshes: bool,
    joined: AtomicU64,
    arrivals: Notify,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Debug)]
struct Progress {
    /// The number of the last confirmed follower, which may share the response: it had joined before the
    /// run began, or the store has shown that nothing was evicted between the beginning of the run and
    /// the time when the follower joined.
    confirmed: u64,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Running,
    /// The lease is lost or cannot be checked: only the confirmed followers still wait for the
    /// response.
    Superseded,
    Landed(Entry),
    /// The response was not stored, but the next one most likely can be.
    NotStored,
    /// The response cannot be shared, or there is none.
    Failed,
    /// The run was dropped before its end: another request can lead.
    Abandoned,
}

/// The result of a run for one follower.
#[derive(Debug)]
pub(crate) enum Landing {
    Stored(Entry),
    /// The follower may not use the response: it looks the address up again.
    LookUpAgain,
    /// The leader has gone before the end of the run: the follower looks the address up again.
    Abandoned,
    /// The run failed, its response cannot be shared, or the deadline has passed.
    Failed,
}

impl Progress {
    /// Returns the result for the follower with this number, if it is known yet.
    fn landing(&self, number: u64) -> Option<Landing> {
        let is_confirmed = number <= self.confirmed;
        match &self.phase {
            Phase::Running => None,
            Phase::Failed => Some(Landing::Failed),
            Phase::Superseded if is_confirmed => None,
            Phase::Landed(entry) if is_confirmed => Some(Landing::Stored(entry.clone())),
            Phase::Abandoned => Some(Landing::Abandoned),
            Phase::Superseded | Phase::Landed(_) | Phase::NotStored => Some(Landing::LookUpAgain),
        }
    }
}

/// The role of a request in the run that fills an address.
pub(crate) enum Role {
    Leader(Lead),
    Follower(Follower),
    /// The run waits for this request, so the request must not wait for the run.
    Cycle,
}

impl Flights {
    /// Returns whether no run is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// Returns whether an address is being filled or refreshed.
    pub(crate) fn has(&self, at: &Address) -> bool {
        self.table().contains_key(at)
    }

    /// Follows the run that fills an address, if there is one.
    pub(crate) fn join(&self, at: &Address) -> Option<Follower> {
        let table = self.table();
        let flight = table.get(at).filter(|flight| !flight.refreshes)?;
        Follower::new(flight)
    }

    /// Leads the run that fills an address, or follows it.
    pub(crate) fn lead_or_join(self: &Arc<Self>, at: &Address) -> Role {
        match self.enter(at, false) {
            Ok(lead) => Role::Leader(lead),
            Err(flight) => Follower::new(&flight).map_or(Role::Cycle, Role::Follower),
        }
    }

    /// Leads the run that refreshes an address, unless another request fills or refreshes it already.
    pub(crate) fn refresh(self: &Arc<Self>, at: &Address) -> Option<Lead> {
        self.enter(at, true).ok()
    }

    fn enter(self: &Arc<Self>, at: &Address, refreshes: bool) -> Result<Lead, Arc<Flight>> {
        let mut table = self.table();
        let entry = match table.entry(at.clone()) {
            hash_map::Entry::Occupied(flight) => return Err(Arc::clone(flight.get())),
            hash_map::Entry::Vacant(entry) => entry,
        };
        let progress = Progress {
            confirmed: 0,
            phase: Phase::Running,
        };
        let run = Run::new();
        let flight = Arc::new(Flight {
            at: at.clone(),
            run,
            refreshes,
            joined: AtomicU64::new(0),
            arrivals: Notify::new(),
            progress: watch::Sender::new(progress),
        });
        entry.insert(Arc::clone(&flight));
        self.len.store(table.len(), Ordering::Release);
        Ok(Lead {
            flights: Arc::clone(self),
            flight,
            ending: Phase::Abandoned,
            confirmed_at_start: None,
            _waited_for: waits::wait_for(run),
        })
    }

    /// Returns whether an address had a response a short time ago that could not be shared.
    pub(crate) fn is_unshared(&self, at: &Address) -> bool {
        let unshared = self.unshared();
        unshared.get(at).is_some_and(|end| Instant::now() < *end)
    }

    fn remember_unshared(&self, at: &Address) {
        let (now, mut unshared) = (Instant::now(), self.unshared());
        if unshared.len() >= MAX_UNSHARED {
            unshared.retain(|_, end| now < *end);
        }
        if unshared.len() < MAX_UNSHARED {
            unshared.insert(at.clone(), now + UNSHARED);
        }
    }

    fn leave(&self, flight: &Arc<Flight>) {
        let mut table = self.table();
        let is_there = table
            .get(&flight.at)
            .is_some_and(|it| Arc::ptr_eq(it, flight));
        if is_there {
            table.remove(&flight.at);
            self.len.store(table.len(), Ordering::Release);
        }
    }

    /// Lets requests that arrive from now on start a new run. A run that has already ended keeps its
    /// result.
    fn supersede(&self, flight: &Arc<Flight>) {
        self.leave(flight);
        flight.progress.send_if_modified(|progress| {
            let is_running = matches!(progress.phase, Phase::Running);
            if is_running {
                progress.phase = Phase::Superseded;
            }
            is_running
        });
    }

    /// Summarizes the state that later steps of the model checker depend on.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> Vec<String> {
        let table = self.table();
        let flight = |flight: &Arc<Flight>| {
            let joined = flight.joined.load(Ordering::SeqCst);
            format!("{joined} {:?}", *flight.progress.borrow())
        };
        table.values().map(flight).collect()
    }

    fn unshared(&self) -> MutexGuard<'_, HashMap<Address, Instant>> {
        self.unshared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the table, even if the lock is poisoned: every critical section leaves it consistent.
    fn table(&self) -> MutexGuard<'_, HashMap<Address, Arc<Flight>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits for the run of another request.
pub(crate) struct Follower {
    progress: watch::Receiver<Progress>,
    number: u64,
    _wait: Wait,
}

impl Follower {
    /// Joins a run; `None`: the run waits for this request.
    fn new(flight: &Arc<Flight>) -> Option<Self> {
        let wait = waits::wait_for(flight.run)?;
        // Subscribes before the follower is counted, so that it misses no progress.
        let progress = flight.progress.subscribe();
        let number = flight.joined.fetch_add(1, Ordering::SeqCst) + 1;
        flight.arrivals.notify_one();
        Some(Self {
            progress,
            number,
            _wait: wait,
        })
    }

    /// Waits for the end of the run, until a deadline.
    pub(crate) async fn landing(mut self, deadline: Instant) -> Landing {
        loop {
            if let Some(landing) = self.progress.borrow_and_update().landing(self.number) {
                return landing;
            }
            if !matches!(
                timeout_at(deadline, self.progress.changed()).await,
                Ok(Ok(()))
            ) {
                return Landing::Failed;
            }
        }
    }
}

/// The request whose run fills an address. When the lead is dropped, its followers stop waiting.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    /// The phase of the run when the lead is dropped before the run has landed.
    ending: Phase,
    /// The last follower that is confirmed when the run begins; `None`: the last follower that has
    /// joined by then.
    confirmed_at_start: Option<u64>,
    /// Records that the surrounding run, if there is one, waits for this run.
    _waited_for: Option<Wait>,
}

impl Lead {
    /// Returns the number of followers that have joined. A lookup that starts now is valid for all of
    /// them.
    pub(crate) fn joined(&self) -> u64 {
        self.flight.joined()
    }

    /// Lets the beginning of the run confirm only the first `joined` followers.
    pub(crate) fn confirm_only_joined(&mut self, joined: u64) {
        self.confirmed_at_start = Some(joined);
    }

    /// Runs the handler. First confirms the followers that have joined so far, because the run begins
    /// after they joined. If [`confirm_only_joined`](Self::confirm_only_joined) was called, confirms
    /// only the followers that it allows. During the run, a task renews the lease and confirms new
    /// followers, even while the handler blocks its thread.
    pub(super) async fn run<T>(&self, held: &HeldLease, handler: impl Future<Output = T>) -> T {
        self.flight
            .confirm(self.confirmed_at_start.unwrap_or_else(|| self.joined()));
        #[cfg(test)]
        if self.flights.join_by_key_only.load(Ordering::Relaxed) {
            self.flight.confirm(u64::MAX);
        }
        let (flights, flight) = (Arc::clone(&self.flights), Arc::clone(&self.flight));
        let keep_lease = keep_lease(flights, flight, held.clone());
        let _lease_is_kept = held.client.background().spawn_until_dropped(keep_lease);
        // Lets the task start: it may be queued behind this one, on the thread that the handler
        // blocks.
        tokio::task::yield_now().await;
        self.flight.run.scope(handler).await
    }

    /// Shares the response of the run with the followers. Requests that arrive from now on find the
    /// response in the store, or wait until its lease ends.
    pub(super) async fn land(self, held: &HeldLease, entry: Entry) {
        self.flight.confirm_joined(held).await;
        self.flights.leave(&self.flight);
        self.flight.close(Phase::Landed(entry));
    }

    /// Shares an entry from the store with the followers that had joined when its lookup began.
    pub(crate) fn share_stored(self, joined: u64, entry: Entry) {
        self.flight.confirm(joined);
        self.flights.leave(&self.flight);
        self.flight.close(Phase::Landed(entry));
    }

    /// Lets the followers run the handler themselves, because the response cannot be shared. Most
    /// likely the next response cannot be shared either, so no request follows another one for a short
    /// time.
    pub(crate) fn fail_to_share(self) {
        self.flights.remember_unshared(&self.flight.at);
        self.fail();
    }

    /// Lets the followers run the handler themselves.
    pub(crate) fn fail(mut self) {
        self.ending = Phase::Failed;
    }

    /// Lets the followers look the address up again. Then one of them leads.
    pub(crate) fn look_up_again(mut self) {
        self.ending = Phase::NotStored;
    }
}

/// Renews the lease of a run and confirms its followers, until its response can no longer be stored.
/// Later requests start a new run.
async fn keep_lease(flights: Arc<Flights>, flight: Arc<Flight>, held: HeldLease) {
    let end = held.end();
    let mut beat = Instant::now() + BEAT;
    while Instant::now() < end {
        // The time is checked after every wait, because new followers can end every wait early.
        let _ = timeout_at(beat.min(end), flight.arrivals.notified()).await;
        if Instant::now() >= beat {
            beat = Instant::now() + BEAT;
            if !held.renew().await {
                break;
            }
        }
        match flight.confirm_joined(&held).await {
            Some(true) => {}
            Some(false) => break,
            // The followers that are not confirmed look the address up again, and the fill may continue.
            None => flights.supersede(&flight),
        }
    }
    flights.supersede(&flight);
    held.release().await;
}

impl Flight {
    fn joined(&self) -> u64 {
        self.joined.load(Ordering::SeqCst)
    }

    fn confirmed(&self) -> u64 {
        self.progress.borrow().confirmed
    }

    /// Confirms the followers up to a number. No follower is woken: only the next phase has a result for
    /// them.
    fn confirm(&self, number: u64) {
        self.progress.send_if_modified(|progress| {
            progress.confirmed = number.max(progress.confirmed);
            false
        });
    }

    /// Checks in the store that nothing was evicted, and confirms the followers that had joined before
    /// the check. `Some(false)`: something was evicted, or the lease was lost. `None`: the store has a
    /// fault, or a group was evicted that the response may not name.
    async fn confirm_joined(&self, held: &HeldLease) -> Option<bool> {
        let joined = self.joined();
        if joined <= self.confirmed() {
            return Some(true);
        }
        let is_current = held.is_current().await;
        if is_current == Some(true) {
            self.confirm(joined);
        }
        is_current
    }

    fn close(&self, phase: Phase) {
        self.progress.send_modify(|progress| progress.phase = phase);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.leave(&self.flight);
        let has_landed = matches!(self.flight.progress.borrow().phase, Phase::Landed(_));
        if has_landed {
            return;
        }
        // After a panic, the followers do not lead one after another: the handler would most likely
        // panic for each leader in turn.
        self.flight.close(if std::thread::panicking() {
            Phase::Failed
        } else {
            self.ending.clone()
        });
    }
}
