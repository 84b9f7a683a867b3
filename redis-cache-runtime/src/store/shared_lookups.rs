//! Lookups that share commands. A lookup leaves at once if no other is on its way. If fewer batches are on
//! their way than there are connections, it leaves as soon as the requests that are ready have had time
//! to join it. Otherwise it waits, and others may join it. They leave together when the reply to another
//! batch arrives, or when their own batch is full.
//!
//! A command reads each name only once. A lookup uses only a command that was not yet sent when the
//! lookup arrived: a command on its way may have read the name before an eviction that the lookup must
//! see.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use hashbrown::HashTable;
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};
use xxhash_rust::xxh3::xxh3_64;

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

/// The reply to a batch, when it has arrived.
struct ReplySlot<R> {
    /// `None`: no reply will arrive, because the flight was dropped.
    reply: OnceLock<Option<R>>,
    /// The wakers of the lookups that wait for the reply, each with the deadline of the lookup. The task
    /// of the flight wakes those that are late, because a timer for each lookup would cost more.
    wakers: Mutex<Vec<(Instant, Waker)>>,
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

/// The access of one lookup to its values in the reply to the batch.
pub(crate) struct Ticket<R> {
    reply: Arc<ReplySlot<R>>,
    deadline: Instant,
    pub(crate) places: SmallVec<[Place; 4]>,
}

/// The place of a name in a batch: the index of its command, and its index in that command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) command: usize,
    pub(crate) index: usize,
}

/// The names of a batch, each once, in one command for each slot of a cluster.
#[derive(Default)]
pub(crate) struct BatchNames {
    bytes: Vec<u8>,
    /// The places of the names, by their hashes.
    by_hash: HashTable<Place>,
    commands: SmallVec<[SlotCommand; 1]>,
    /// The memory of an earlier command, for the next one.
    spare: Vec<Range<usize>>,
}

/// The command for a slot.
struct SlotCommand {
    slot: u16,
    /// The names, as ranges of `bytes`.
    names: Vec<Range<usize>>,
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
        let ticket = Ticket {
            reply,
            deadline,
            places,
        };
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
            reply: Arc::new(ReplySlot {
                reply: OnceLock::new(),
                wakers: Mutex::default(),
            }),
        }
    }

    fn is_full(&self, mean_reply: usize) -> bool {
        self.lookups >= MAX_LOOKUPS
            || self.names.bytes.len() >= MAX_NAMES
            || self.lookups.saturating_mul(mean_reply) >= MAX_REPLY
    }
}

impl<R> ReplySlot<R> {
    /// Returns the reply, if it has arrived.
    fn get(&self) -> Option<&R> {
        self.reply.get()?.as_ref()
    }

    /// Ends the wait of all lookups. `None`: no reply will arrive.
    fn set(&self, reply: Option<R>) {
        // A batch is given one reply.
        let _ = self.reply.set(reply);
        let wakers = std::mem::take(&mut *self.wakers());
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Polls for the reply. `None`: it is late, or will not arrive. `place` is the index of the waker of
    /// the lookup, if it has one already.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        deadline: Instant,
        place: &mut Option<usize>,
    ) -> Poll<Option<&R>> {
        if let Some(reply) = self.reply.get() {
            return Poll::Ready(reply.as_ref());
        }
        let mut wakers = self.wakers();
        // The reply may have arrived before the lock was taken. Then no waker is called any more.
        if let Some(reply) = self.reply.get() {
            return Poll::Ready(reply.as_ref());
        }
        if let Some((_, waker)) = place.and_then(|place| wakers.get_mut(place)) {
            if Instant::now() >= deadline {
                return Poll::Ready(None);
            }
            waker.clone_from(cx.waker());
        } else {
            *place = Some(wakers.len());
            wakers.push((deadline, cx.waker().clone()));
        }
        Poll::Pending
    }

    /// Wakes the lookups that are late. Returns the earliest deadline of the others.
    fn wake_late(&self, now: Instant) -> Option<Instant> {
        let wakers = self.wakers();
        for (_, waker) in wakers.iter().filter(|(deadline, _)| *deadline <= now) {
            waker.wake_by_ref();
        }
        let deadlines = wakers.iter().map(|(deadline, _)| *deadline);
        deadlines.filter(|deadline| *deadline > now).min()
    }

    /// Locks the wakers. No code panics in a critical section.
    fn wakers(&self) -> MutexGuard<'_, Vec<(Instant, Waker)>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
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
        if self.batch.reply.get().is_none() {
            self.batch.reply.set(None);
            let mut state = self.lookups.state();
            self.end(&mut state);
            abandon(state);
        }
    }
}

