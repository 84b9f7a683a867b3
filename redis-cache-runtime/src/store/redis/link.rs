//! One connection to a primary: opened when it is first needed, replaced in the background when it is
//! lost.
//!
//! After Redis was unreachable, lookups are ignored for a while: in that time the other processes send
//! their pending evictions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{RedisFuture, Value};
use tokio::time::{Instant, timeout};

use super::context::ClientContext;
use super::end::End;
use super::health::{Health, Trust, loss_of};
use super::pulse::Answer;
use super::reconnecting::{Availability, Loss, Open, Reconnecting};
use super::request::{Purpose, until};
use super::server::Opened;
use super::server_info::ServerInfo;
use super::server_state::ServerState;
use crate::observe::fault::{Fault, FaultLog};
use crate::observe::status::ConnectionState;
use crate::store::Incarnation;

pub(super) struct Link {
    reconnecting: Reconnecting<Opener>,
}

struct Opener {
    context: Arc<ClientContext>,
    server_state: Arc<ServerState>,
    /// Redis was unreachable since the last connection.
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
struct SharedConnection {
    health: Health,
    /// The incarnation of the server.
    incarnation: Incarnation,
    /// The generation number of the primary.
    generation: u64,
    server_state: Arc<ServerState>,
    _opened: Opened,
}

impl Link {
    pub(super) fn new(context: Arc<ClientContext>, server_state: Arc<ServerState>) -> Self {
        let reconnecting = Reconnecting::new(Opener {
            context,
            server_state,
            was_away: AtomicBool::new(false),
        });
        Self { reconnecting }
    }

    /// Returns the connection, if one is open.
    pub(super) fn connected(&self) -> Option<Connected> {
        self.reconnecting.current().map(Connected::now)
    }

    /// Returns whether a request may be sent: the connection is trusted, or was not needed yet.
    pub(super) fn is_usable(&self) -> bool {
        self.reconnecting.is(|availability| match availability {
            Availability::Idle => true,
            Availability::Up(connected) => connected.trust(Instant::now()).is_usable(),
            Availability::Opening | Availability::Down => false,
        })
    }

    /// Returns whether the connection leads to a primary that replaced another a short time ago.
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

    /// Returns the incarnation of the server.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// Returns the trust in replies that arrive by a deadline.
    pub(super) fn trust(&self, deadline: Instant) -> Trust {
        if self.is_replaced() {
            return Trust::Unattended;
        }
        self.shared.health.trust(deadline)
    }

    /// Returns whether the primary replaced another, which other processes may not know yet.
    fn has_moved(&self) -> bool {
        self.shared.generation > 1 && self.trust(Instant::now()) == Trust::Doubted(Fault::Settling)
    }

    /// Returns whether another connection leads to a newer primary, which may have taken evictions that
    /// this primary has not.
    fn is_replaced(&self) -> bool {
        self.shared
            .server_state
            .has_newer_than(self.shared.generation)
    }
}

impl Open for Opener {
    type Opened = Connected;

    /// Opens a connection to a primary that answers in time.
    async fn open(&self) -> Result<Connected, Fault> {
        let (server, generation) = self.server_state.finder.find(&self.context).await?;
        let opened = server.connect(&self.context).await?;
        let health = Health::new(self.context.terms(), opened.received.clone());
        let mut connection = opened.connection.clone();
        let informed = timeout(
            self.context.budget,
            self.read_server_info(&mut connection, &health),
        );
        let incarnation = informed.await.map_err(|_| Fault::Timeout)??;
        self.server_state.observe_generation(generation);
        Ok(Connected {
            connection,
            shared: Arc::new(SharedConnection {
                health,
                incarnation,
                generation,
                server_state: Arc::clone(&self.server_state),
                _opened: opened,
            }),
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
        self.was_away.store(true, Ordering::Relaxed);
        self.server_state.mark_away();
    }

    fn patience(&self) -> Duration {
        self.context.budget
    }

    fn faults(&self) -> &FaultLog {
        &self.context.faults
    }
}

impl Opener {
    /// Reads the server info and sends the first pulse. A replica is refused, and so is a server that is
    /// still loading its data.
    async fn read_server_info(
        &self,
        connection: &mut MultiplexedConnection,
        health: &Health,
    ) -> Result<Incarnation, Fault> {
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
        if self.server_state.has_changed_to(server.incarnation) {
            tracing::info!(
                "this Redis restarted or was replaced and may have lost evictions: its stored entries are \
                 not used"
            );
            self.mark_away();
        }
        let was_away = self.was_away.swap(false, Ordering::Relaxed);
        if was_away || self.server_state.was_away(self.context.settling) {
            health.settles();
        }
        match Answer::of_reply(Ok(answer)).map_err(|error| Fault::from(&error))? {
            Answer::Accepted => {
                health.accepted(&pulse);
            }
            Answer::Refused(code) => self.refused(health, &code),
            Answer::Elsewhere => health.elsewhere(),
        }
        Ok(server.incarnation)
    }

    /// Reads the server info again. Returns whether the server was replaced, or may have lost evictions;
    /// `false` without an answer.
    async fn is_another(&self, on: &Connected) -> bool {
        let mut connection = on.connection.clone();
        let info = redis::cmd("INFO");
        let info = timeout(self.context.budget, connection.req_packed_command(&info)).await;
        let Ok(Ok(Ok(server))) = info.map(|info| info.map(ServerInfo::of_reply)) else {
            return false;
        };
        on.shared.health.informed();
        server.incarnation != on.shared.incarnation
    }

    /// Sends a pulse. Returns the loss of the connection, if there is no answer or a refusal means one.
    async fn pulse(&self, on: &Connected) -> Option<Loss> {
        let mut connection = on.connection.clone();
        let command = self.server_state.pulse.command();
        let pulse = on.shared.health.pulses();
        let mut reply: RedisFuture<'_, Value> = connection.req_packed_command(&command);
        let (mut deadline, mut received) = (pulse.deadline, pulse.received);
        let reply = loop {
            match until(deadline, &mut reply).await {
                Ok(reply) => break reply,
                Err(_) if on.shared.health.received() == received => return Some(Loss::Hung),
                // A large reply is arriving.
                Err(_) => {
                    received = on.shared.health.received();
                    deadline = Instant::now() + self.context.budget;
                }
            }
        };
        match Answer::of_reply(reply) {
            Ok(Answer::Accepted) => {
                if on.shared.health.accepted(&pulse) {
                    self.context.faults.recovered();
                }
                None
            }
            Ok(Answer::Refused(code)) => {
                self.refused(&on.shared.health, &code);
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
