//! One connection to a primary: opened when first needed, replaced in the background when lost.
//!
//! After Redis was away, what it says is not believed for a while: the other processes that saw it
//! need that time to tell it of their evictions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, RedisFuture, Value};
use tokio::time::{Instant, timeout};

use super::finder::Finder;
use super::health::{End, Health, Standing, Terms, loss_of};
use super::kept::{Kept, LAST_RETRY, Loss, Open, State};
use super::pulse::{Answer, PulseName};
use super::request::{Purpose, until};
use super::server::Opened;
use super::server_info::ServerInfo;
use crate::observe::fault::{Fault, FaultLog};
use crate::observe::status::ConnectionState;
use crate::settings::Settings;
use crate::store::Incarnation;
use crate::store::LAST_EVICTION_RETRY;

/// How long it takes a process that has just connected to tell Redis of its evictions.
const TELLING: Duration = Duration::from_millis(250);

/// Commands that may wait for the connection's writer; further ones wait in their own task.
const QUEUE: usize = 1024;

/// What all connections of a cache have in common.
pub(super) struct Shared {
    pub(super) config: AsyncConnectionConfig,
    pub(super) connect_timeout: Duration,
    /// How many connections there are to each server.
    pub(super) connections: usize,
    /// The database that is used.
    pub(super) db: i64,
    pub(super) prefix: String,
    /// How long an operation may take, and how long callers wait for an attempt to connect.
    pub(super) budget: Duration,
    /// How long Redis is not believed after it was away.
    pub(super) settling: Duration,
    /// How long a server is trusted after it accepted a pulse.
    pulse: Duration,
    pub(super) faults: Arc<FaultLog>,
    /// Whether to warn of a Redis that keeps for ever what has no expiry.
    warns_of_unbounded: AtomicBool,
}

impl Shared {
    pub(super) fn new(settings: &Settings, db: i64, faults: Arc<FaultLog>) -> Self {
        let config = AsyncConnectionConfig::new()
            // The attempt as a whole has its time.
            .set_connection_timeout(None)
            // Every operation has its budget already.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        // Until every other process has connected, and told of what it has to tell.
        let retries = LAST_RETRY + LAST_EVICTION_RETRY;
        Self {
            config,
            connect_timeout: settings.socket_connect_timeout,
            connections: settings.max_connections,
            db,
            prefix: settings.prefix.clone(),
            budget: settings.socket_timeout,
            settling: settings.socket_connect_timeout + retries + TELLING,
            pulse: settings.pulse,
            faults,
            warns_of_unbounded: AtomicBool::new(
                settings.warn_unbounded_cache && settings.default_ttl.is_zero(),
            ),
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            pulse: self.pulse,
            budget: self.budget,
            settling: self.settling,
        }
    }

    /// Says once that what never expires is never evicted either.
    fn warn_of_unbounded(&self, server: &ServerInfo) {
        if server.keeps_for_ever && self.warns_of_unbounded.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "what has no ttl of its own is cached without expiry (REDIS_DEFAULT_TTL is 0), and this \
                 Redis never evicts it: set maxmemory with an allkeys policy, or a default ttl"
            );
        }
    }
}

/// What the connections to one server have in common.
pub(super) struct Target {
    pub(super) finder: Finder,
    pub(super) pulse: PulseName,
    /// The number of the newest primary that a connection leads to.
    newest: AtomicU64,
    /// The last server that was there; `None`: nothing is known of any.
    incarnation: Mutex<Option<Incarnation>>,
    /// When the server was last away or refused evictions, which concerns every connection to it.
    away: Mutex<Option<Instant>>,
    /// It serves what another served before.
    is_successor: bool,
}

pub(super) struct Link {
    kept: Kept<Opener>,
}

struct Opener {
    shared: Arc<Shared>,
    target: Arc<Target>,
    /// Redis was away since there was a connection.
    was_away: AtomicBool,
}

#[derive(Clone)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    way: Arc<Way>,
    /// The number of bytes that had arrived when this clone was made.
    received: u64,
}

/// What the clones of a connection share: a lookup carries one of them, which has to be small.
struct Way {
    health: Health,
    /// The server that it leads to.
    incarnation: Incarnation,
    /// How many primaries the finder had found when this one was.
    found: u64,
    target: Arc<Target>,
    _opened: Opened,
}

impl Target {
    pub(super) fn new(finder: Finder, pulse: String) -> Self {
        Self {
            finder,
            pulse: PulseName::new(pulse),
            newest: AtomicU64::new(0),
            incarnation: Mutex::default(),
            away: Mutex::default(),
            is_successor: false,
        }
    }

