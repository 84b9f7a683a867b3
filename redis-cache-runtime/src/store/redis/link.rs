//! One connection to a primary: opened when it is first needed, replaced in the background when it is
//! lost.
//!
//! After Redis has been unreachable, lookups fail at once for a while: in that time the other processes
//! send their pending evictions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join;
#[cfg(feature = "cluster")]
use redis::Cmd;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{RedisFuture, Value};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::context::ClientContext;
use super::end::End;
use super::health::{Health, Trust, loss_of};
use super::near::{self, Pushes};
use super::pulse::Answer;
use super::reconnecting::{Availability, Loss, Open, Reconnecting};
use super::request::{Purpose, until};
use super::server::{Opened, Server};
use super::server_info::ServerInfo;
use super::server_state::ServerState;
use crate::observe::fault::{Fault, FaultLog};
use crate::observe::status::ConnectionState;
use crate::store::Incarnation;
use crate::store::near::connection::TrackedConnection;

pub(super) struct Link {
    reconnecting: Reconnecting<Opener>,
}

struct Opener {
    context: Arc<ClientContext>,
    server_state: Arc<ServerState>,
    /// The server is asked to track what is read on the connection.
    is_tracked: bool,
    /// Since the last connection was opened, Redis was unreachable for a time, or was replaced.
    was_away: AtomicBool,
}

#[derive(Clone)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    shared: Arc<SharedConnection>,
    /// The number of bytes that had arrived when this clone was made.
    received: u64,
}

/// The parts of a connection that its clones share. A lookup carries a clone, which has to be small.
pub(super) struct SharedConnection {
    context: Arc<ClientContext>,
    health: Health,
    /// The incarnation of the server.
    incarnation: Incarnation,
    /// The generation number of the primary.
    generation: u64,
    server_state: Arc<ServerState>,
    /// Set if the server tracks what is read on the connection.
    tracked: Option<Arc<TrackedConnection>>,
    /// The task that attends to the tracked connection.
    attendant: OnceLock<AbortOnDropHandle<()>>,
    opened: Opened,
}

impl Link {
    pub(super) fn new(context: Arc<ClientContext>, server_state: Arc<ServerState>) -> Self {
        Self::open_by(context, server_state, false)
    }

    /// Returns a connection on which the server is asked to track what is read.
    pub(super) fn tracked(context: Arc<ClientContext>, server_state: Arc<ServerState>) -> Self {
        Self::open_by(context, server_state, true)
    }

    fn open_by(
        context: Arc<ClientContext>,
        server_state: Arc<ServerState>,
        is_tracked: bool,
    ) -> Self {
        let reconnecting = Reconnecting::new(Opener {
            context,
            server_state,
            is_tracked,
            was_away: AtomicBool::new(false),
        });
        Self { reconnecting }
    }

    /// Returns the connection, if one is open.
    pub(super) fn connected(&self) -> Option<Connected> {
        self.reconnecting.current().map(Connected::now)
    }

    /// Returns whether a request may be sent: the connection is trusted, has not been needed yet, or is
    /// replaced before the request is sent.
    pub(super) fn is_usable(&self) -> bool {
        self.reconnecting.is(|availability| match availability {
            Availability::Idle => true,
            Availability::Up(connected) => connected.trust(Instant::now()).is_usable(),
            Availability::Opening | Availability::Down => false,
        })
    }

    /// Returns whether the connection leads to a primary that has replaced another and is still settling.
    pub(super) fn has_moved(&self) -> bool {
        self.reconnecting.is(|availability| match availability {
            Availability::Up(connected) => connected.has_moved(),
            Availability::Idle | Availability::Opening | Availability::Down => false,
        })
    }

