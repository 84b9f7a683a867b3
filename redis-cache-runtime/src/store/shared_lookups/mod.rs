//! Lookups that share commands. A lookup leaves at once if no other is on its way. If fewer batches are on
//! their way than there are connections, it leaves as soon as the requests that are ready have had time
//! to join it. Otherwise it waits, and others may join it. They leave together when the reply to another
//! batch arrives, or when their own batch is full.
//!
//! A command reads each name only once. A lookup uses only a command that was not yet sent when the
//! lookup arrived: a command on its way may have read the name before an eviction that the lookup must
//! see.

mod names;
#[cfg(test)]
mod tests;
mod ticket;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

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
    /// The number of batches that are on their way at the same time before lookups wait.
    max_flights: usize,
    state: Mutex<State<R>>,
}

struct State<R> {
    /// A lookup is on its way alone. No other lookup waits for it.
    is_one_alone: bool,
    /// The number of other flights, including one that is boarding.
    flights: usize,
    /// A flight is boarding: when it leaves, it takes the lookups that are waiting.
    is_boarding: bool,
    waiting: Option<Batch<R>>,
    /// The memory of an earlier batch, for the names of the next one.
    spare: BatchNames,
    /// The mean length of the reply to a lookup, in bytes.
    mean_reply: usize,
}

/// Lookups that leave together.
struct Batch<R> {
    names: BatchNames,
    lookups: usize,
    /// The earliest deadline of the lookups.
    deadline: Instant,
    reply: Arc<ReplySlot<R>>,
}

/// A flight that a lookup has begun. Except for a lookup that is alone, a task lets the flight leave and
/// sends its batch, so that the flight does not depend on any of the requests.
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
    has_left: bool,
}

/// A batch on its way.
pub(crate) struct Flight<R> {
    lookups: Arc<SharedLookups<R>>,
    batch: Batch<R>,
    is_alone: bool,
}

impl<R> SharedLookups<R> {
    pub(crate) fn new(max_flights: usize) -> Arc<Self> {
        Arc::new(Self {
            max_flights,
            state: Mutex::new(State {
                is_one_alone: false,
                flights: 0,
                is_boarding: false,
                waiting: None,
                spare: BatchNames::default(),
                mean_reply: 0,
            }),
        })
    }

    /// Adds a lookup of names, each with its slot, to those that wait. If a departure is returned, the
    /// caller sees to it that the batch is sent. At the deadline, the lookup is late.
    pub(crate) fn join<'a>(
        self: &Arc<Self>,
        names: impl Iterator<Item = (u16, Name<'a>)>,
        deadline: Instant,
    ) -> (Ticket<R>, Option<Departure<R>>) {
        let mut guard = self.state();
        let state = &mut *guard;
        let State { waiting, spare, .. } = state;
        let batch = waiting.get_or_insert_with(|| Batch::new(std::mem::take(spare), deadline));
        batch.lookups += 1;
        batch.deadline = batch.deadline.min(deadline);
        let mut places = SmallVec::new();
        // Not a `for` loop, in which each name would be copied several times.
        names.for_each(|(slot, name)| places.push(batch.names.add(slot, name)));
        let reply = Arc::clone(&batch.reply);
        let ticket = Ticket::new(reply, deadline, places);
        let mean_reply = state.mean_reply;
        let is_alone = state.flights == 0 && !state.is_one_alone;
        let departure = if let Some(batch) = waiting.take_if(|batch| batch.is_full(mean_reply)) {
            state.flights += 1;
            Some(Departure::Full(self.flight(batch, false)))
        } else if let Some(batch) = waiting.take_if(|_| is_alone) {
            state.is_one_alone = true;
            Some(Departure::Alone(self.flight(batch, true)))
        } else if state.flights < self.max_flights && !state.is_boarding {
            state.flights += 1;
            state.is_boarding = true;
            let lookups = Arc::clone(self);
            let has_left = false;
            Some(Departure::Boarding(Boarding { lookups, has_left }))
        } else {
            None
        };
        (ticket, departure)
    }

