//! Lookups that share commands. A lookup leaves at once if no other is on its way. If fewer batches are on
//! their way than there are connections, it leaves as soon as the requests that are ready have had time
//! to join it. Otherwise it waits, and others may join it. They leave together when the reply to another
//! batch arrives, when their own batch is full, or when the first of them is late.
//!
//! A command reads each name only once. A lookup uses only a command that was not yet sent when the
//! lookup arrived: a command on its way may have read the name before an eviction that the lookup must
//! see.

mod names;
#[cfg(test)]
mod tests;
mod ticket;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;
use tokio::time::Instant;

pub(crate) use self::names::{BatchNames, Place};
use self::ticket::ReplySlot;
pub(crate) use self::ticket::Ticket;
use crate::key::Name;

/// The largest number of lookups in a batch.
const MAX_LOOKUPS: usize = 64;

/// The number of bytes of names after which a batch is full.
const MAX_NAMES: usize = 64 * 1024;

/// The expected length of a reply at which a batch is full, in bytes. If the reply were longer, the
/// first lookup of the batch could be late because of the others.
const MAX_REPLY: usize = 256 * 1024;

/// The lookups that wait for a reply of one server. `R` is the reply to a batch.
pub(crate) struct SharedLookups<R> {
    /// If this many batches are on their way, further lookups wait.
    max_flights: usize,
    state: Mutex<State<R>>,
}

struct State<R> {
    /// A lookup is on its way alone. No other lookup waits for it.
    is_one_alone: bool,
    /// The number of other flights, including one that is boarding.
    flights: usize,
    /// Flights of an earlier epoch are not counted: they may never land.
    epoch: u64,
    /// A flight is boarding: when it leaves, it takes the lookups that are waiting.
    is_boarding: bool,
    waiting: Option<Batch<R>>,
    /// The deadline of the first lookup that waits since a flight last took the lookups that waited. If it
    /// passes, the tasks of the flights may never run, for example because nothing runs their runtime.
    first_deadline: Option<Instant>,
    /// The memory of an earlier batch, for the names of the next one.
    spare: BatchNames,
    /// The mean length of the reply to a lookup, in bytes.
    mean_reply: usize,
}

/// Lookups that leave together.
struct Batch<R> {
    names: BatchNames,
    lookups: usize,
    reply: Arc<ReplySlot<R>>,
}

/// A flight that a lookup has begun. Unless the lookup is alone, a task lets the flight leave and sends its
/// batch, so that the flight does not depend on any of the requests.
pub(crate) enum Departure<R> {
    /// No other lookup is on its way. The request sends the batch itself, because that is faster.
    Alone(Flight<R>),
    /// The batch is full.
    Full(Flight<R>),
    /// When the flight leaves, it takes the lookups that are waiting.
    Boarding(Boarding<R>),
}

/// A flight that has no lookups yet.
pub(crate) struct Boarding<R> {
    lookups: Arc<SharedLookups<R>>,
    epoch: u64,
    has_left: bool,
}

/// A batch on its way.
pub(crate) struct Flight<R> {
    lookups: Arc<SharedLookups<R>>,
    batch: Batch<R>,
    kind: Kind,
}

/// The place of a flight in the counts of flights.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Alone,
    /// The flight is one of the flights of an epoch.
    Shared(u64),
}

impl<R> SharedLookups<R> {
    pub(crate) fn new(max_flights: usize) -> Arc<Self> {
        Arc::new(Self {
            max_flights,
            state: Mutex::new(State {
                is_one_alone: false,
                flights: 0,
                epoch: 0,
                is_boarding: false,
                waiting: None,
                first_deadline: None,
                spare: BatchNames::default(),
                mean_reply: 0,
            }),
        })
    }

    /// Adds a lookup to the lookups that wait. `names` are the names that it reads, each with its slot. If
    /// a departure is returned, the caller sees to it that the batch is sent. At the deadline, the lookup
    /// is late.
    pub(crate) fn join<'a>(
        self: &Arc<Self>,
        names: impl Iterator<Item = (u16, Name<'a>)>,
        deadline: Instant,
    ) -> (Ticket<R>, Option<Departure<R>>) {
        let mut guard = self.state();
        let state = &mut *guard;
        let State { waiting, spare, .. } = state;
        let batch = waiting.get_or_insert_with(|| Batch::new(std::mem::take(spare)));
        batch.lookups += 1;
        let mut places = SmallVec::new();
        // Not a `for` loop, in which each name would be copied several times.
        names.for_each(|(slot, name)| places.push(batch.names.add(slot, name)));
        let ticket = Ticket::new(Arc::clone(&batch.reply), deadline, places);
        (ticket, self.depart(state, deadline))
    }

