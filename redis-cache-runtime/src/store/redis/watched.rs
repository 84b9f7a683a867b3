//! Waits for changes of values that the servers push.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::commands::{Arg, bytes, read, values_of};
use super::request::{Purpose, Request};
use super::servers::Servers;
use crate::key::Name;

/// The wait if the name has no value. Without it, there would be no pause at all if lookups find a value
/// nevertheless.
const SHORTEST: Duration = Duration::from_millis(1);

/// The names of which requests await a change.
#[derive(Default)]
pub(super) struct Watched(Mutex<HashMap<Vec<u8>, Arc<Notify>>>);

/// A name of which a request awaits a change.
struct Watch<'a> {
    watched: &'a Watched,
    name: Vec<u8>,
    changed: Arc<Notify>,
}

impl Watched {
    fn watch(&self, name: Vec<u8>) -> Watch<'_> {
        let changed = Arc::clone(self.names().entry(name.clone()).or_default());
        Watch {
            watched: self,
            name,
            changed,
        }
    }

    /// Ends the waits for a change of a name.
    pub(super) fn changed(&self, name: &[u8]) {
        if let Some(changed) = self.names().get(name) {
            changed.notify_waiters();
        }
    }

    /// Ends all waits.
    pub(super) fn all_changed(&self) {
        self.names().values().for_each(|it| it.notify_waiters());
    }

    /// Locks the names. No code panics in a critical section.
    fn names(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut names = self.watched.names();
        // The map has one reference, and this watch the other.
        if Arc::strong_count(&self.changed) <= 2 {
            names.remove(&self.name);
        }
    }
}

impl Servers {
    /// Waits until the value of a name changes: for at most `pushed` if the server pushes the change, and
    /// otherwise for `polled`. Waits only a moment if the name has no value.
    pub(super) async fn change(&self, name: Name<'_>, polled: Duration, pushed: Duration) {
        let watch = self.context().watched.watch(name.concat().into_bytes());
        let mut changed = pin!(watch.changed.notified());
        // A push that arrives after the read ends the wait, too.
        changed.as_mut().enable();
        let longest = match self.read_tracked(name).await {
            Some(None) => SHORTEST,
            Some(Some(_)) => pushed,
            None => polled,
        };
        // The caller looks in either case.
        let _ = timeout(longest, changed).await;
    }

    /// Reads a value on a connection on which the server pushes its change. `None`: the server does not
    /// push it.
    async fn read_tracked(&self, name: Name<'_>) -> Option<Option<Bytes>> {
        let deadline = Instant::now() + Purpose::TRACKED.budget(self.context().budget());
        let node = self.node_of(name, deadline).await?;
        if !node.may_track() {
            return None;
        }
        let command = read(std::iter::once(Arg(name)));
        let request = Request::One(&command, Purpose::TRACKED);
        let reply = node.send(request, deadline).await.ok()?;
        reply.tracked?;
        values_of(reply.value).ok()?.into_iter().next().map(bytes)
    }
}