    /// The same, of a server that serves what another served before.
    #[cfg(feature = "cluster")]
    pub(super) fn succeeding(self) -> Self {
        Self {
            is_successor: true,
            ..self
        }
    }

    /// Notes that the server is away, or refuses evictions.
    fn is_away(&self) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether it was a short time ago.
    fn was_away(&self, within: Duration) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|away| away.elapsed() < within)
    }

    /// Notes which server is there. Returns whether that is another than before.
    fn changes(&self, incarnation: Incarnation) -> bool {
        let mut known = self
            .incarnation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match known.replace(incarnation) {
            Some(before) => before != incarnation,
            None => self.is_successor,
        }
    }
}

impl Link {
    pub(super) fn new(shared: Arc<Shared>, target: Arc<Target>) -> Self {
        let kept = Kept::new(Opener {
            shared,
            target,
            was_away: AtomicBool::new(false),
        });
        Self { kept }
    }

    /// The connection, if there is one.
    pub(super) fn connected(&self) -> Option<Connected> {
        self.kept.current().map(Connected::now)
    }

    /// Whether a request may be sent over it: it is trusted, or was not needed yet.
    pub(super) fn is_usable(&self) -> bool {
        self.kept.is(|state| match state {
            State::Idle => true,
            State::Up(connected) => connected.standing(Instant::now()).is_usable(),
            State::Opening | State::Down => false,
        })
    }

    /// Whether it leads to a primary that took the place of another a short time ago.
    pub(super) fn has_moved(&self) -> bool {
        self.kept.is(|state| match state {
            State::Up(connected) => connected.has_moved(),
            State::Idle | State::Opening | State::Down => false,
        })
    }

    /// Opens the first connection, or waits while one is being opened.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connected, Fault> {
        self.kept.wait(deadline).await.map(Connected::now)
    }

    /// Notes how an operation ended. A connection that was lost is replaced.
    pub(super) fn note<T>(&self, end: &End<T>, purpose: Purpose, on: &Connected) {
        if let Some(loss) = on.way.health.note(end, purpose, on.received) {
            self.kept.lose(on, loss);
        }
    }

    /// Replaces a connection that nobody has looked after for too long.
    pub(super) fn replace(&self, forgotten: &Connected) {
        self.kept.lose(forgotten, Loss::Closed);
    }

    pub(super) fn state(&self) -> ConnectionState {
        match self.kept.state() {
            State::Idle => ConnectionState::Idle,
            State::Opening => ConnectionState::Connecting,
            State::Up(connected) => match connected.standing(Instant::now()) {
                standing if standing.is_usable() => ConnectionState::Up,
                Standing::Doubted(Fault::Settling) => ConnectionState::Settling,
                _ => ConnectionState::Untrusted,
            },
            State::Down => ConnectionState::Down,
        }
    }
}

impl Connected {
    fn now(mut self) -> Self {
        self.received = self.way.health.received();
        self
    }

    /// A moment as the connection counts it.
    pub(super) fn moment(&self, at: Instant) -> u64 {
        self.way.health.millis(at)
    }

    /// Whether what Redis has answered by a moment is to be believed.
    pub(super) fn standing_at(&self, moment: u64) -> Standing {
        if self.is_replaced() {
            return Standing::Forgotten;
        }
        self.way.health.standing_at(moment)
    }

    /// The server that it leads to.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.way.incarnation
    }

    /// Whether what Redis answers by a deadline is to be believed.
    pub(super) fn standing(&self, deadline: Instant) -> Standing {
        if self.is_replaced() {
            return Standing::Forgotten;
        }
        self.way.health.standing(deadline)
    }

    /// Whether it leads to a primary that took the place of another, which other processes may not know yet.
    fn has_moved(&self) -> bool {
        self.way.found > 1 && self.standing(Instant::now()) == Standing::Doubted(Fault::Settling)
    }

    /// Whether another connection leads to a newer primary, which has been told of evictions that this one
    /// has not.
    fn is_replaced(&self) -> bool {
        self.way.found < self.way.target.newest.load(Ordering::Acquire)
    }
}

impl Open for Opener {
    type Opened = Connected;