    /// Opens the first connection, or waits while a connection is being opened.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connected, Fault> {
        self.reconnecting.wait(deadline).await.map(Connected::now)
    }

    /// Records the end of an operation, and replaces a lost connection.
    pub(super) fn note<T>(&self, end: &End<T>, purpose: Purpose, on: &Connected) {
        if !matches!(end, Ok(Ok(_))) {
            on.disprove();
        }
        if let Some(loss) = on.shared.health.note(end, purpose, on.received) {
            self.reconnecting.lose(on, loss);
        }
    }

    /// Replaces a connection on which this process has sent no pulse for too long.
    pub(super) fn replace(&self, unattended: &Connected) {
        self.reconnecting.lose(unattended, Loss::Closed);
    }

    pub(super) fn state(&self) -> ConnectionState {
        match self.reconnecting.availability() {
            Availability::Idle => ConnectionState::Idle,
            Availability::Opening => ConnectionState::Connecting,
            Availability::Up(connected) => match connected.trust(Instant::now()) {
                trust if trust.is_usable() => ConnectionState::Up,
                Trust::Doubted(Fault::Settling) => ConnectionState::Settling,
                _ => ConnectionState::Untrusted,
            },
            Availability::Down => ConnectionState::Down,
        }
    }
}

impl Connected {
    fn now(mut self) -> Self {
        self.received = self.shared.health.received();
        self
    }

    /// Converts a time to milliseconds since the connection was opened.
    pub(super) fn moment(&self, at: Instant) -> u64 {
        self.shared.health.millis(at)
    }

    /// Returns the trust in replies that arrived by a moment.
    pub(super) fn trust_at(&self, moment: u64) -> Trust {
        if self.is_replaced() {
            return Trust::Unattended;
        }
        self.shared.health.trust_at(moment)
    }

    /// Stops serving the copies that were read on the connection.
    pub(super) async fn leave_near_cache(&self) {
        if let Some(tracked) = self.tracked() {
            near::leave(&self.shared, tracked).await;
        }
    }

    /// Returns the tracked connection, if the server tracks what is read on it.
    pub(super) fn tracked(&self) -> Option<&Arc<TrackedConnection>> {
        self.shared.tracked()
    }

    /// Returns the parts that the clones of the connection share.
    #[cfg(feature = "cluster")]
    pub(super) fn into_shared(self) -> Arc<SharedConnection> {
        self.shared
    }

    fn disprove(&self) {
        if let Some(tracked) = self.tracked() {
            tracked.disprove();
        }
    }

    /// Returns the time at which the connection was opened.
    pub(super) fn since(&self) -> Instant {
        self.shared.health.since()
    }

    /// Returns the incarnation of the server.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// Returns the trust until a deadline. If it ends before the deadline, returns the trust as it is now:
    /// a reply must be checked again when it has arrived.
    pub(super) fn trust(&self, deadline: Instant) -> Trust {
        self.shared.trust(deadline)
    }

    /// Returns whether the primary has replaced another and is still settling: other processes may not
    /// know the new primary yet.
    fn has_moved(&self) -> bool {
        self.shared.generation > 1 && self.trust(Instant::now()) == Trust::Doubted(Fault::Settling)
    }

    fn is_replaced(&self) -> bool {
        self.shared.is_replaced()
    }
}

impl SharedConnection {
    pub(super) fn context(&self) -> &ClientContext {
        &self.context
    }

    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.opened.connection.clone()
    }

    /// Returns the tracked connection, if the server tracks what is read on it.
    pub(super) fn tracked(&self) -> Option<&Arc<TrackedConnection>> {
        self.tracked.as_ref()
    }

    /// Returns a command that reads a name in one of the slots of the server.
    #[cfg(feature = "cluster")]
    pub(super) fn read_of_pulse(&self) -> Cmd {
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
        // A connection has one attendant.
        let _ = self.attendant.set(attendant);
    }

    fn trust(&self, deadline: Instant) -> Trust {
        if self.is_replaced() {
            return Trust::Unattended;
        }
        self.health.trust(deadline)
    }

    /// Returns the reason why a reply that has arrived just now is not trusted, if there is one.
    pub(super) fn check_trust(&self) -> Result<(), Fault> {
        self.trust(Instant::now()).check()
    }

    /// Returns whether another connection leads to a newer primary, which may have taken evictions that
    /// this primary has not.
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

impl Open for Opener {
    type Opened = Connected;