impl<R> Ticket<R> {
    /// Returns the reply, if it has arrived.
    pub(crate) fn reply(&self) -> Option<&R> {
        self.reply.get()
    }

    /// Waits for the reply. `None`: it is late, for this lookup only, or the flight was dropped.
    pub(crate) async fn wait(&self) -> Option<&R> {
        let mut place = None;
        poll_fn(|cx| self.reply.poll(cx, self.deadline, &mut place)).await
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

impl BatchNames {
    /// Adds a name, unless the batch has it.
    fn add(&mut self, slot: u16, name: Name<'_>) -> Place {
        let start = self.bytes.len();
        for piece in name.iter().filter(|piece| !piece.is_empty()) {
            self.bytes.extend_from_slice(piece.as_bytes());
        }
        let end = self.bytes.len();
        let hash = xxh3_64(&self.bytes[start..]);
        let is_added = |place: &Place| self.text(*place) == &self.bytes[start..];
        if let Some(place) = self.by_hash.find(hash, is_added) {
            let place = *place;
            self.bytes.truncate(start);
            return place;
        }
        let place = self.append_to_command(slot, start..end);
        let Self {
            bytes, commands, ..
        } = self;
        let hash_at = |place: &Place| xxh3_64(text(bytes, commands, *place));
        self.by_hash.insert_unique(hash, place, hash_at);
        place
    }

    /// Appends a name to the command for its slot.
    fn append_to_command(&mut self, slot: u16, name: Range<usize>) -> Place {
        let mut commands = self.commands.iter();
        let known = commands.position(|command| command.slot == slot);
        let command = known.unwrap_or_else(|| {
            self.commands.push(SlotCommand {
                slot,
                names: std::mem::take(&mut self.spare),
            });
            self.commands.len() - 1
        });
        let names = &mut self.commands[command].names;
        names.push(name);
        let index = names.len() - 1;
        Place { command, index }
    }

    fn text(&self, place: Place) -> &[u8] {
        text(&self.bytes, &self.commands, place)
    }

    /// Returns the names of each command.
    pub(crate) fn commands(
        &self,
    ) -> impl ExactSizeIterator<Item = impl ExactSizeIterator<Item = &[u8]>> {
        let bytes = |range: &Range<usize>| &self.bytes[range.clone()];
        self.commands
            .iter()
            .map(move |command| command.names.iter().map(bytes))
    }

    /// Removes all names. The memory stays, for the next batch.
    fn emptied(mut self) -> Self {
        self.bytes.clear();
        self.by_hash.clear();
        if let Some(mut command) = self.commands.drain(..).next() {
            command.names.clear();
            self.spare = command.names;
        }
        self
    }
}

/// Returns the name at a place.
fn text<'a>(bytes: &'a [u8], commands: &[SlotCommand], place: Place) -> &'a [u8] {
    &bytes[commands[place.command].names[place.index].clone()]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    type Lookups = Arc<SharedLookups<Vec<String>>>;
    type Landed = (Ticket<Vec<String>>, Option<Flight<Vec<String>>>);

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn join(lookups: &Lookups, names: &[&str]) -> Landed {
        let names = names.iter().map(|name| (0, [*name, "", "", ""]));
        let (ticket, departure) = lookups.join(names, later());
        (ticket, departure.and_then(Departure::leave))
    }

    /// Returns lookups of which one is on its way alone.
    fn with_one_alone<R>(max_flights: usize) -> (Arc<SharedLookups<R>>, Departure<R>) {
        let lookups = SharedLookups::new(max_flights);
        let (_, alone) = lookups.join(std::iter::once((0, ["alone", "", "", ""])), later());
        (lookups, alone.unwrap())
    }

