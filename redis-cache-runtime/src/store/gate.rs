//! Holds every step whose order can matter until the model checker lets it through.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;
use tracing::Span;

/// The actor of a step. It is known by its span, which follows all work for a request.
pub(crate) type Actor = u64;

/// The fate of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Happens,
    /// The store did not take the command.
    Fails,
    /// The store took the command, and its reply was lost.
    ReplyIsLost,
}

/// Holds every step until it is let through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Step>,
    seen: BTreeMap<Actor, Seen>,
}

struct Step {
    actor: Actor,
    command: &'static str,
    go: oneshot::Sender<Fate>,
}

/// Hashes of all replies that an actor has seen, and of the last reply. Replies decide its next step.
#[derive(Clone, Copy, Debug, Default, Hash)]
struct Seen {
    all: u64,
    last: u64,
}

impl Gate {
    pub(crate) async fn step(&self, command: &'static str) -> Fate {
        let (go, let_through) = oneshot::channel();
        let actor = actor();
        self.state().waiting.push(Step { actor, command, go });
        let_through.await.unwrap_or(Fate::Fails)
    }

    /// Records a reply to the current actor. A repeated reply changes nothing, because actors poll while
    /// they wait.
    pub(crate) fn observe(&self, what: &str) {
        let mut state = self.state();
        let seen = state.seen.entry(actor()).or_default();
        let now = hash(&what);
        if seen.last != now {
            *seen = Seen {
                all: hash(&(seen.all, now)),
                last: now,
            };
        }
    }

    /// Returns the steps that can be let through, with their actors.
    pub(crate) fn waiting(&self) -> Vec<(Actor, &'static str)> {
        let mut state = self.state();
        state.waiting.retain(|step| !step.go.is_closed());
        let waiting = state.waiting.iter();
        waiting.map(|step| (step.actor, step.command)).collect()
    }

    pub(crate) fn let_through(&self, position: usize, fate: Fate) {
        let step = self.state().waiting.remove(position);
        // The client may have disconnected just now.
        let _ = step.go.send(fate);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Hash for Gate {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let state = self.state();
        for (actor, seen) in &state.seen {
            (actor, seen).hash(hasher);
        }
        for step in state.waiting.iter().filter(|step| !step.go.is_closed()) {
            (step.actor, step.command).hash(hasher);
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.actor, self.command)
    }
}

pub(crate) fn actor() -> Actor {
    Span::current().id().map_or(0, |id| id.into_u64())
}

pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
