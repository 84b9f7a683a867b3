//! Queues for runs whose responses are not stored, because the store has a fault or another process
//! holds the lease for too long. One request for an address runs the handler at a time.
//!
//! Requests that arrive during a run share the next run, which begins after all of them have arrived.
//! So no request gets the response of a run that began before the request arrived. If a run cannot be
//! shared, a few handlers run at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::waits::{self, Run, Wait};
use crate::key::Address;
use crate::store::entry::Entry;

/// The largest number of concurrent runs of one address that cannot be shared.
const MAX_ALONE: usize = 4;

/// The queues of all addresses with runs that are not stored.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    queues: Mutex<HashMap<Address, Queue>>,
}

/// The queue of the requests for one address.
#[derive(Debug)]
struct Queue {
    /// The number of requests that run or wait. The queue is removed when there are none.
    requests: usize,
    /// The current run.
    running: Option<Run>,
    /// The run that begins after the current one.
    next: Option<Arc<SharedRun>>,
    alone: Arc<Semaphore>,
}

/// A run that several requests share.
#[derive(Debug)]
struct SharedRun {
    run: Run,
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Debug)]
enum Phase {
    Waiting,
    Running,
    Landed(Entry),
    /// The response cannot be shared, or there is none.
    Failed,
    /// The request that had to run the handler was dropped.
    Abandoned,
}

/// The result of waiting for a shared run.
pub(crate) enum ShareResult {
    /// The request runs the handler.
    Turn(Turn),
    /// The run of another request made this entry.
    Answered(Entry),
    /// The deadline has passed, or the request must not wait: it runs the handler without a turn.
    NoTurn,
}

/// The right to run the handler. When it is dropped, the next run begins.
pub(crate) struct Turn {
    request: QueuedRequest,
    kind: TurnKind,
    /// Records that the surrounding run, if there is one, waits for the run of this turn.
    _waited_for: Option<Wait>,
}

enum TurnKind {
    Shared(Arc<SharedRun>),
    Alone { _permit: OwnedSemaphorePermit },
}

/// A request in the queue of an address.
struct QueuedRequest {
    turns: Arc<Turns>,
    at: Address,
}

/// The position of a request in its queue.
enum Position {
    /// No other request runs the handler.
    First(Turn),
    /// The request runs the handler when the current run has ended.
    Next(Turn, watch::Receiver<Phase>, Wait),
    /// Another request runs the handler when the current run has ended.
    Follower(QueuedRequest, watch::Receiver<Phase>, Wait),
    /// The run to wait for already waits for this request, so the request must not wait for it.
    Cycle,
}

impl Turns {
    /// Waits for a turn, or for a run of another request that begins after this call.
    pub(crate) async fn share(self: &Arc<Self>, at: &Address, deadline: Instant) -> ShareResult {
        loop {
            match self.enqueue(at) {
                Position::First(turn) => return ShareResult::Turn(turn),
                Position::Next(turn, mut phase, _wait) => {
                    let begun = phase.wait_for(|phase| !matches!(phase, Phase::Waiting));
                    return match timeout_at(deadline, begun).await {
                        Ok(Ok(_)) => ShareResult::Turn(turn),
                        _ => ShareResult::NoTurn,
                    };
                }
                Position::Follower(_request, mut phase, _wait) => {
                    let is_over = |phase: &Phase| !matches!(phase, Phase::Waiting | Phase::Running);
                    let Ok(over) = timeout_at(deadline, phase.wait_for(is_over)).await else {
                        return ShareResult::NoTurn;
                    };
                    match over.as_deref() {
                        Ok(Phase::Landed(entry)) => return ShareResult::Answered(entry.clone()),
                        Ok(Phase::Abandoned) => {}
                        _ => break,
                    }
                }
                Position::Cycle => return ShareResult::NoTurn,
            }
        }
        let turn = self.alone(at, deadline).await;
        turn.map_or(ShareResult::NoTurn, ShareResult::Turn)
    }

    /// Waits for a turn to run the handler without sharing; `None`: the deadline has passed.
    pub(crate) async fn alone(self: &Arc<Self>, at: &Address, deadline: Instant) -> Option<Turn> {
        let request = QueuedRequest::new(self, at);
        let permits = Arc::clone(&self.queues().entry(at.clone()).or_default().alone);
        match timeout_at(deadline, permits.acquire_owned()).await {
            Ok(Ok(permit)) => Some(Turn {
                kind: TurnKind::Alone { _permit: permit },
                request,
                _waited_for: None,
            }),
            _ => None,
        }
    }

    /// Appends a request to the queue of an address.
    fn enqueue(self: &Arc<Self>, at: &Address) -> Position {
        // Made before the queues are locked, so that it is dropped after they are unlocked.
        let request = QueuedRequest::new(self, at);
        let mut queues = self.queues();
        let queue = queues.entry(at.clone()).or_default();
        if let Some(next) = &queue.next {
            return match waits::wait_for(next.run) {
                Some(wait) => Position::Follower(request, next.phase.subscribe(), wait),
                None => Position::Cycle,
            };
        }
        let shared = Arc::new(SharedRun::new());
        let turn = Turn {
            kind: TurnKind::Shared(Arc::clone(&shared)),
            request,
            _waited_for: waits::wait_for(shared.run),
        };
        let Some(running) = queue.running else {
            queue.running = Some(shared.run);
            return Position::First(turn);
        };
        let Some(wait) = shared.run.wait_for(running) else {
            drop(queues);
            return Position::Cycle;
        };
        let phase = shared.phase.subscribe();
        queue.next = Some(shared);
        Position::Next(turn, phase, wait)
    }