    /// Begins a flight, if one may begin now. `deadline` is that of the last lookup.
    fn depart(self: &Arc<Self>, state: &mut State<R>, deadline: Instant) -> Option<Departure<R>> {
        let is_alone = state.flights == 0 && !state.is_one_alone;
        let is_one = |batch: &mut Batch<R>| is_alone && batch.lookups == 1;
        if let Some(batch) = state.waiting.take_if(is_one) {
            state.is_one_alone = true;
            return Some(Departure::Alone(self.flight(batch, Kind::Alone)));
        }
        let mean_reply = state.mean_reply;
        if let Some(batch) = state.waiting.take_if(|batch| batch.is_full(mean_reply)) {
            state.flights += 1;
            let kind = Kind::Shared(state.epoch);
            return Some(Departure::Full(self.flight(batch, kind)));
        }
        if state.flights >= self.max_flights || state.is_boarding {
            let first_deadline = *state.first_deadline.get_or_insert(deadline);
            if Instant::now() < first_deadline {
                return None;
            }
            state.first_deadline = None;
            state.epoch += 1;
            state.flights = 0;
        }
        state.flights += 1;
        state.is_boarding = true;
        Some(Departure::Boarding(Boarding {
            lookups: Arc::clone(self),
            epoch: state.epoch,
            has_left: false,
        }))
    }

    fn flight(self: &Arc<Self>, batch: Batch<R>, kind: Kind) -> Flight<R> {
        let lookups = Arc::clone(self);
        Flight {
            lookups,
            batch,
            kind,
        }
    }

    /// Summarizes the state that later steps of the model checker depend on.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> String {
        let state = self.state();
        let waiting = state.waiting.as_ref().map(|batch| batch.lookups);
        let is_boarding = state.is_boarding;
        format!(
            "{} {} {is_boarding} {waiting:?}",
            state.is_one_alone, state.flights
        )
    }

    /// Locks the state. A panic in a critical section leaves it consistent.
    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Batch<R> {
    fn new(names: BatchNames) -> Self {
        Self {
            names,
            lookups: 0,
            reply: Arc::default(),
        }
    }

    fn is_full(&self, mean_reply: usize) -> bool {
        self.lookups >= MAX_LOOKUPS
            || self.names.length() >= MAX_NAMES
            || self.lookups.saturating_mul(mean_reply) >= MAX_REPLY
    }
}

impl<R> Departure<R> {
    /// Lets the flight leave. `None`: the lookups have left in another flight.
    pub(crate) fn leave(self) -> Option<Flight<R>> {
        match self {
            Self::Alone(flight) | Self::Full(flight) => Some(flight),
            Self::Boarding(boarding) => boarding.leave(),
        }
    }
}

impl<R> Boarding<R> {
    fn leave(mut self) -> Option<Flight<R>> {
        self.has_left = true;
        let mut state = self.lookups.state();
        if state.epoch != self.epoch {
            return None;
        }
        state.is_boarding = false;
        state.first_deadline = None;
        let batch = state.waiting.take();
        if batch.is_none() {
            state.flights -= 1;
        }
        drop(state);
        Some(self.lookups.flight(batch?, Kind::Shared(self.epoch)))
    }
}

impl<R> Drop for Boarding<R> {
    /// Ends the flight, if the task was dropped with its runtime.
    fn drop(&mut self) {
        let mut state = self.lookups.state();
        if !self.has_left && state.epoch == self.epoch {
            state.is_boarding = false;
            state.flights -= 1;
            abandon(state);
        }
    }
}

/// Ends the wait of lookups that no flight will take.
fn abandon<R>(mut state: MutexGuard<'_, State<R>>) {
    if state.flights > 0 {
        return;
    }
    state.first_deadline = None;
    let waiting = state.waiting.take();
    drop(state);
    if let Some(batch) = waiting {
        batch.reply.set(None);
    }
}

impl<R> Flight<R> {
    pub(crate) fn names(&self) -> &BatchNames {
        &self.batch.names
    }

    /// Gives the lookups their reply, which is `length` bytes long; `None`: a fault, which tells nothing
    /// about the length of replies. Returns the flight of the lookups that have arrived meanwhile, unless
    /// more than `max_flights` flights were on their way, or the lookup was alone.
    pub(crate) fn land(mut self, reply: R, length: Option<usize>) -> Option<Self> {
        self.batch.reply.set(Some(reply));
        let mut state = self.lookups.state();
        if let Some(length) = length {
            let mean = (length / self.batch.lookups.max(1)).min(MAX_REPLY);
            state.mean_reply = (state.mean_reply * 7 + mean) / 8;
        }
        state.spare = std::mem::take(&mut self.batch.names).emptied();
        let kind = Kind::Shared(state.epoch);
        let takes_waiting = self.kind == kind && state.flights <= self.lookups.max_flights;
        if takes_waiting {
            state.first_deadline = None;
        }
        let next = state.waiting.take_if(|_| takes_waiting);
        if next.is_none() {
            self.end(&mut state);
        }
        drop(state);
        next.map(|batch| self.lookups.flight(batch, kind))
    }

    fn end(&self, state: &mut State<R>) {
        match self.kind {
            Kind::Alone => state.is_one_alone = false,
            Kind::Shared(epoch) => state.flights -= usize::from(epoch == state.epoch),
        }
    }
}

impl<R> Drop for Flight<R> {
    /// Ends the flight, if the request was dropped, or if the task was dropped with its runtime.
    fn drop(&mut self) {
        if !self.batch.reply.is_set() {
            self.batch.reply.set(None);
            let mut state = self.lookups.state();
            self.end(&mut state);
            abandon(state);
        }
    }
}
