//! The memory budget for copies of streamed bodies, shared by all requests.
//!
//! A client that stops reading also stops its stream, and the data that was copied until then stays
//! in memory. So the copies of all requests share one budget. A copy for which there is no room is
//! given up, and its stream goes on without it.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// The largest piece of a copy in bytes, unless a frame is larger.
const PIECE: usize = 64 * 1024;

/// The budget of all copies of a cache.
#[derive(Debug)]
pub(crate) struct Copies {
    limit: usize,
    taken: AtomicUsize,
    numbers: AtomicU64,
    /// The copies, by the end of their leases.
    under_way: Mutex<BTreeMap<Id, Arc<Data>>>,
}

/// The end of a lease, and a number that no other copy has.
type Id = (Instant, u64);

/// The data of a copy; `None`: the copy was given up.
type Data = Mutex<Option<Pieces>>;

#[derive(Debug)]
struct Pieces {
    list: Vec<Vec<u8>>,
    length: usize,
    room: Room,
}

impl Copies {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: AtomicUsize::new(0),
            numbers: AtomicU64::new(0),
            under_way: Mutex::default(),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        self.try_take(bytes) || (self.give_up_ended() && self.try_take(bytes))
    }

    fn try_take(&self, bytes: usize) -> bool {
        let taken = &self.taken;
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let order = Ordering::Relaxed;
        taken.fetch_update(order, order, more).is_ok()
    }

    /// Gives up the copies whose leases have ended; returns whether there were any. Such a copy
    /// cannot be stored any more, and would stay as long as the connection of a client that does
    /// not read.
    fn give_up_ended(&self) -> bool {
        let now = Instant::now();
        let ended = {
            let mut under_way = lock(&self.under_way);
            let left = under_way.split_off(&(now, 0));
            mem::replace(&mut *under_way, left)
        };
        for data in ended.values() {
            *lock(data) = None;
        }
        !ended.is_empty()
    }
}

/// A part of the budget, in bytes. It is returned when this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    copies: Arc<Copies>,
    bytes: usize,
}

impl Room {
    pub(crate) fn new(copies: &Arc<Copies>) -> Self {
        Self {
            copies: Arc::clone(copies),
            bytes: 0,
        }
    }

    /// Takes more bytes; returns `false` if the budget is used up.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let has_grown = self.copies.take(bytes);
        if has_grown {
            self.bytes += bytes;
        }
        has_grown
    }

    /// Returns some bytes to the budget.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.copies.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

/// A copy of a body that streams to a client.
#[derive(Debug)]
pub(crate) struct StreamCopy {
    copies: Arc<Copies>,
    id: Id,
    data: Arc<Data>,
    length: usize,
}

impl StreamCopy {
    /// Creates an empty copy, which can be stored until the lease of its fill ends.
    pub(crate) fn new(copies: &Arc<Copies>, end: Instant) -> Self {
        let id = (end, copies.numbers.fetch_add(1, Ordering::Relaxed));
        let data = Arc::new(Mutex::new(Some(Pieces {
            list: Vec::new(),
            length: 0,
            room: Room::new(copies),
        })));
        lock(&copies.under_way).insert(id, Arc::clone(&data));
        Self {
            copies: Arc::clone(copies),
            id,
            data,
            length: 0,
        }
    }

    /// Returns the length of the appended data.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Appends data; returns `false` if there is no room, or if the copy was given up because its
    /// lease has ended.
    #[must_use]
    pub(crate) fn append(&mut self, data: &[u8]) -> bool {
        let Some(piece) = lock(&self.data)
            .as_ref()
            .map(|it| it.next_piece(data.len()))
        else {
            return false;
        };
        // The lock is not held here: other copies may be given up to make room, and this one may be
        // among them.
        let mut room = Room::new(&self.copies);
        if !room.grow(piece) {
            return false;
        }
        self.length += data.len();
        match &mut *lock(&self.data) {
            Some(pieces) => {
                pieces.append(data, piece, room);
                true
            }
            None => false,
        }
    }

    /// Takes the data; `None`: the copy was given up. Its room is returned when the copy is
    /// dropped.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let mut data = lock(&self.data);
        data.as_mut().map(|it| mem::take(&mut it.list).concat())
    }
}

impl Drop for StreamCopy {
    fn drop(&mut self) {
        lock(&self.copies.under_way).remove(&self.id);
    }
}

impl Pieces {
    fn free(&self) -> usize {
        let last = self.list.last();
        last.map_or(0, |last| last.capacity() - last.len())
    }

    /// Returns the length of the new piece that data of a length needs in addition to the free
    /// space; zero: none.
    fn next_piece(&self, length: usize) -> usize {
        match length.saturating_sub(self.free()) {
            0 => 0,
            missing => missing.max(self.length.min(PIECE)),
        }
    }

    fn append(&mut self, data: &[u8], piece: usize, mut room: Room) {
        let (now, later) = data.split_at(data.len().min(self.free()));
        if let Some(last) = self.list.last_mut() {
            last.extend_from_slice(now);
        }
        if !later.is_empty() {
            let mut next = Vec::with_capacity(piece);
            next.extend_from_slice(later);
            self.list.push(next);
        }
        self.length += data.len();
        self.room.bytes += mem::take(&mut room.bytes);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn copy(copies: &Arc<Copies>, has_ended: bool) -> StreamCopy {
        let now = Instant::now();
        let end = if has_ended {
            now
        } else {
            now + Duration::from_secs(60)
        };
        StreamCopy::new(copies, end)
    }

    #[test]
    fn copies_use_their_whole_budget_and_no_more() {
        let copies = Arc::new(Copies::new(10));
        let mut one = copy(&copies, false);
        assert!(one.append(&[0; 4]) && one.append(&[0; 6]));
        assert!(!copy(&copies, false).append(&[0]));
        drop(one);
        assert!(copy(&copies, false).append(&[0; 10]));
    }

    #[test]
    fn a_copy_whose_lease_has_ended_makes_room_for_others() {
        let copies = Arc::new(Copies::new(10));
        let (mut ended, mut other) = (copy(&copies, true), copy(&copies, false));
        assert!(ended.append(&[0; 6]));
        assert!(other.append(&[0; 10]), "it takes the room of the other");
        assert!(ended.take().is_none() && !ended.append(&[0]));
        assert_eq!(other.take().map(|data| data.len()), Some(10));
    }

    #[test]
    fn ended_copies_that_do_not_make_enough_room_do_not_extend_the_budget() {
        let copies = Arc::new(Copies::new(10));
        let (mut ended, mut kept) = (copy(&copies, true), copy(&copies, false));
        assert!(ended.append(&[0; 4]) && kept.append(&[0; 6]));
        assert!(!copy(&copies, false).append(&[0; 8]));
        assert!(copy(&copies, false).append(&[0; 4]));
    }
}