    /// A connection to a primary that answers in time.
    async fn open(&self) -> Result<Connected, Fault> {
        let (server, found) = self.target.finder.find(&self.shared).await?;
        let opened = server.connect(&self.shared).await?;
        let health = Health::new(self.shared.terms(), opened.received.clone());
        let mut connection = opened.connection.clone();
        let introduced = timeout(self.shared.budget, self.introduce(&mut connection, &health));
        let incarnation = introduced.await.map_err(|_| Fault::Timeout)??;
        self.target.newest.fetch_max(found, Ordering::Release);
        Ok(Connected {
            connection,
            way: Arc::new(Way {
                health,
                incarnation,
                found,
                target: Arc::clone(&self.target),
                _opened: opened,
            }),
            received: 0,
        })
    }

    async fn rest(opened: &Connected) {
        opened.way.health.rest().await;
    }

    async fn check(&self, opened: &Connected) -> Option<Loss> {
        if opened.standing(Instant::now()) == Standing::Forgotten {
            return Some(Loss::Closed);
        }
        if opened.way.health.is_to_be_introduced() && self.is_another(opened).await {
            return Some(Loss::Closed);
        }
        // Pulses must not wait long for what finds the primary.
        let is_current = self
            .target
            .finder
            .is_current(opened.way.found, &self.shared);
        let is_current = timeout(self.shared.pulse / 4, is_current);
        let (loss, is_current) = join(self.pulse(opened), is_current).await;
        loss.or((is_current == Ok(false)).then_some(Loss::Closed))
    }

    fn is_same(one: &Connected, other: &Connected) -> bool {
        Arc::ptr_eq(&one.way, &other.way)
    }

    fn works(opened: &Connected) -> bool {
        !matches!(
            opened.standing(Instant::now()),
            Standing::Doubted(Fault::EvictionsRefused)
        )
    }

    fn is_away(&self) {
        self.was_away.store(true, Ordering::Relaxed);
        self.target.is_away();
    }

    fn patience(&self) -> Duration {
        self.shared.budget
    }

    fn faults(&self) -> &FaultLog {
        &self.shared.faults
    }
}

impl Opener {
    /// Asks a server who it is, and whether it takes evictions. A replica is of no use, nor is one that
    /// still reads its data from disk.
    async fn introduce(
        &self,
        connection: &mut MultiplexedConnection,
        health: &Health,
    ) -> Result<Incarnation, Fault> {
        let mut commands = redis::pipe();
        commands
            .cmd("INFO")
            .add_command(self.target.pulse.command());
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
        self.shared.warn_of_unbounded(&server);
        if self.target.changes(server.incarnation) {
            tracing::info!("this Redis may have lost evictions, so what it had stored is not used");
            self.is_away();
        }
        let was_away = self.was_away.swap(false, Ordering::Relaxed);
        if was_away || self.target.was_away(self.shared.settling) {
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

    /// Whether a connection leads to another server than it did, or to one that may have lost evictions.
    /// While there is no answer, nobody knows.
    async fn is_another(&self, on: &Connected) -> bool {
        let mut connection = on.connection.clone();
        let info = redis::cmd("INFO");
        let info = timeout(self.shared.budget, connection.req_packed_command(&info)).await;
        let Ok(Ok(Ok(server))) = info.map(|info| info.map(ServerInfo::of_reply)) else {
            return false;
        };
        on.way.health.introduced();
        server.incarnation != on.way.incarnation
    }

    /// Finds out whether a server still takes evictions, and what it means for the connection if there
    /// is no answer.
    async fn pulse(&self, on: &Connected) -> Option<Loss> {
        let mut connection = on.connection.clone();
        let command = self.target.pulse.command();
        let pulse = on.way.health.pulses();
        let mut reply: RedisFuture<'_, Value> = connection.req_packed_command(&command);
        let (mut deadline, mut received) = (pulse.deadline, pulse.received);
        let reply = loop {
            match until(deadline, &mut reply).await {
                Ok(reply) => break reply,
                Err(_) if on.way.health.received() == received => return Some(Loss::Hung),
                // Something large is on its way.
                Err(_) => {
                    received = on.way.health.received();
                    deadline = Instant::now() + self.shared.budget;
                }
            }
        };
        match Answer::of_reply(reply) {
            Ok(Answer::Accepted) => {
                if on.way.health.accepted(&pulse) {
                    self.shared.faults.recovered();
                }
                None
            }
            Ok(Answer::Refused(code)) => {
                self.refused(&on.way.health, &code);
                loss_of(&code)
            }
            Ok(Answer::Elsewhere) => {
                on.way.health.elsewhere();
                None
            }
            Err(_) => Some(Loss::Closed),
        }
    }

    fn refused(&self, health: &Health, code: &str) {
        self.target.is_away();
        if health.refused() {
            self.shared.faults.record(&Fault::Refused(code.to_owned()));
        }
    }
}