    /// Opens a connection to a primary that answers in time.
    async fn open(&self) -> Result<Connected, Fault> {
        let (server, generation) = self.server_state.finder.find(&self.context).await?;
        let (opened, pushes) = self.connect(&server).await?;
        let terms = self.context.terms(Arc::clone(&self.server_state.distance));
        let health = Health::new(terms, opened.received.clone());
        let mut connection = opened.connection.clone();
        let informed = timeout(
            self.context.budget.largest(),
            self.read_server_info(&mut connection, &health),
        );
        let server = informed.await.map_err(|_| Fault::Timeout)??;
        let tracked = self.track(pushes, &server, &mut connection).await?;
        self.server_state.observe_generation(generation);
        let shared = Arc::new(SharedConnection {
            context: Arc::clone(&self.context),
            health,
            incarnation: server.incarnation,
            generation,
            server_state: Arc::clone(&self.server_state),
            tracked,
            attendant: OnceLock::new(),
            opened,
        });
        shared.serve_near_cache();
        Ok(Connected {
            connection,
            shared,
            received: 0,
        })
    }

    async fn rest(opened: &Connected) {
        opened.shared.health.rest().await;
    }

    async fn check(&self, opened: &Connected) -> Option<Loss> {
        if opened.trust(Instant::now()) == Trust::Unattended {
            return Some(Loss::Closed);
        }
        if opened.shared.health.needs_server_info() && self.is_another(opened).await {
            return Some(Loss::Closed);
        }
        // Pulses must not wait long for the Sentinels.
        let is_current = self
            .server_state
            .finder
            .is_current(opened.shared.generation, &self.context);
        let is_current = timeout(self.context.pulse / 4, is_current);
        let (loss, is_current) = join(self.pulse(opened), is_current).await;
        loss.or((is_current == Ok(false)).then_some(Loss::Closed))
    }

    fn is_same(one: &Connected, other: &Connected) -> bool {
        Arc::ptr_eq(&one.shared, &other.shared)
    }

    fn works(opened: &Connected) -> bool {
        !matches!(
            opened.trust(Instant::now()),
            Trust::Doubted(Fault::EvictionsRefused)
        )
    }

    fn mark_away(&self) {
        if self.is_optional() {
            return;
        }
        self.was_away.store(true, Ordering::Relaxed);
        self.server_state.mark_away();
    }

    fn patience(&self) -> Duration {
        self.context.budget()
    }

    fn faults(&self) -> Option<&FaultLog> {
        (!self.is_optional()).then_some(&*self.context.faults)
    }
}

impl Opener {
    /// Returns whether the cache works without the connection: then requests that wait for another
    /// process repeat their lookup.
    fn is_optional(&self) -> bool {
        self.is_tracked && self.context.near_cache.is_none()
    }

    /// Connects. A tracked connection receives pushes, unless the server cannot send them.
    async fn connect(&self, server: &Server) -> Result<(Opened, Option<Pushes>), Fault> {
        let pushes = self
            .is_tracked
            .then(|| Pushes::new(&self.context))
            .flatten();
        let Some(pushes) = pushes else {
            return Ok((server.connect(&self.context, None).await?, None));
        };
        match server.connect(&self.context, Some(pushes.clone())).await {
            Ok(opened) => Ok((opened, Some(pushes))),
            Err(fault) if fault.is_absence() => Err(fault),
            Err(fault) => {
                let opened = server.connect(&self.context, None).await?;
                self.context.warn_of_tracking(&fault.to_string());
                Ok((opened, None))
            }
        }
    }

    /// Asks the server to track what is read, if its pushes can be relied on.
    async fn track(
        &self,
        pushes: Option<Pushes>,
        server: &ServerInfo,
        connection: &mut MultiplexedConnection,
    ) -> Result<Option<Arc<TrackedConnection>>, Fault> {
        let Some(pushes) = pushes else {
            return Ok(None);
        };
        if !server.pushes_in_order {
            self.context
                .warn_of_tracking("its version is unknown or too old");
            return Ok(None);
        }
        pushes.start(connection).await
    }

