//! The connections on which a near cache reads.
//!
//! Each proves that the copies that were read on it are current. One is a member of the registry, and
//! acknowledges the evictions of all processes. In a cluster, it leads to the node that has the registry.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::clock::{Moment, nanos, now};
use crate::observe::fault::Fault;

/// The number of times that the connection is used in one window, while copies are served.
const ROUNDS: u32 = 4;

/// The largest number of attempts to register in one round.
const MAX_ATTEMPTS: usize = 3;

/// A connection whose server tracks the names that are read on it.
pub(crate) struct TrackedConnection {
    /// The start of the names by which the registry knows the connection.
    id: String,
    /// The number of the current name. A name that was removed is not used again.
    generation: AtomicU32,
    window: Duration,
    /// The time at which the newest command that has a reply was sent; 0: there is no proof.
    proved: AtomicU64,
    /// The time of the last failure. Only a command that was sent later proves anything.
    disproved: AtomicU64,
    /// The number of changes of the registry that were pushed.
    changes: AtomicU64,
    /// The number of changes before the last read that found this connection in the registry, plus one;
    /// 0: none did.
    member_at: AtomicU64,
    /// The process keeps no copies any more.
    has_left: AtomicBool,
    /// A copy was served since the last round.
    is_used: AtomicBool,
    used: Notify,
    changed: Notify,
}

/// A number that each eviction increments. It counts within one era: if the store loses the number, the
/// next number has another era.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bell {
    pub(crate) era: Vec<u8>,
    pub(crate) number: u64,
}

impl Bell {
    /// Returns whether the evictions of another bell are among those of this bell.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        self.era == other.era && self.number >= other.number
    }
}

/// The state of a connection in the registry, and the bell, as read on the connection.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    /// The registry has the name, and no process has given it up.
    pub(crate) is_member: bool,
    pub(crate) bell: Option<Bell>,
}

/// The commands of a connection that keeps copies. They are sent on the connection itself.
pub(crate) trait MemberCommands: Sync {
    /// Reads the registry and the bell. Their changes are pushed from then on.
    fn observe(&self, name: &str) -> impl Future<Output = Result<Observed, Fault>> + Send;

    /// Sends a command on each other connection on which the process reads what it keeps. Each one has a
    /// proof then, or is disproved.
    fn prove_others(&self) -> impl Future<Output = ()> + Send;

