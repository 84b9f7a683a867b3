//! The access of a lookup to the reply of its batch.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;
use tokio::time::Instant;

use super::names::Place;

/// The reply to a batch, when it has arrived.
pub(super) struct ReplySlot<R> {
    /// `None`: no reply will arrive, because the flight was dropped.
    reply: OnceLock<Option<R>>,
    /// The wakers of the lookups that wait for the reply, each with the deadline of the lookup. The task
    /// of the flight wakes those that are late, because a timer for each lookup would cost more.
    wakers: Mutex<Vec<(Instant, Waker)>>,
}

/// The access of one lookup to its values in the reply to the batch.
pub(crate) struct Ticket<R> {
    reply: Arc<ReplySlot<R>>,
    deadline: Instant,
    pub(crate) places: SmallVec<[Place; 4]>,
}

impl<R> Default for ReplySlot<R> {
    fn default() -> Self {
        Self {
            reply: OnceLock::new(),
            wakers: Mutex::default(),
        }
    }
}

impl<R> ReplySlot<R> {
    /// Returns whether the wait of the lookups has ended.
    pub(super) fn is_set(&self) -> bool {
        self.reply.get().is_some()
    }

    /// Returns the reply, if it has arrived.
    fn get(&self) -> Option<&R> {
        self.reply.get()?.as_ref()
    }

    /// Ends the wait of all lookups. `None`: no reply will arrive.
    pub(super) fn set(&self, reply: Option<R>) {
        // A batch is given one reply.
        let _ = self.reply.set(reply);
        let wakers = std::mem::take(&mut *self.wakers());
        for (_, waker) in wakers {
            waker.wake();
        }
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
    pub(super) fn wake_late(&self, now: Instant) -> Option<Instant> {
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

impl<R> Ticket<R> {
    pub(super) fn new(
        reply: Arc<ReplySlot<R>>,
        deadline: Instant,
        places: SmallVec<[Place; 4]>,
    ) -> Self {
        Self {
            reply,
            deadline,
            places,
        }
    }

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
