//! Runs whose responses are not stored, because the store has a fault or another process holds the
//! lease for too long. For each address one request runs the handler at a time.
//!
//! Requests that arrive during a run share the next run. It begins after all of them arrived, so no
//! response is older than its request. If a run cannot be shared, a few run at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::waits::{self, Run, Wait};
use crate::key::Address;
use crate::store::entry::Entry;

/// The most runs of one address at a time that cannot be shared.
const ALONE: usize = 4;

/// The runs that are under way and not stored.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    lines: Mutex<HashMap<Address, Line>>,
}

/// The queue of requests for one address.
#[derive(Debug)]
struct Line {
    /// The number of requests that run or wait. Without any the line is removed.
    places: usize,
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
    /// The request that would have run the handler has left.
    Abandoned,
}

/// The way in which a request is answered.
pub(crate) enum Queued {
    /// The request runs the handler.
    Turn(Turn),
    /// The run of another request made this entry.
    Answered(Entry),
    /// The request has waited long enough, or may not wait: it runs the handler without a turn.
    Alone,
}

/// The right to run the handler. Dropped, it lets the next run begin.
pub(crate) struct Turn {
    place: Place,
    kind: Kind,
    /// Records that the run around this one waits for it.
    _waited_for: Option<Wait>,
}

enum Kind {
    Shared(Arc<SharedRun>),
    Alone { _permit: OwnedSemaphorePermit },
}

/// A request in the line of an address.
struct Place {
    turns: Arc<Turns>,
    at: Address,
}

/// The position of a request in a line.
enum Standing {
    /// Nobody runs the handler.
    First(Turn),
    /// The request runs the handler when the current run has ended.
    Next(Turn, watch::Receiver<Phase>, Wait),
    /// Another request runs the handler then, and this one shares the response.
    Follower(Place, watch::Receiver<Phase>, Wait),
    /// The run that the request would wait for waits for the request.
    Circle,
}

impl Turns {
    /// Waits for a turn, or for the run of another that begins after this call.
    pub(crate) async fn share(self: &Arc<Self>, at: &Address, deadline: Instant) -> Queued {
        loop {
            match self.stand(at) {
                Standing::First(turn) => return Queued::Turn(turn),
                Standing::Next(turn, mut phase, _wait) => {
                    let begun = phase.wait_for(|phase| !matches!(phase, Phase::Waiting));
                    return match timeout_at(deadline, begun).await {
                        Ok(Ok(_)) => Queued::Turn(turn),
                        _ => Queued::Alone,
                    };
                }
                Standing::Follower(_place, mut phase, _wait) => {
                    let is_over = |phase: &Phase| !matches!(phase, Phase::Waiting | Phase::Running);
                    let Ok(over) = timeout_at(deadline, phase.wait_for(is_over)).await else {
                        return Queued::Alone;
                    };
                    match over.as_deref() {
                        Ok(Phase::Landed(entry)) => return Queued::Answered(entry.clone()),
                        Ok(Phase::Abandoned) => {}
                        _ => break,
                    }
                }
                Standing::Circle => return Queued::Alone,
            }
        }
        let turn = self.alone(at, deadline).await;
        turn.map_or(Queued::Alone, Queued::Turn)
    }

    /// Waits until fewer than the most unshared runs are under way; `None`: the deadline has passed.
    pub(crate) async fn alone(self: &Arc<Self>, at: &Address, deadline: Instant) -> Option<Turn> {
        let place = Place::new(self, at);
        let permits = Arc::clone(&self.lines().entry(at.clone()).or_default().alone);
        match timeout_at(deadline, permits.acquire_owned()).await {
            Ok(Ok(permit)) => Some(Turn {
                kind: Kind::Alone { _permit: permit },
                place,
                _waited_for: None,
            }),
            _ => None,
        }
    }

    /// Joins the line of an address.
    fn stand(self: &Arc<Self>, at: &Address) -> Standing {
        // Created before the lines are locked, so that it is dropped after they are unlocked.
        let place = Place::new(self, at);
        let mut lines = self.lines();
        let line = lines.entry(at.clone()).or_default();
        if let Some(next) = &line.next {
            return match waits::wait_for(next.run) {
                Some(wait) => Standing::Follower(place, next.phase.subscribe(), wait),
                None => Standing::Circle,
            };
        }
        let shared = Arc::new(SharedRun::new());
        let turn = Turn {
            kind: Kind::Shared(Arc::clone(&shared)),
            place,
            _waited_for: waits::wait_for(shared.run),
        };
        let Some(running) = line.running else {
            line.running = Some(shared.run);
            return Standing::First(turn);
        };
        let Some(wait) = shared.run.wait_for(running) else {
            drop(lines);
            return Standing::Circle;
        };
        let phase = shared.phase.subscribe();
        line.next = Some(shared);
        Standing::Next(turn, phase, wait)
    }

    /// Lets the next run begin, or removes a run from the line that has not begun.
    fn leave(&self, at: &Address, run: Run) {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(at) else {
            return;
        };
        if line.running == Some(run) {
            let next = line.next.take();
            line.running = next.as_ref().map(|next| next.run);
            if let Some(next) = next {
                next.phase.send_replace(Phase::Running);
            }
        } else if line.next.as_ref().is_some_and(|next| next.run == run) {
            line.next = None;
        }
    }

    /// Summarizes the state that later steps depend on.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> Vec<String> {
        let lines = self.lines();
        let phase = |shared: &Arc<SharedRun>| format!("{:?}", *shared.phase.borrow());
        let line = |line: &Line| {
            let (places, is_running) = (line.places, line.running.is_some());
            format!("{places} {is_running} {:?}", line.next.as_ref().map(phase))
        };
        lines.values().map(line).collect()
    }

    /// Locks the lines. A panic in a critical section leaves them consistent.
    fn lines(&self) -> MutexGuard<'_, HashMap<Address, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Line {
    fn default() -> Self {
        Self {
            places: 0,
            running: None,
            next: None,
            alone: Arc::new(Semaphore::new(ALONE)),
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

impl Place {
    fn new(turns: &Arc<Turns>, at: &Address) -> Self {
        turns.lines().entry(at.clone()).or_default().places += 1;
        Self {
            turns: Arc::clone(turns),
            at: at.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.turns.lines();
        if let Some(line) = lines.get_mut(&self.at) {
            line.places -= 1;
            if line.places == 0 {
                lines.remove(&self.at);
            }
        }
    }
}

impl Turn {
    /// Runs the handler. Its own lookups do not wait for requests that wait for this run.
    pub(crate) async fn run<T>(&self, handler: impl Future<Output = T>) -> T {
        match &self.kind {
            Kind::Shared(shared) => shared.run.scope(handler).await,
            Kind::Alone { .. } => handler.await,
        }
    }

    /// Shares the response of the run, which is encoded only if others wait for it.
    pub(crate) fn share(self, entry: impl FnOnce() -> Option<Entry>) {
        let is_followed = match &self.kind {
            Kind::Shared(shared) => shared.phase.receiver_count() > 0,
            Kind::Alone { .. } => false,
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
        if let Kind::Shared(shared) = &self.kind {
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
        let Kind::Shared(shared) = &self.kind else {
            return;
        };
        self.place.turns.leave(&self.place.at, shared.run);
        // If a handler panics, it would panic for the next request too, and the requests would take
        // turns.
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