    /// Reads the server info and sends the first pulse. A replica is refused, and so is a server that is
    /// still loading its data.
    async fn read_server_info(
        &self,
        connection: &mut MultiplexedConnection,
        health: &Health,
    ) -> Result<ServerInfo, Fault> {
        let mut commands = redis::pipe();
        commands
            .cmd("INFO")
            .add_command(self.server_state.pulse.command());
        let pulse = health.pulses();
        let replies = connection.req_packed_commands(&commands, 0, 2).await;
        let replies = replies.map_err(|error| Fault::from(&error))?;
        let [info, answer]: [Value; 2] = replies.try_into().map_err(|_| Fault::Protocol)?;
        let server = ServerInfo::of_reply(info)?;
        if server.is_replica {
            return Err(Fault::Refused("READONLY".to_owned()));
        }
        if server.is_loading {
            return Err(Fault::Refused("LOADING".to_owned()));
        }
        self.context.warn_of_unbounded(&server);
        self.server_state.observe_pushes(server.pushes_in_order);
        if self.server_state.has_changed_to(server.incarnation) {
            tracing::info!(
                "this Redis restarted or was replaced and may have lost evictions: its stored entries are \
                 not used"
            );
            // Also if this connection is optional: the others may learn of it no more.
            self.server_state.mark_away();
        }
        let was_away = self.was_away.swap(false, Ordering::Relaxed);
        if was_away || self.server_state.was_away(health.settling()) {
            health.settles();
        }
        match Answer::of_reply(Ok(answer)).map_err(|error| Fault::from(&error))? {
            Answer::Accepted => {
                health.accepted(&pulse);
            }
            Answer::Refused(code) => self.refused(health, &code),
            Answer::Elsewhere => health.elsewhere(),
        }
        Ok(server)
    }

    /// Reads the server info again. Returns whether the server was replaced, or may have lost evictions;
    /// `false` without an answer.
    async fn is_another(&self, on: &Connected) -> bool {
        let mut connection = on.connection.clone();
        let info = redis::cmd("INFO");
        let reply = timeout(self.context.budget(), connection.req_packed_command(&info)).await;
        let Ok(Ok(reply)) = reply else {
            return false;
        };
        let Ok(server) = ServerInfo::of_reply(reply) else {
            return false;
        };
        on.shared.health.informed();
        server.incarnation != on.shared.incarnation
    }

    /// Sends a pulse. Returns the loss of the connection, if there is no answer, or if the server refuses
    /// the pulse in a way that means a loss.
    async fn pulse(&self, on: &Connected) -> Option<Loss> {
        let mut connection = on.connection.clone();
        let command = self.server_state.pulse.command();
        let pulse = on.shared.health.pulses();
        let mut reply: RedisFuture<'_, Value> = connection.req_packed_command(&command);
        let (mut deadline, mut received) = (pulse.deadline, pulse.received);
        let reply = loop {
            match until(deadline, reply.as_mut()).await {
                Ok(reply) => break reply,
                Err(_) if on.shared.health.received() == received => return Some(Loss::Hung),
                // A large reply is arriving.
                Err(_) => {
                    received = on.shared.health.received();
                    deadline = Instant::now() + self.context.budget();
                }
            }
        };
        match Answer::of_reply(reply) {
            Ok(Answer::Accepted) => {
                let is_trusted_again = on.shared.health.accepted(&pulse);
                if let Some(faults) = self.faults()
                    && is_trusted_again
                {
                    faults.recovered();
                }
                None
            }
            Ok(Answer::Refused(code)) => {
                self.refused(&on.shared.health, &code);
                on.disprove();
                loss_of(&code)
            }
            Ok(Answer::Elsewhere) => {
                on.shared.health.elsewhere();
                None
            }
            Err(_) => Some(Loss::Closed),
        }
    }

    fn refused(&self, health: &Health, code: &str) {
        self.server_state.mark_away();
        if health.refused() {
            self.context.faults.record(&Fault::Refused(code.to_owned()));
        }
    }
}
