//! Single-flight: when several requests miss the same response or value, one runs the handler and the
//! others wait for its entry.
//!
//! A follower may share a run that began after the follower joined. If the run began before, nothing
//! may have been evicted in between, which only the store can tell. So the leader asks the store, on
//! behalf of the followers that have joined until then, if its lease is still held and its stamps are
//! still current. Followers are numbered, and the leader vouches for them up to a number. A response
//! from before an eviction can therefore never reach a request that came after it.

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

/// The time for which nobody waits for the run of an address whose last response could not be shared.
const UNSHARED: Duration = Duration::from_secs(1);

/// The most addresses of that kind that are remembered.
const MAX_UNSHARED: usize = 1024;

/// The runs that are under way in this process.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    table: Mutex<HashMap<Address, Arc<Flight>>>,
    len: AtomicUsize,
    /// Addresses whose last response could not be shared, each with the end of that assumption.
    unshared: Mutex<HashMap<Address, Instant>>,
    /// Breaks the protocol in a test, which must notice.
    #[cfg(test)]
    pub(crate) join_by_key_only: std::sync::atomic::AtomicBool,
}

#[derive(Debug)]
struct Flight {
    at: Address,
    run: Run,
    /// The run is in the background, while the stale response is served: requests wait for it only if
    /// there is no stale response.
    refreshes: bool,
    joined: AtomicU64,
    arrivals: Notify,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Debug)]
struct Progress {
    /// The followers up to this number joined while nothing was evicted since the start of the run.
    vouched: u64,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Flying,
    /// Something was evicted: only followers that were vouched for may still wait.
    Superseded,
    Landed(Entry),
    /// The response cannot be shared, or there is none.
    Failed,
    /// The run was dropped half-way: another request can lead.
    Abandoned,
}

/// The end of the run that a follower waits for.
#[derive(Debug)]
pub(crate) enum Landing {
    Stored(Entry),
    /// The run does not serve this request: look the entry up again.
    Again,
    /// The run failed, or its response cannot be shared.
    Failed,
}

impl Progress {
    /// Returns the end of the run for the follower of a number, if it is known yet.
    fn landing(&self, number: u64) -> Option<Landing> {
        match &self.phase {
            Phase::Failed => Some(Landing::Failed),
            Phase::Abandoned => Some(Landing::Again),
            Phase::Flying => None,
            _ if number > self.vouched => Some(Landing::Again),
            Phase::Superseded => None,
            Phase::Landed(entry) => Some(Landing::Stored(entry.clone())),
        }
    }
}

/// The role of a request in the run that fills an address.
pub(crate) enum Role {
    Leader(Lead),
    Follower(Follower),
    /// Following would close a circle: the run waits for this request.
    Circle,
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

    /// Joins the run that fills an address, if there is one.
    pub(crate) fn join(&self, at: &Address) -> Option<Follower> {
        let table = self.table();
        let flight = table.get(at).filter(|flight| !flight.refreshes)?;
        Follower::new(flight)
    }

    /// Leads the run that fills an address, or joins it.
    pub(crate) fn lead_or_join(self: &Arc<Self>, at: &Address) -> Role {
        match self.enter(at, false) {
            Ok(lead) => Role::Leader(lead),
            Err(flight) => Follower::new(&flight).map_or(Role::Circle, Role::Follower),
        }
    }

    /// Leads a run that refreshes an address, unless a run for it is under way.
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
            vouched: 0,
            phase: Phase::Flying,
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
            has_failed: false,
            good_for: None,
            _waited_for: waits::wait_for(run),
        })
    }

    /// Returns whether the last response of an address, a short time ago, could not be shared.
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

    /// Lets requests that come now start a new run. A run that has ended keeps its result.
    fn supersede(&self, flight: &Arc<Flight>) {
        self.leave(flight);
        flight.progress.send_if_modified(|progress| {
            let is_flying = matches!(progress.phase, Phase::Flying);
            if is_flying {
                progress.phase = Phase::Superseded;
            }
            is_flying
        });
    }

    /// Summarizes the state that later steps depend on.
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

    /// Locks the table. A panic in a critical section leaves it consistent.
    fn table(&self) -> MutexGuard<'_, HashMap<Address, Arc<Flight>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits for the run of another.
pub(crate) struct Follower {
    progress: watch::Receiver<Progress>,
    number: u64,
    _wait: Wait,
}