    fn flight(self: &Arc<Self>, batch: Batch<R>, is_alone: bool) -> Flight<R> {
        let lookups = Arc::clone(self);
        Flight {
            lookups,
            batch,
            is_alone,
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
    fn new(names: BatchNames, deadline: Instant) -> Self {
        Self {
            names,
            lookups: 0,
            deadline,
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
        let mut state = self.lookups.state();
        let batch = state.waiting.take()?;
        state.is_boarding = false;
        drop(state);
        self.has_left = true;
        Some(self.lookups.flight(batch, false))
    }
}

impl<R> Drop for Boarding<R> {
    /// Ends the flight, if it has no lookups, or if the task was dropped with its runtime.
    fn drop(&mut self) {
        if !self.has_left {
            let mut state = self.lookups.state();
            state.is_boarding = false;
            state.flights -= 1;
            abandon(state);
        }
    }
}

/// Ends the wait of lookups that no flight will take.
fn abandon<R>(mut state: MutexGuard<'_, State<R>>) {
    let is_last = state.flights == 0;
    let waiting = state.waiting.take_if(|_| is_last);
    drop(state);
    if let Some(batch) = waiting {
        batch.reply.set(None);
    }
}

impl<R> Flight<R> {
    /// Waits for the reply to the batch. Meanwhile, wakes the lookups that are late.
    pub(crate) async fn wait<T>(&self, reply: impl Future<Output = T>) -> T {
        let mut reply = pin!(reply);
        let mut deadline = self.batch.deadline;
        loop {
            if let Ok(reply) = timeout_at(deadline, reply.as_mut()).await {
                return reply;
            }
            if let Some(reply) = if_arrived(reply.as_mut()).await {
                return reply;
            }
            let Some(next) = self.batch.reply.wake_late(Instant::now()) else {
                return reply.await;
            };
            deadline = next;
        }
    }

    pub(crate) fn names(&self) -> &BatchNames {
        &self.batch.names
    }

    /// Gives the lookups their reply, which is `length` bytes long; `None`: a fault, which tells nothing
    /// about the length of replies. Returns the flight of the lookups that have arrived meanwhile, unless
    /// more than `max_flights` flights were on their way.
    pub(crate) fn land(mut self, reply: R, length: Option<usize>) -> Option<Self> {
        self.batch.reply.set(Some(reply));
        let mut state = self.lookups.state();
        if let Some(length) = length {
            let mean = length / self.batch.lookups.max(1);
            state.mean_reply = (state.mean_reply * 7 + mean) / 8;
        }
        state.spare = std::mem::take(&mut self.batch.names).emptied();
        let takes_waiting = !self.is_alone && state.flights <= self.lookups.max_flights;
        let next = state.waiting.take_if(|_| takes_waiting);
        if next.is_none() {
            self.end(&mut state);
        }
        drop(state);
        next.map(|batch| self.lookups.flight(batch, false))
    }

    fn end(&self, state: &mut State<R>) {
        if self.is_alone {
            state.is_one_alone = false;
        } else {
            state.flights -= 1;
        }
    }
}

impl<R> Drop for Flight<R> {
    /// Ends the flight, if the request was dropped, or the task with its runtime.
    fn drop(&mut self) {
        if !self.batch.reply.is_set() {
            self.batch.reply.set(None);
            let mut state = self.lookups.state();
            self.end(&mut state);
            abandon(state);
        }
    }
}

/// Returns a reply that arrived while this process had no time to read it.
async fn if_arrived<T>(mut reply: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    // Yields to the tasks that read from the socket and dispatch the reply.
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    poll_fn(|cx| match reply.as_mut().poll(cx) {
        Poll::Ready(reply) => Poll::Ready(Some(reply)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