    /// Removes a run from the queue. If it was the current one, the next run begins.
    fn leave(&self, at: &Address, run: Run) {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(at) else {
            return;
        };
        if queue.running == Some(run) {
            let next = queue.next.take();
            queue.running = next.as_ref().map(|next| next.run);
            if let Some(next) = next {
                next.phase.send_replace(Phase::Running);
            }
        } else if queue.next.as_ref().is_some_and(|next| next.run == run) {
            queue.next = None;
        }
    }

    /// Summarizes the state that later steps of the model checker depend on.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> Vec<String> {
        let queues = self.queues();
        let phase = |shared: &Arc<SharedRun>| format!("{:?}", *shared.phase.borrow());
        let queue = |queue: &Queue| {
            let (requests, is_running) = (queue.requests, queue.running.is_some());
            format!(
                "{requests} {is_running} {:?}",
                queue.next.as_ref().map(phase)
            )
        };
        queues.values().map(queue).collect()
    }

    /// Locks the queues, even if the lock is poisoned: every critical section leaves them
    /// consistent.
    fn queues(&self) -> MutexGuard<'_, HashMap<Address, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            requests: 0,
            running: None,
            next: None,
            alone: Arc::new(Semaphore::new(MAX_ALONE)),
        }
    }
}

impl SharedRun {
    fn new() -> Self {
        Self {
            run: Run::new(),
            phase: watch::Sender::new(Phase::Waiting),
        }
    }
}

impl QueuedRequest {
    fn new(turns: &Arc<Turns>, at: &Address) -> Self {
        turns.queues().entry(at.clone()).or_default().requests += 1;
        Self {
            turns: Arc::clone(turns),
            at: at.clone(),
        }
    }
}

impl Drop for QueuedRequest {
    fn drop(&mut self) {
        let mut queues = self.turns.queues();
        if let Some(queue) = queues.get_mut(&self.at) {
            queue.requests -= 1;
            if queue.requests == 0 {
                queues.remove(&self.at);
            }
        }
    }
}

impl Turn {
    /// Runs the handler. Searches within it do not wait for runs that wait for this one.
    pub(crate) async fn run<T>(&self, handler: impl Future<Output = T>) -> T {
        match &self.kind {
            TurnKind::Shared(shared) => shared.run.scope(handler).await,
            TurnKind::Alone { .. } => handler.await,
        }
    }

    /// Shares the response of the run. `entry` is called only if other requests wait for it.
    pub(crate) fn share(self, entry: impl FnOnce() -> Option<Entry>) {
        let is_followed = match &self.kind {
            TurnKind::Shared(shared) => shared.phase.receiver_count() > 0,
            TurnKind::Alone { .. } => false,
        };
        if is_followed {
            self.close(entry().map_or(Phase::Failed, Phase::Landed));
        }
    }

    /// Lets the followers run the handler themselves, a few at a time.
    pub(crate) fn fail(self) {
        self.close(Phase::Failed);
    }

    fn close(&self, phase: Phase) {
        if let TurnKind::Shared(shared) = &self.kind {
            shared.phase.send_if_modified(|now| {
                let is_open = matches!(now, Phase::Waiting | Phase::Running);
                if is_open {
                    *now = phase;
                }
                is_open
            });
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let TurnKind::Shared(shared) = &self.kind else {
            return;
        };
        self.request.turns.leave(&self.request.at, shared.run);
        // After a panic, the followers do not wait for each other: the handler would most likely panic
        // for each of them.
        self.close(if std::thread::panicking() {
            Phase::Failed
        } else {
            Phase::Abandoned
        });
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::key::{CacheKey, DeclaredGroups};

    fn address() -> Address {
        Address {
            key: CacheKey::of_handler("key".to_owned(), 0),
            variant: None,
            groups: DeclaredGroups::Made(Vec::new()),
            response_groups: None,
            mounted: None,
        }
    }

    #[tokio::test]
    async fn a_request_that_leaves_the_queue_before_its_run_begins_holds_up_no_other() {
        let (turns, at) = (Arc::new(Turns::default()), address());
        let deadline = Instant::now() + Duration::from_secs(60);
        let first = turns.share(&at, deadline).await;
        assert!(turns.share(&at, deadline).now_or_never().is_none());
        let mut next = Box::pin(turns.share(&at, deadline));
        assert!(next.as_mut().now_or_never().is_none());
        let mut follower = Box::pin(turns.share(&at, deadline));
        assert!(follower.as_mut().now_or_never().is_none());
        drop(first);
        let ShareResult::Turn(next) = next.await else {
            panic!("the next request gets the turn");
        };
        let mut is_shared = false;
        next.share(|| {
            is_shared = true;
            None
        });
        assert!(is_shared);
    }

    #[tokio::test]
    async fn a_queue_ends_with_the_last_of_its_requests() {
        let (turns, at) = (Arc::new(Turns::default()), address());
        let deadline = Instant::now() + Duration::from_secs(60);
        let shared = turns.share(&at, deadline).await;
        let alone = turns.alone(&at, deadline).await;
        assert!(matches!(shared, ShareResult::Turn(_)) && alone.is_some());
        drop(shared);
        assert_eq!(turns.queues().len(), 1);
        drop(alone);
        assert!(turns.queues().is_empty());
    }
}