impl Follower {
    /// Joins a run; `None`: the run waits for this request.
    fn new(flight: &Arc<Flight>) -> Option<Self> {
        let wait = waits::wait_for(flight.run)?;
        // Subscribes before it is counted, so that it misses no message.
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

/// The request whose run fills an address. Dropped, it releases its followers.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    has_failed: bool,
    /// The number of followers that the run may serve when it begins; `None`: all that have joined
    /// then.
    good_for: Option<u64>,
    /// Records that the run around this one waits for it.
    _waited_for: Option<Wait>,
}

impl Lead {
    /// Returns the number of followers that have joined. A lookup that starts now is valid for all of
    /// them.
    pub(crate) fn joined(&self) -> u64 {
        self.flight.joined()
    }

    /// Limits the run to the followers that had joined by then.
    pub(crate) fn is_good_for(&mut self, joined: u64) {
        self.good_for = Some(joined);
    }

    /// Runs the handler, which begins after all followers so far have joined. Meanwhile a task holds
    /// the lease and vouches for new followers, even while the handler blocks its thread.
    pub(super) async fn run<T>(&self, held: &HeldLease, handler: impl Future<Output = T>) -> T {
        self.flight
            .vouch(self.good_for.unwrap_or_else(|| self.joined()));
        #[cfg(test)]
        if self.flights.join_by_key_only.load(Ordering::Relaxed) {
            self.flight.vouch(u64::MAX);
        }
        let (flights, flight) = (Arc::clone(&self.flights), Arc::clone(&self.flight));
        let attend = attend(flights, flight, held.clone());
        let _attended = held.client.background().spawn_until_dropped(attend);
        // Lets the task begin: it may be queued behind this one, on the thread that the handler
        // blocks.
        tokio::task::yield_now().await;
        self.flight.run.scope(handler).await
    }

    /// Shares the entry of the run. Later requests find it in the store, or wait for it there.
    pub(super) async fn land(self, held: &HeldLease, entry: Entry) {
        self.flight.vouch_for_all(held).await;
        self.flights.leave(&self.flight);
        self.flight.close(Phase::Landed(entry));
    }

    /// Shares an entry that a lookup found, with the followers that had joined when the lookup began.
    pub(crate) fn found(self, joined: u64, entry: Entry) {
        self.flight.vouch(joined);
        self.flights.leave(&self.flight);
        self.flight.close(Phase::Landed(entry));
    }

    /// Lets the followers run the handler themselves. For a short time nobody follows, because the next
    /// response most likely cannot be shared either.
    pub(crate) fn fail_to_share(self) {
        self.flights.remember_unshared(&self.flight.at);
        self.fail();
    }

    /// Lets the followers run the handler themselves.
    pub(crate) fn fail(mut self) {
        self.has_failed = true;
    }
}

/// Watches a run until its response can no longer be stored. Requests that come then start a new run.
async fn attend(flights: Arc<Flights>, flight: Arc<Flight>, held: HeldLease) {
    let end = held.end();
    let mut beat = Instant::now() + BEAT;
    while Instant::now() < end {
        // The time decides, not the event that ended the wait: arrivals may never cease.
        let _ = timeout_at(beat.min(end), flight.arrivals.notified()).await;
        if Instant::now() >= beat {
            beat = Instant::now() + BEAT;
            if !held.renew().await {
                break;
            }
        }
        match flight.vouch_for_all(&held).await {
            Some(true) => {}
            Some(false) => break,
            // The store cannot tell. The followers run the handler, and the fill may go on.
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

    fn vouched(&self) -> u64 {
        self.progress.borrow().vouched
    }

    /// Wakes nobody: without a response, nothing changes for the followers.
    fn vouch(&self, number: u64) {
        self.progress.send_if_modified(|progress| {
            progress.vouched = number.max(progress.vouched);
            false
        });
    }

    /// Asks the store whether nothing was evicted, on behalf of the followers that have joined until
    /// now; `None` when the store cannot tell.
    async fn vouch_for_all(&self, held: &HeldLease) -> Option<bool> {
        let joined = self.joined();
        if joined <= self.vouched() {
            return Some(true);
        }
        let is_current = held.is_current().await;
        if is_current == Some(true) {
            self.vouch(joined);
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
        // If a handler panics, it would panic for the next leader too, and the requests would take
        // turns.
        self.flight
            .close(if self.has_failed || std::thread::panicking() {
                Phase::Failed
            } else {
                Phase::Abandoned
            });
    }
}
