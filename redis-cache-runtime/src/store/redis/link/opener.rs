//! Opens a connection, and checks it by pulses.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Pipeline, Value};
use tokio::time::{Instant, timeout};

use super::connected::{Connected, SharedConnection, Tasks};
use crate::observe::fault::{Fault, FaultLog};
use crate::store::near::connection::TrackedConnection;
use crate::store::redis::context::ClientContext;
use crate::store::redis::health::{Health, Pulse, Trust, loss_of};
use crate::store::redis::near::Pushes;
use crate::store::redis::pulse::Answer;
use crate::store::redis::reconnecting::{Loss, Open};
use crate::store::redis::request::until;
use crate::store::redis::server::{Opened, Server};
use crate::store::redis::server_info::ServerInfo;
use crate::store::redis::server_state::ServerState;

pub(super) struct Opener {
    context: Arc<ClientContext>,
    server_state: Arc<ServerState>,
    /// The server is asked to track what is read on the connection.
    is_tracked: bool,
    /// Since the last connection was opened, Redis was unreachable for a time, or was replaced.
    was_away: AtomicBool,
}

impl Open for Opener {
    type Opened = Connected;

    /// Opens a connection to a primary that answers in time. Gives up when there is another primary.
    async fn open(&self) -> Result<Connected, Fault> {
        let finder = &self.server_state.finder;
        let (server, generation) = finder.find(&self.context).await?;
        let opening = pin!(self.open_to(&server, generation));
        let replaced = pin!(finder.wait_for_next(generation, &self.context));
        match select(opening, replaced).await {
            Either::Left((opened, _)) => opened,
            Either::Right(_) => Err(Fault::Unreachable),
        }
    }

    async fn rest(opened: &Connected) {
        opened.shared.health.rest().await;
    }

    async fn check(&self, opened: &Connected) -> Option<Loss> {
        if opened.trust(Instant::now()) == Trust::Unattended {
            return Some(Loss::Closed);
        }
        self.pulse(opened).await
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
    pub(super) fn new(
        context: Arc<ClientContext>,
        server_state: Arc<ServerState>,
        is_tracked: bool,
    ) -> Self {
        Self {
            context,
            server_state,
            is_tracked,
            was_away: AtomicBool::new(false),
        }
    }

    /// Returns whether the cache works without the connection: then requests that wait for another
    /// process repeat their lookup.
    fn is_optional(&self) -> bool {
        self.is_tracked && self.context.near_cache.is_none()
    }

    async fn open_to(&self, server: &Server, generation: u64) -> Result<Connected, Fault> {
        let (opened, pushes) = self.connect(server).await?;
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
        Ok(Connected::new(SharedConnection {
            context: Arc::clone(&self.context),
            health,
            incarnation: server.incarnation,
            generation,
            server_state: Arc::clone(&self.server_state),
            tracked,
            tasks: Tasks::default(),
            opened,
        }))
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
            // Also if this connection is optional: the others may not notice the change any more.
            self.server_state.mark_away();
            self.server_state.distance.forget();
        }
        health.observe(&pulse);
        let was_away = self.was_away.swap(false, Ordering::Relaxed);
        if was_away || self.server_state.was_away(health.settling()) {
            health.settles();
        }
        match Answer::of_reply(answer).map_err(|error| Fault::from(&error))? {
            Answer::Accepted => {
                health.accepted(&pulse);
            }
            Answer::Refused(code) => self.refused(health, &code),
            Answer::Elsewhere => health.elsewhere(),
        }
        Ok(server)
    }

    /// Sends a pulse, and reads the server info again if it is due. Returns the loss of the connection, if
    /// there is no answer, if the server was replaced, or if it refuses the pulse in a way that means a
    /// loss.
    async fn pulse(&self, on: &Connected) -> Option<Loss> {
        let health = &on.shared.health;
        let mut commands = Pipeline::with_capacity(2);
        commands.add_command(self.server_state.pulse.command());
        if health.needs_server_info() {
            commands.cmd("INFO");
        }
        let pulse = health.pulses();
        let replies = match self.replies_to_pulse(on, &pulse, &commands).await {
            Ok(replies) => replies,
            Err(loss) => return Some(loss),
        };
        health.observe(&pulse);
        let mut replies = replies.into_iter();
        let Some(answer) = replies.next() else {
            return Some(Loss::Closed);
        };
        if let Some(Ok(server)) = replies.next().map(ServerInfo::of_reply) {
            health.informed();
            if server.incarnation != on.shared.incarnation {
                return Some(Loss::Closed);
            }
        }
        match Answer::of_reply(answer) {
            Ok(Answer::Accepted) => {
                let is_trusted_again = health.accepted(&pulse);
                if let Some(faults) = self.faults()
                    && is_trusted_again
                {
                    faults.recovered();
                }
                None
            }
            Ok(Answer::Refused(code)) => {
                self.refused(health, &code);
                on.disprove();
                loss_of(&code)
            }
            Ok(Answer::Elsewhere) => {
                health.elsewhere();
                None
            }
            Err(_) => Some(Loss::Closed),
        }
    }

    /// Returns the replies to a pulse and to the commands sent with it. If nothing arrives on the
    /// connection in time, the connection hangs.
    async fn replies_to_pulse(
        &self,
        on: &Connected,
        pulse: &Pulse,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, Loss> {
        let mut connection = on.connection.clone();
        let mut replies = connection.req_packed_commands(commands, 0, commands.len());
        let (mut deadline, mut received) = (pulse.deadline, pulse.received);
        loop {
            match until(deadline, replies.as_mut()).await {
                Ok(replies) => return replies.map_err(|_| Loss::Closed),
                Err(_) if on.shared.health.received() == received => return Err(Loss::Hung),
                // A large reply is arriving.
                Err(_) => {
                    received = on.shared.health.received();
                    deadline = Instant::now() + self.context.budget();
                }
            }
        }
    }

    fn refused(&self, health: &Health, code: &str) {
        self.server_state.mark_away();
        if health.refused() {
            self.context.faults.record(&Fault::Refused(code.to_owned()));
        }
    }
}
