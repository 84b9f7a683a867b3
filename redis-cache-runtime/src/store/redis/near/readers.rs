//! The connections to the nodes of a cluster on which a near cache reads.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::ConnectionLike;
use tokio::time::timeout;

use crate::observe::fault::Fault;
use crate::store::near::connection::TrackedConnection;
use crate::store::near::now;
use crate::store::redis::commands::refuse_errors;
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
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| !reader.tracked.is_lost());
        readers.push(Reader {
            shared: Arc::downgrade(shared),
            tracked: Arc::clone(tracked),
        });
    }

    /// Sends a command on each connection except the member of the registry. Then each of them has a
    /// proof, or is disproved.
    pub(super) async fn prove(&self, except: &Arc<TrackedConnection>, window: Duration) {
        let others = self.all().into_iter();
        let others = others.filter(|reader| !Arc::ptr_eq(&reader.tracked, except));
        // The evictions of all processes wait for the answer, so that a silent node gets half of a window
        // only.
        join_all(others.map(|reader| reader.prove(window / 2))).await;
    }

    fn all(&self) -> Vec<Reader> {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.clone()
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
        match timeout(budget, answer(&shared)).await {
            Ok(Ok(())) => self.tracked.prove(sent),
            _ => self.tracked.disprove(),
        }
    }
}

/// Reads a name in one of the slots of the node. The node refuses that if it is a replica now.
async fn answer(shared: &SharedConnection) -> Result<(), Fault> {
    let command = shared.read_of_pulse();
    let reply = shared.connection().req_packed_command(&command).await;
    refuse_errors(reply.map_err(|error| Fault::from(&error))?)?;
    shared.check_trust()
}
