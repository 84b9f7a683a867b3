//! The connections to the nodes of a cluster on which a near cache reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;

use super::member::run_within;
use crate::store::near::connection::TrackedConnection;
use crate::store::near::now;
use crate::store::redis::link::SharedConnection;

/// All connections on which copies may have been read, also those that were replaced.
#[derive(Default)]
pub(in super::super) struct Readers {
    readers: Mutex<Vec<Reader>>,
}

#[derive(Clone)]
struct Reader {
    shared: Weak<SharedConnection>,
    tracked: Arc<TrackedConnection>,
}

impl Readers {
    /// Adds a connection, before anything is read on it.
    pub(in super::super) fn add(
        &self,
        shared: &Arc<SharedConnection>,
        tracked: &Arc<TrackedConnection>,
    ) {
        let mut readers = self.lock();
        readers.retain(|reader| !reader.tracked.is_lost());
        readers.push(Reader {
            shared: Arc::downgrade(shared),
            tracked: Arc::clone(tracked),
        });
    }

    /// Sends a command on each connection except the member of the registry. Then each of them has a
    /// proof, or is disproved.
    pub(super) async fn prove(&self, except: &Arc<TrackedConnection>, window: Duration) {
        let readers = self.lock().clone();
        let others = readers.into_iter();
        let others = others.filter(|reader| !Arc::ptr_eq(&reader.tracked, except));
        // The evictions of all processes wait for the answer, so that a silent node gets half of a window
        // only.
        join_all(others.map(|reader| reader.prove(window / 2))).await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    async fn prove(self, budget: Duration) {
        let Some(shared) = self.shared.upgrade() else {
            return self.tracked.lose();
        };
        let sent = now();
        if !self.tracked.is_proved(sent) {
            // No copies that were read on it are served. A later lookup proves it again, so nobody waits
            // for a node that is silent for long.
            return self.tracked.disprove();
        }
        // The node refuses to read a name in one of its slots if it is a replica now.
        let mut commands = redis::pipe();
        commands.add_command(shared.read_of_pulse());
        let replies = run_within(budget, &mut shared.connection(), &commands).await;
        if replies.is_ok() && shared.check_trust().is_ok() {
            self.tracked.prove(sent);
        } else {
            self.tracked.disprove();
        }
    }
}
