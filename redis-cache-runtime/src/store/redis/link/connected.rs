//! An open connection.

use std::sync::{Arc, OnceLock};

#[cfg(feature = "cluster")]
use redis::Cmd;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::observe::fault::Fault;
use crate::store::Incarnation;
use crate::store::near::connection::TrackedConnection;
use crate::store::redis::context::ClientContext;
use crate::store::redis::health::{Health, Trust};
use crate::store::redis::near;
use crate::store::redis::server::Opened;
use crate::store::redis::server_state::ServerState;

#[derive(Clone)]
pub(in crate::store::redis) struct Connected {
    pub(in crate::store::redis) connection: MultiplexedConnection,
    pub(super) shared: Arc<SharedConnection>,
    /// The number of bytes that had arrived when this clone was made.
    pub(super) received: u64,
}

/// The parts of a connection that its clones share. A lookup carries a clone, which has to be small.
pub(in crate::store::redis) struct SharedConnection {
    pub(super) context: Arc<ClientContext>,
    pub(super) health: Health,
    /// The incarnation of the server.
    pub(super) incarnation: Incarnation,
    /// The generation number of the primary.
    pub(super) generation: u64,
    pub(super) server_state: Arc<ServerState>,
    /// Set if the server tracks what is read on the connection.
    pub(super) tracked: Option<Arc<TrackedConnection>>,
    pub(super) tasks: Tasks,
    pub(super) opened: Opened,
}

/// The tasks that end with a connection. Each is started at most once.
#[derive(Default)]
pub(super) struct Tasks {
    /// Attends to the tracked connection.
    attendant: OnceLock<AbortOnDropHandle<()>>,
    /// Waits until the primary is replaced.
    follower: OnceLock<AbortOnDropHandle<()>>,
}

impl Connected {
    pub(super) fn new(shared: SharedConnection) -> Self {
        let shared = Arc::new(shared);
        shared.serve_near_cache();
        shared.follow_primary();
        Self {
            connection: shared.connection(),
            shared,
            received: 0,
        }
    }

    pub(super) fn now(mut self) -> Self {
        self.received = self.shared.health.received();
        self
    }

    /// Converts a time to milliseconds since the connection was opened.
    pub(in crate::store::redis) fn moment(&self, at: Instant) -> u64 {
        self.shared.health.millis(at)
    }

    /// Returns the trust in replies that arrived by a moment.
    pub(in crate::store::redis) fn trust_at(&self, moment: u64) -> Trust {
        if self.is_replaced() {
            return Trust::Unattended;
        }
        self.shared.health.trust_at(moment)
    }

    /// Stops serving the copies that were read on the connection.
    pub(in crate::store::redis) async fn leave_near_cache(&self) {
        if let Some(tracked) = self.tracked() {
            near::leave(&self.shared, tracked).await;
        }
    }

    /// Returns the tracked connection, if the server tracks what is read on it.
    pub(in crate::store::redis) fn tracked(&self) -> Option<&Arc<TrackedConnection>> {
        self.shared.tracked()
    }

    /// Returns the parts that the clones of the connection share.
    #[cfg(feature = "cluster")]
    pub(in crate::store::redis) fn into_shared(self) -> Arc<SharedConnection> {
        self.shared
    }

    pub(super) fn disprove(&self) {
        if let Some(tracked) = self.tracked() {
            tracked.disprove();
        }
    }

    /// Returns the time at which the connection was opened.
    pub(in crate::store::redis) fn since(&self) -> Instant {
        self.shared.health.since()
    }

    /// Returns the incarnation of the server.
    pub(in crate::store::redis) fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// Returns the trust until a deadline. If it ends before the deadline, returns the trust as it is now:
    /// a reply must be checked again when it has arrived.
    pub(in crate::store::redis) fn trust(&self, deadline: Instant) -> Trust {
        self.shared.trust(deadline)
    }

    /// Returns whether the primary has replaced another and is still settling: other processes may not
    /// know the new primary yet.
    pub(super) fn has_moved(&self) -> bool {
        self.shared.generation > 1 && self.trust(Instant::now()) == Trust::Doubted(Fault::Settling)
    }

    fn is_replaced(&self) -> bool {
        self.shared.is_replaced()
    }
}

impl SharedConnection {
    pub(in crate::store::redis) fn context(&self) -> &ClientContext {
        &self.context
    }

    pub(in crate::store::redis) fn connection(&self) -> MultiplexedConnection {
        self.opened.connection.clone()
    }

    /// Returns the tracked connection, if the server tracks what is read on it.
    pub(in crate::store::redis) fn tracked(&self) -> Option<&Arc<TrackedConnection>> {
        self.tracked.as_ref()
    }

    /// Returns a command that reads a name in one of the slots of the server.
    #[cfg(feature = "cluster")]
    pub(in crate::store::redis) fn read_of_pulse(&self) -> Cmd {
        self.server_state.pulse.read()
    }

    /// Lets the near cache use the connection. In a cluster, one task attends to the registry, and proves
    /// the connections to all nodes.
    fn serve_near_cache(self: &Arc<Self>) {
        let Some(tracked) = &self.tracked else {
            return;
        };
        if self.context.near_cache.is_none() {
            return;
        }
        #[cfg(feature = "cluster")]
        if let Some(readers) = &self.context.readers {
            return readers.add(self, tracked);
        }
        let attendant = near::attend(Arc::downgrade(self), Arc::clone(tracked));
        let attendant = AbortOnDropHandle::new(tokio::spawn(attendant));
        let _ = self.tasks.attendant.set(attendant);
    }

    /// Ends the trust in the connection when there is another primary.
    fn follow_primary(self: &Arc<Self>) {
        if self.server_state.finder.is_fixed() {
            return;
        }
        let (context, state) = (Arc::clone(&self.context), Arc::clone(&self.server_state));
        let (this, generation) = (Arc::downgrade(self), self.generation);
        let follower = tokio::spawn(async move {
            let next = state.finder.wait_for_next(generation, &context).await;
            state.observe_generation(next);
            if let Some(this) = this.upgrade() {
                this.health.wake();
            }
        });
        let _ = self.tasks.follower.set(AbortOnDropHandle::new(follower));
    }

    fn trust(&self, deadline: Instant) -> Trust {
        if self.is_replaced() {
            return Trust::Unattended;
        }
        self.health.trust(deadline)
    }

    /// Returns the reason why a reply that has arrived just now is not trusted, if there is one.
    pub(in crate::store::redis) fn check_trust(&self) -> Result<(), Fault> {
        self.trust(Instant::now()).check()
    }

    /// Returns whether there is a newer primary, which may have taken evictions that this primary has not.
    fn is_replaced(&self) -> bool {
        self.server_state.has_newer_than(self.generation)
    }
}

impl Drop for SharedConnection {
    fn drop(&mut self) {
        if let Some(tracked) = &self.tracked {
            tracked.lose();
        }
    }
}
