//! Waits for pushed changes of values.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::commands::{Arg, bytes, read, values_of};
use super::request::{Purpose, Request};
use super::servers::Servers;
use crate::key::Name;

/// The wait if the name has no value. Without it, waits and lookups could alternate without a pause
/// while other processes take and release the lease.
const SHORTEST: Duration = Duration::from_millis(1);

/// The names whose changes requests wait for.
#[derive(Default)]
pub(super) struct Watched(Mutex<HashMap<Vec<u8>, Watches>>);

/// The watches of one name.
#[derive(Default)]
struct Watches {
    count: usize,
    changed: Arc<Notify>,
}

/// A name whose change a request waits for.
struct Watch<'a> {
    watched: &'a Watched,
    name: Vec<u8>,
    changed: Arc<Notify>,
}

impl Watched {
    fn watch(&self, name: Vec<u8>) -> Watch<'_> {
        let mut names = self.names();
        let watches = names.entry(name.clone()).or_default();
        watches.count += 1;
        let changed = Arc::clone(&watches.changed);
        drop(names);
        Watch {
            watched: self,
            name,
            changed,
        }
    }

    /// Ends the waits for a change of a name.
    pub(super) fn changed(&self, name: &[u8]) {
        if let Some(watches) = self.names().get(name) {
            watches.changed.notify_waiters();
        }
    }

    /// Ends all waits.
    pub(super) fn all_changed(&self) {
        let names = self.names();
        names.values().for_each(|it| it.changed.notify_waiters());
    }

    /// Locks the names. No code panics in a critical section.
    fn names(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Watches>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut names = self.watched.names();
        if let Some(watches) = names.get_mut(&self.name) {
            watches.count -= 1;
            if watches.count == 0 {
                names.remove(&self.name);
            }
        }
    }
}

impl Servers {
    /// Waits until the value of a name may have changed: for at most `longest` if the server pushes the
    /// change, and otherwise for `pause`. Waits only a moment if the name has no value.
    pub(super) async fn await_change(&self, name: Name<'_>, pause: Duration, longest: Duration) {
        let watch = self.context().watched.watch(name.concat().into_bytes());
        // Pushes count from here on, also those that arrive during the read.
        let changed = watch.changed.notified();
        let longest = match self.read_tracked(name).await {
            Some(None) => SHORTEST,
            Some(Some(_)) => longest,
            None => pause,
        };
        // The caller repeats its lookup in either case.
        let _ = timeout(longest, changed).await;
    }

    /// Reads a value on a connection on which the server pushes changes of the value. `None`: no push
    /// will arrive, because the server does not push or did not reply.
    async fn read_tracked(&self, name: Name<'_>) -> Option<Option<Bytes>> {
        let deadline = Instant::now() + Purpose::TRACKED.budget(self.context().budget());
        let node = self.node_of(name, deadline).await?;
        if !node.may_push() {
            return None;
        }
        let command = read(std::iter::once(Arg(name)));
        let request = Request::One(&command, Purpose::TRACKED);
        let reply = node.send(request, deadline).await.ok()?;
        reply.tracked?;
        values_of(reply.value).ok()?.into_iter().next().map(bytes)
    }
}
