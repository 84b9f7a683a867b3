//! The access of a lookup to the reply of its batch.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use super::names::Place;

/// The reply to a batch, when it has arrived.
pub(super) struct ReplySlot<R> {
    /// `None`: no reply will arrive, because the flight was dropped.
    reply: OnceLock<Option<R>>,
    /// The wakers of the lookups that wait for the reply.
    wakers: Mutex<Vec<Waker>>,
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
        for waker in wakers {
            waker.wake();
        }
    }

    /// Polls for the reply. `None`: it will not arrive. `place` is the index of the waker of the lookup, if
    /// it has one already.
    fn poll(&self, cx: &mut Context<'_>, place: &mut Option<usize>) -> Poll<Option<&R>> {
        if let Some(reply) = self.reply.get() {
            return Poll::Ready(reply.as_ref());
        }
        let mut wakers = self.wakers();
        // The reply may have arrived before the lock was taken. Then no waker is called any more.
        if let Some(reply) = self.reply.get() {
            return Poll::Ready(reply.as_ref());
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

    /// Waits for the reply. `None`: it is late for this lookup, or the flight was dropped.
    pub(crate) async fn wait(&self) -> Option<&R> {
        let mut place = None;
        let arrival = poll_fn(|cx| self.reply.poll(cx, &mut place));
        match timeout_at(self.deadline, arrival).await {
            Ok(reply) => reply,
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
