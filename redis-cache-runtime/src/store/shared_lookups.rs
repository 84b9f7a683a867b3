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
    reply: Arc<ReplySlot<R>>,
}

/// The reply to a batch, when it has arrived.
struct ReplySlot<R> {
    reply: OnceLock<R>,
    /// The wakers of the lookups that wait for the reply.
    wakers: Mutex<Vec<Waker>>,
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
    /// caller sees to it that the batch is sent.
    pub(crate) fn join<'a>(
        self: &Arc<Self>,
        names: impl Iterator<Item = (u16, Name<'a>)>,
    ) -> (Ticket<R>, Option<Departure<R>>) {
        let mut guard = self.state();
        let state = &mut *guard;
        let State { waiting, spare, .. } = state;
        let batch = waiting.get_or_insert_with(|| Batch::new(std::mem::take(spare)));
        batch.lookups += 1;
        let mut places = SmallVec::new();
        // Not a `for` loop, in which each name would be copied several times.
        names.for_each(|(slot, name)| places.push(batch.names.add(slot, name)));
        let reply = Arc::clone(&batch.reply);
        let ticket = Ticket { reply, places };
        let mean_reply = state.mean_reply;
        let is_alone = state.flights == 0 && !state.is_one_alone;
        let departure = if let Some(batch) = waiting.take_if(|batch| batch.is_full(mean_reply)) {
            state.flights += 1;
            Some(Departure::Full(self.flight(batch, false)))
        } else if let Some(batch) = waiting.take_if(|batch| is_alone && batch.lookups == 1) {
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
    fn new(names: BatchNames) -> Self {
        Self {
            names,
            lookups: 0,
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
    fn get(&self) -> Option<&R> {
        self.reply.get()
    }

    fn set(&self, reply: R) {
        // A batch is given one reply.
        let _ = self.reply.set(reply);
        let wakers = std::mem::take(&mut *self.wakers());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Polls for the reply. `place` is the index of the waker of the lookup, if it has one already.
    fn poll(&self, cx: &mut Context<'_>, place: &mut Option<usize>) -> Poll<&R> {
        if let Some(reply) = self.get() {
            return Poll::Ready(reply);
        }
        let mut wakers = self.wakers();
        // The reply may have arrived before the lock was taken. Then no waker is called any more.
        if let Some(reply) = self.get() {
            return Poll::Ready(reply);
        }
        if let Some(waker) = place.and_then(|place| wakers.get_mut(place)) {
            waker.clone_from(cx.waker());
        } else {
            *place = Some(wakers.len());
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Locks the wakers. No code panics in a critical section.
    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
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
    /// Lets the next lookup begin a flight, if this one has no lookups, or if the task was dropped with
    /// its runtime.
    fn drop(&mut self) {
        if !self.has_left {
            let mut state = self.lookups.state();
            state.is_boarding = false;
            state.flights -= 1;
        }
    }
}

impl<R> Flight<R> {
    pub(crate) fn names(&self) -> &BatchNames {
        &self.batch.names
    }

    /// Gives the lookups their reply, which is `length` bytes long; `None`: a fault, which tells nothing
    /// about the length of replies. Returns the flight of the lookups that have arrived meanwhile, unless
    /// more than `max_flights` flights were on their way.
    pub(crate) fn land(mut self, reply: R, length: Option<usize>) -> Option<Self> {
        self.batch.reply.set(reply);
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
    /// Lets the next lookup leave, if the request was dropped, or the task with its runtime.
    fn drop(&mut self) {
        if self.batch.reply.get().is_none() {
            self.end(&mut self.lookups.state());
        }
    }
}

impl<R> Ticket<R> {
    /// Returns the reply, if it has arrived.
    pub(crate) fn reply(&self) -> Option<&R> {
        self.reply.get()
    }

    /// Waits for the reply until a deadline. `None`: the reply is late, for this lookup only.
    pub(crate) async fn wait(&self, deadline: Instant) -> Option<&R> {
        let mut place = None;
        let arrival = poll_fn(|cx| self.reply.poll(cx, &mut place));
        match timeout_at(deadline, arrival).await {
            Ok(reply) => Some(reply),
            Err(_) => self.if_arrived().await,
        }
    }

    /// Returns a reply that arrived while this process had no time to read it.
    async fn if_arrived(&self) -> Option<&R> {
        // Yields to the tasks that read from the socket, dispatch the reply and end the flight.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        self.reply.get()
    }
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

    fn join(lookups: &Lookups, names: &[&str]) -> Landed {
        let names = names.iter().map(|name| (0, [*name, "", "", ""]));
        let (ticket, departure) = lookups.join(names);
        (ticket, departure.and_then(Departure::leave))
    }

    /// Returns lookups of which one is on its way alone.
    fn with_one_alone<R>(max_flights: usize) -> (Arc<SharedLookups<R>>, Departure<R>) {
        let lookups = SharedLookups::new(max_flights);
        let (_, alone) = lookups.join(std::iter::once((0, ["alone", "", "", ""])));
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
            let (_, departure) = lookups.join(std::iter::once((0, ["a", "", "", ""])));
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
        let (_, departure) = lookups.join(std::iter::once((0, ["a", "", "", ""])));
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
        let begin = |name| lookups.join(std::iter::once((0, [name, "", "", ""]))).1;
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
        let begin = |name| lookups.join(std::iter::once((0, [name, "", "", ""]))).1;
        let boarding = begin("a").unwrap();
        let full = (1..MAX_LOOKUPS).find_map(|_| begin("a")).unwrap();
        assert!(boarding.leave().is_none());
        assert!(begin("b").is_none());
        assert!(echo(full.leave().unwrap(), 0).is_some());
    }

    #[test]
    fn a_flight_that_was_dropped_before_it_left_lets_others_begin() {
        let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
        let begin = |name| lookups.join(std::iter::once((0, [name, "", "", ""]))).1;
        drop(begin("a").unwrap());
        let flight = begin("b").unwrap().leave().unwrap();
        assert_eq!(names(&flight), ["a", "b"]);
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

    #[test]
    fn lookups_go_on_after_a_flight_that_was_dropped() {
        let (lookups, _alone) = with_one_alone(1);
        let (_, flight) = join(&lookups, &["a"]);
        assert!(join(&lookups, &["b"]).1.is_none());
        drop(flight);
        let (_, flight) = join(&lookups, &["c"]);
        assert_eq!(names(&flight.unwrap()), ["b", "c"]);
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
        let (ticket, flight) = join(&lookups, &["a"]);
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(ticket.wait(soon).await.is_none());
        let (other, _) = join(&lookups, &["b"]);
        let next = echo(flight.unwrap(), 0).unwrap();
        drop(ticket);
        assert!(echo(next, 0).is_none());
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(other.wait(later).await.unwrap(), &["b"]);
    }

    #[tokio::test]
    async fn every_lookup_of_a_flight_is_woken_when_it_lands() {
        let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
        let (ticket, flight) = join(&lookups, &["a"]);
        let (second, _) = join(&lookups, &["b"]);
        let (third, _) = join(&lookups, &["c"]);
        let later = Instant::now() + Duration::from_secs(60);
        let wait = |ticket: Ticket<_>| {
            // Another waker takes the place of the first one.
            let mut waiting = Box::pin(async move { ticket.wait(later).await.is_some() });
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
            let (_, first) = lookups.join(std::iter::once((0, ["", "", "", ""])));
            let first = first.and_then(Departure::leave);
            // A name belongs to one slot.
            let slot = |name: &str| u16::from(name.ends_with('b'));
            let tickets: Vec<_> = all.iter().map(|names| {
                let names = names.iter().map(|name| (slot(name), [name.as_str(), "", "", ""]));
                lookups.join(names).0
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