    fn names<R>(flight: &Flight<R>) -> Vec<String> {
        let names = flight.names().commands().flatten();
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    /// Answers a flight with its names as values.
    fn echo(flight: Flight<Vec<String>>, length: usize) -> Option<Flight<Vec<String>>> {
        let values = names(&flight);
        flight.land(values, Some(length))
    }

    #[test]
    fn a_lookup_that_is_alone_leaves_at_once() {
        let lookups = SharedLookups::new(1);
        for _ in 0..2 {
            let (_, departure) = lookups.join(std::iter::once((0, ["a", "", "", ""])), later());
            let Some(Departure::Alone(flight)) = departure else {
                panic!("the lookup waits for others");
            };
            // Another lookup waits for a flight of its own.
            let (_, other) = join(&lookups, &["b"]);
            assert!(echo(flight, 0).is_none());
            assert!(echo(other.unwrap(), 0).is_none());
        }
    }

    #[test]
    fn a_lookup_that_is_alone_and_dropped_lets_another_leave_alone() {
        let (lookups, alone) = with_one_alone::<Vec<String>>(1);
        drop(alone);
        let (_, departure) = lookups.join(std::iter::once((0, ["a", "", "", ""])), later());
        assert!(matches!(departure, Some(Departure::Alone(_))));
    }

    #[test]
    fn lookups_that_arrive_during_a_flight_leave_together_with_each_name_once() {
        let (lookups, _alone) = with_one_alone(1);
        let (_, flight) = join(&lookups, &["a", "nonce"]);
        let (_, none) = join(&lookups, &["a", "nonce"]);
        assert!(none.is_none());
        let (ticket, none) = join(&lookups, &["b", "nonce"]);
        assert!(none.is_none());
        let next = echo(flight.unwrap(), 0).unwrap();
        assert_eq!(names(&next), ["a", "nonce", "b"]);
        assert!(echo(next, 0).is_none());
        let values = ticket.reply().unwrap();
        let places = ticket.places.iter();
        let own: Vec<_> = places.map(|place| values[place.index].as_str()).collect();
        assert_eq!(own, ["b", "nonce"]);
    }

    #[test]
    fn lookups_that_arrive_before_a_flight_leaves_are_in_it() {
        let (lookups, _alone) = with_one_alone::<Vec<String>>(2);
        let begin = |name| {
            lookups
                .join(std::iter::once((0, [name, "", "", ""])), later())
                .1
        };
        let boarding = begin("a").unwrap();
        assert!(begin("b").is_none());
        let flight = boarding.leave().unwrap();
        assert_eq!(names(&flight), ["a", "b"]);
        let second = begin("c").unwrap().leave().unwrap();
        assert!(begin("d").is_none());
        assert!(echo(flight, 0).is_some_and(|next| names(&next) == ["d"]));
        drop(second);
    }

    #[test]
    fn a_flight_without_lookups_ends() {
        let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
        let begin = |name| {
            lookups
                .join(std::iter::once((0, [name, "", "", ""])), later())
                .1
        };
        let boarding = begin("a").unwrap();
        let full = (1..MAX_LOOKUPS).find_map(|_| begin("a")).unwrap();
        assert!(boarding.leave().is_none());
        assert!(begin("b").is_none());
        assert!(echo(full.leave().unwrap(), 0).is_some());
    }

    #[tokio::test]
    async fn a_flight_that_was_dropped_before_it_left_lets_others_begin() {
        let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
        let begin = |name| lookups.join(std::iter::once((0, [name, "", "", ""])), later());
        let (ticket, boarding) = begin("a");
        drop(boarding);
        assert!(ticket.wait().await.is_none());
        let flight = begin("b").1.unwrap().leave().unwrap();
        assert_eq!(names(&flight), ["b"]);
    }

    #[test]
    fn a_full_batch_leaves_without_a_wait() {
        let (lookups, _alone) = with_one_alone(1);
        let (_, first) = join(&lookups, &["a"]);
        let flights = |count| (0..count).filter_map(|_| join(&lookups, &["b"]).1);
        let full: Vec<_> = flights(3 * MAX_LOOKUPS + 5).collect();
        assert_eq!(full.len(), 3);
        // Only the flight that lands last takes the lookups that wait.
        assert!(full.into_iter().all(|flight| echo(flight, 0).is_none()));
        let rest = echo(first.unwrap(), 0).unwrap();
        assert_eq!(rest.batch.lookups, 5);
    }

    #[test]
    fn a_batch_with_many_bytes_of_names_leaves_without_a_wait() {
        let (lookups, _alone) = with_one_alone(1);
        let (_, first) = join(&lookups, &["a"]);
        let half = "x".repeat(MAX_NAMES / 2);
        assert!(join(&lookups, &[&half]).1.is_none());
        let other_half = "y".repeat(MAX_NAMES / 2);
        assert!(join(&lookups, &[&other_half]).1.is_some());
        drop(first);
    }

    #[test]
    fn a_batch_whose_reply_would_be_long_leaves_without_a_wait() {
        let (lookups, _alone) = with_one_alone(1);
        let (_, first) = join(&lookups, &["a"]);
        // The mean is an eighth of the longest reply now, so eight lookups fill a batch.
        assert!(echo(first.unwrap(), MAX_REPLY).is_none());
        let (_, first) = join(&lookups, &["a"]);
        let flights = (0..16).filter_map(|_| join(&lookups, &["b"]).1);
        assert_eq!(flights.count(), 2);
        drop(first);
    }

    #[tokio::test]
    async fn the_lookups_of_a_flight_that_was_dropped_and_those_that_wait_for_it_end() {
        let (lookups, _alone) = with_one_alone(1);
        let (ticket, flight) = join(&lookups, &["a"]);
        let (waiting, none) = join(&lookups, &["b"]);
        assert!(none.is_none());
        drop(flight);
        assert!(ticket.wait().await.is_none());
        assert!(waiting.wait().await.is_none());
        let (_, flight) = join(&lookups, &["c"]);
        assert_eq!(names(&flight.unwrap()), ["c"]);
    }

    #[test]
    fn as_many_flights_as_there_are_connections_leave_at_once() {
        let (lookups, _alone) = with_one_alone(2);
        let (_, first) = join(&lookups, &["a"]);
        let (_, second) = join(&lookups, &["b"]);
        assert!(join(&lookups, &["c"]).1.is_none());
        assert!(echo(first.unwrap(), 0).is_some_and(|next| names(&next) == ["c"]));
        assert!(echo(second.unwrap(), 0).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_is_late_does_not_hold_up_the_others() {
        let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
        let begin = |name, wait| {
            let deadline = Instant::now() + Duration::from_millis(wait);
            lookups.join(std::iter::once((0, [name, "", "", ""])), deadline)
        };
        let (late, departure) = begin("a", 10);
        let (later, _) = begin("b", 20);
        let (other, _) = begin("c", 1000);
        let flight = departure.unwrap().leave().unwrap();
        let values = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            names(&flight)
        };
        let started = Instant::now();
        let elapsed_at_end = async |ticket: Ticket<Vec<String>>| {
            let is_late = ticket.wait().await.is_none();
            (is_late, started.elapsed().as_millis())
        };
        let waits = async { tokio::join!(elapsed_at_end(late), elapsed_at_end(later)) };
        let (values, (late, later)) = tokio::join!(flight.wait(values), waits);
        assert!(late.0 && (10..15).contains(&late.1), "{late:?}");
        assert!(later.0 && (20..25).contains(&later.1), "{later:?}");
        assert_eq!(values, ["a", "b", "c"]);
        assert!(flight.land(values, None).is_none());
        assert!(other.wait().await.is_some());
    }

    #[tokio::test]
    async fn every_lookup_of_a_flight_is_woken_when_it_lands() {
        let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
        let (ticket, flight) = join(&lookups, &["a"]);
        let (second, _) = join(&lookups, &["b"]);
        let (third, _) = join(&lookups, &["c"]);
        let wait = |ticket: Ticket<_>| {
            // Another waker takes the place of the first one.
            let mut waiting = Box::pin(async move { ticket.wait().await.is_some() });
            let mut context = Context::from_waker(Waker::noop());
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            tokio::spawn(waiting)
        };
        let waiting = [ticket, second, third].map(wait);
        tokio::task::yield_now().await;
        let next = echo(flight.unwrap(), 0).unwrap();
        assert!(echo(next, 0).is_none());
        for arrived in waiting {
            assert!(arrived.await.unwrap());
        }
    }

    proptest! {
        #[test]
        fn each_lookup_finds_the_values_of_its_own_names(
            all in prop::collection::vec(prop::collection::vec("[ab]{0,2}", 1..5), 1..20),
        ) {
            let (lookups, _alone) = with_one_alone::<Vec<Vec<String>>>(1);
            let (_, first) = lookups.join(std::iter::once((0, ["", "", "", ""])), later());
            let first = first.and_then(Departure::leave);
            // A name belongs to one slot.
            let slot = |name: &str| u16::from(name.ends_with('b'));
            let tickets: Vec<_> = all.iter().map(|names| {
                let names = names.iter().map(|name| (slot(name), [name.as_str(), "", "", ""]));
                lookups.join(names, later()).0
            }).collect();
            let next = first.unwrap().land(Vec::new(), Some(0)).unwrap();
            let values: Vec<Vec<_>> = next
                .names()
                .commands()
                .map(|names| names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect())
                .collect();
            let mut once: Vec<_> = values.iter().flatten().collect();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), values.iter().flatten().count());
            prop_assert!(next.land(values, Some(0)).is_none());
            for (names, ticket) in all.iter().zip(tickets) {
                let values = ticket.reply().unwrap();
                prop_assert_eq!(names.len(), ticket.places.len());
                for (name, place) in names.iter().zip(&ticket.places) {
                    prop_assert_eq!(name, &values[place.command][place.index]);
                }
            }
        }
    }
}
