//! One connection to a primary: opened when first needed, replaced in the background when lost.
//!
//! After Redis was away, what it says is not believed for a while: the other processes that saw it
//! need that time to tell it of their evictions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};
use tokio::time::{Instant, timeout};

use super::finder::Finder;
use super::health::{End, Health};
use super::history::{History, Introduction};
use super::kept::{Kept, LAST_RETRY, Loss, Open, State};
use super::request::until;
use super::server::Driver;
use crate::fault::{Fault, FaultLog};
use crate::settings::Settings;
use crate::status::ConnectionState;

/// How long it takes a process that has just connected to tell Redis of its evictions.
const TELLING: Duration = Duration::from_millis(250);

/// Commands that may wait for the connection's writer; further ones wait in their own task.
const QUEUE: usize = 1024;

/// What all connections of a cache have in common.
pub(super) struct Shared {
    pub(super) config: AsyncConnectionConfig,
    #[cfg(any(feature = "cluster", feature = "tls"))]
    pub(super) connect_timeout: Duration,
    /// How many connections there are to each server.
    pub(super) connections: usize,
    /// The database that is used.
    pub(super) db: i64,
    /// How long an operation may take, and how long callers wait for an attempt to connect.
    pub(super) budget: Duration,
    /// How long Redis is not believed after it was away.
    pub(super) settling: Duration,
    pub(super) faults: Arc<FaultLog>,
    /// Called when a server no longer holds what it held.
    on_break: Box<dyn Fn() + Send + Sync>,
    /// Whether to warn of a Redis that keeps for ever what has no expiry.
    warns_of_unbounded: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        settings: &Settings,
        db: i64,
        faults: Arc<FaultLog>,
        on_break: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.socket_connect_timeout))
            // Every operation has its budget already.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        // Until every other process has connected, and told of what it has to tell.
        let retries = LAST_RETRY + crate::cache::LAST_RETRY;
        Self {
            config,
            #[cfg(any(feature = "cluster", feature = "tls"))]
            connect_timeout: settings.socket_connect_timeout,
            connections: settings.max_connections,
            db,
            budget: settings.socket_timeout,
            settling: settings.socket_connect_timeout + retries + TELLING,
            faults,
            on_break: Box::new(on_break),
            warns_of_unbounded: AtomicBool::new(
                settings.warn_unbounded_cache && settings.default_ttl.is_zero(),
            ),
        }
    }

    /// Says once that what never expires is never evicted either.
    fn warn_of_unbounded(&self, server: &Introduction<'_>) {
        if server.keeps_for_ever && self.warns_of_unbounded.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "what has no ttl of its own is cached without expiry (REDIS_DEFAULT_TTL is 0), and this \
                 Redis never evicts it: set maxmemory with an allkeys policy, or a default ttl"
            );
        }
    }
}

pub(super) struct Link {
    kept: Kept<Opener>,
}

struct Opener {
    shared: Arc<Shared>,
    finder: Arc<Finder>,
    history: Arc<History>,
    /// Whether Redis was away since there was a connection.
    was_away: AtomicBool,
}

#[derive(Clone)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    _driver: Driver,
    health: Arc<Health>,
    /// How much had arrived when this clone was made.
    replies_before: u64,
    /// How many primaries the finder had found when this one was.
    found: u64,
}

impl Link {
    pub(super) fn new(shared: Arc<Shared>, finder: Arc<Finder>, history: Arc<History>) -> Self {
        let kept = Kept::new(Opener {
            shared,
            finder,
            history,
            was_away: AtomicBool::new(false),
        });
        Self { kept }
    }

    /// The connection, if there is one.
    pub(super) fn connected(&self) -> Option<Connected> {
        self.kept.current().map(Connected::now)
    }

    pub(super) fn is_open(&self) -> bool {
        self.kept.is_open()
    }