    /// Adds a name to the registry in place of another.
    fn register(
        &self,
        name: &str,
        instead_of: &str,
        window: Duration,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Removes a name from the registry.
    fn deregister(&self, name: &str) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Acknowledges that all invalidations before a number were applied.
    fn acknowledge(
        &self,
        name: &str,
        bell: &Bell,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}

impl TrackedConnection {
    pub(crate) fn new(id: String, window: Duration) -> Self {
        Self {
            id,
            generation: AtomicU32::new(0),
            window,
            proved: AtomicU64::new(0),
            disproved: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            member_at: AtomicU64::new(0),
            has_left: AtomicBool::new(false),
            is_used: AtomicBool::new(false),
            used: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Returns whether there is a proof that the invalidations on this connection have been applied.
    pub(crate) fn is_proved(&self, now: Moment) -> bool {
        let sent = self.proved.load(Ordering::SeqCst);
        let until = sent.saturating_add(nanos(self.window));
        sent > self.disproved.load(Ordering::SeqCst) && now < until
    }

    /// Returns whether the process may serve copies, as far as the member of the registry decides: it is
    /// still a member, and has a proof.
    pub(super) fn may_serve(&self, now: Moment) -> bool {
        let is_member = self.is_member();
        // Also without a proof: in a cluster, the next round is the only way to another one.
        if is_member && !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
            self.used.notify_one();
        }
        is_member && self.is_proved(now)
    }

    /// Returns whether the registry has this connection, as far as pushes tell.
    pub(super) fn is_member(&self) -> bool {
        let member_at = self.member_at.load(Ordering::SeqCst);
        member_at == self.changes.load(Ordering::SeqCst) + 1
            && !self.has_left.load(Ordering::SeqCst)
    }

    /// Ends the service of copies, and takes the connection out of the registry, so that no eviction
    /// waits for it.
    pub(crate) async fn leave(&self, commands: &impl MemberCommands) -> Result<(), Fault> {
        self.has_left.store(true, Ordering::SeqCst);
        commands.deregister(&self.name()).await
    }

    /// Records that a command has a reply, and when it was sent.
    pub(crate) fn prove(&self, sent: Moment) {
        self.proved.fetch_max(sent, Ordering::SeqCst);
    }

    /// Ends the proof, because a command failed or the server is not trusted any more.
    pub(crate) fn disprove(&self) {
        self.disproved.fetch_max(now(), Ordering::SeqCst);
    }

    /// Ends the proof for ever, because the connection is lost.
    pub(crate) fn lose(&self) {
        self.disproved.store(Moment::MAX, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Returns whether the connection is lost.
    #[cfg(feature = "cluster")]
    pub(crate) fn is_lost(&self) -> bool {
        self.disproved.load(Ordering::SeqCst) == Moment::MAX
    }

    /// Ends the service of copies until a read finds this connection in the registry again.
    pub(crate) fn resign(&self) {
        self.member_at.store(0, Ordering::SeqCst);
    }

    /// Records that a change of the registry was pushed.
    pub(crate) fn registry_changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Records that an eviction has rung the bell.
    pub(crate) fn bell_rung(&self) {
        self.changed.notify_one();
    }

    /// Waits until the next round is due.
    pub(crate) async fn rest(&self) {
        if self.is_used.swap(false, Ordering::Relaxed) {
            let pause = tokio::time::sleep(self.window / ROUNDS);
            tokio::select! {
                () = pause => {}
                () = self.changed.notified() => {}
            }
        } else {
            tokio::select! {
                () = self.used.notified() => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Waits until a change of the registry or the bell is pushed.
    #[cfg(test)]
    pub(crate) async fn change_is_pushed(&self) {
        self.changed.notified().await;
    }

    /// Summarizes the state that later steps of the model checker depend on.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} {} {}",
            self.name(),
            self.is_member(),
            self.is_proved(now())
        )
    }

    /// Reads the registry and the bell, registers the connection if needed, and acknowledges evictions
    /// after those in `acknowledged`.
    pub(crate) async fn attend(
        &self,
        commands: &impl MemberCommands,
        acknowledged: &mut Option<Bell>,
    ) -> Result<(), Fault> {
        for _ in 0..MAX_ATTEMPTS {
            if self.has_left.load(Ordering::SeqCst) {
                return Ok(());
            }
            let changes = self.changes.load(Ordering::SeqCst);
            let name = self.name();
            let sent = now();
            let observed = commands.observe(&name).await;
            let observed = observed.inspect_err(|_| self.resign())?;
            self.prove(sent);
            if observed.is_member {
                // The reply proves nothing about the connections to other nodes.
                commands.prove_others().await;
                let bell = observed.bell;
                if let Some(bell) = bell.filter(|bell| acknowledged.as_ref() != Some(bell)) {
                    commands.acknowledge(&name, &bell).await?;
                    *acknowledged = Some(bell);
                }
                self.member_at.store(changes + 1, Ordering::SeqCst);
                return Ok(());
            }
            self.resign();
            if self.has_left.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.generation.fetch_add(1, Ordering::SeqCst);
            commands.register(&self.name(), &name, self.window).await?;
            *acknowledged = None;
        }
        // The registry was lost each time.
        Err(Fault::Protocol)
    }

    /// Returns the name by which the registry knows the connection.
    fn name(&self) -> String {
        format!("{}-{}", self.id, self.generation.load(Ordering::SeqCst))
    }
}