    /// Opens the first connection, or waits while one is being opened.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connected, Fault> {
        self.kept.wait(deadline).await.map(Connected::now)
    }

    /// Notes how an operation ended. A connection that was lost is replaced.
    pub(super) fn note<T>(&self, end: &End<T>, on: &Connected) {
        if let Some(loss) = on.health.note(end, on.replies_before) {
            self.kept.lose(on, loss);
        }
    }

    pub(super) fn state(&self) -> ConnectionState {
        match self.kept.state() {
            State::Idle => ConnectionState::Idle,
            State::Opening => ConnectionState::Connecting,
            State::Up(connected) if connected.has_settled() => ConnectionState::Up,
            State::Up(_) => ConnectionState::Settling,
            State::Down => ConnectionState::Down,
        }
    }
}

impl Connected {
    fn now(mut self) -> Self {
        self.replies_before = self.health.replies();
        self
    }

    /// Whether what Redis says is to be believed.
    pub(super) fn has_settled(&self) -> bool {
        self.health.has_settled()
    }
}

impl Open for Opener {
    type Opened = Connected;

    /// A connection to a primary that answers in time.
    async fn open(&self) -> Result<Connected, Fault> {
        let (server, found) = self.finder.find(&self.shared).await?;
        let (mut connection, driver) = server.connect(&self.shared).await?;
        let introduced = timeout(self.shared.budget, self.introduce(&mut connection));
        let broke = introduced.await.map_err(|_| Fault::Timeout)??;
        let was_away = self.was_away.swap(false, Ordering::Relaxed);
        let came_back = was_away.then(Instant::now).max(broke);
        let settled = came_back.map(|came_back| came_back + self.shared.settling);
        Ok(Connected {
            connection,
            _driver: driver,
            health: Arc::new(Health::new(settled)),
            replies_before: 0,
            found,
        })
    }

    async fn check(&self, opened: &Connected) -> Option<Loss> {
        if !self.finder.is_current(opened.found, &self.shared).await {
            return Some(Loss::Closed);
        }
        let mut connected = opened.clone().now();
        let ping = redis::cmd("PING");
        let reply = Box::pin(async { ping.query_async::<Value>(&mut connected.connection).await });
        let end = until(Instant::now() + self.shared.budget, reply).await;
        connected.health.note(&end, connected.replies_before)
    }

    fn is_same(one: &Connected, other: &Connected) -> bool {
        Arc::ptr_eq(&one.health, &other.health)
    }

    fn is_away(&self) {
        self.was_away.store(true, Ordering::Relaxed);
    }

    fn patience(&self) -> Duration {
        self.shared.budget
    }

    fn faults(&self) -> &FaultLog {
        &self.shared.faults
    }
}

impl Opener {
    /// Asks a server who it is, and returns when its history last began anew. A replica is of no use,
    /// nor is one that still reads its data from disk, and one that no longer holds what it held is to
    /// be emptied.
    async fn introduce(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Option<Instant>, Fault> {
        let info = match redis::cmd("INFO").query_async(connection).await {
            Ok(Value::BulkString(info)) => info,
            Ok(Value::VerbatimString { text, .. }) => text.into_bytes(),
            // Who must not ask learns that it answers, at least.
            Err(error) if error.code() == Some("NOPERM") => return Ok(None),
            Err(error) => return Err(Fault::from(&error)),
            Ok(_) => return Ok(None),
        };
        let info = String::from_utf8_lossy(&info);
        let server = Introduction::parse(&info);
        if server.is_replica {
            return Err(Fault::Refused("READONLY".to_owned()));
        }
        if server.is_loading {
            return Err(Fault::Refused("LOADING".to_owned()));
        }
        self.shared.warn_of_unbounded(&server);
        Ok(server.id.and_then(|id| {
            self.history.meet(id, || {
                tracing::warn!("Redis may have lost evictions, so everything is evicted");
                (self.shared.on_break)();
            })
        }))
    }
}
