//! The connection to Redis: opened when first needed, replaced in the background when lost.
//!
//! It is the breaker, too: while the connection is lost, or Redis answers too late too often, callers
//! learn that at once instead of paying for attempts. And after Redis was away, what it says is not
//! believed for a while: the other processes that saw it need that time to tell it of their
//! evictions. A Redis that was started anew may have come back with data from before evictions that
//! it took, so everything is evicted.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisError, Value};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use crate::fault::{Fault, FaultLog};
use crate::key::Names;
use crate::settings::{Deployment, Settings, SettingsError};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_millis(250);

/// How long it takes a process that has just connected to tell Redis of its evictions.
const TELLING: Duration = Duration::from_millis(250);

/// How long it is known, in seconds, for which run of Redis everything was evicted: long enough for
/// processes that rarely ask.
const A_DAY: u64 = 24 * 60 * 60;

/// How much a late answer counts against a connection, one in time for it, and how much is too much:
/// five late ones in a row, or one in five for long.
const LATE: u32 = 4;
const IN_TIME: u32 = 1;
const TOO_LATE: u32 = 20;

/// Answers that are late within so many milliseconds are late together.
const TOGETHER: u64 = 50;

/// Commands that may wait for the connection's writer; further ones wait in their own task.
const QUEUE: usize = 1024;

pub(super) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    config: AsyncConnectionConfig,
    /// How long callers wait for an attempt.
    patience: Duration,
    /// How long Redis is not believed after it was away.
    settling: Duration,
    names: Names,
    /// What a Redis calls itself, until it is started anew.
    run_id: Mutex<Option<String>>,
    /// Whether Redis was away since there was a connection.
    was_away: AtomicBool,
    state: watch::Sender<State>,
    faults: Arc<FaultLog>,
}

enum State {
    /// Nobody asked for a connection yet.
    Idle,
    /// An attempt has just begun: worth waiting for.
    Connecting,
    Up(Connected),
    /// Attempts go on in the background: not worth waiting for.
    Down,
}

#[derive(Clone)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    /// Shared by the clones of this connection, it also tells it from others.
    health: Arc<Health>,
    /// How much had arrived when this clone was made.
    replies_before: u64,
}

struct Health {
    /// Counts what arrived.
    replies: AtomicU64,
    lateness: AtomicU32,
    /// When an answer was last late, in milliseconds since the connection was made.
    last_late: AtomicU64,
    since: Instant,
    /// Redis had been away, and is believed from then on.
    settled: Option<Instant>,
}

impl Health {
    fn new(settled: Option<Instant>) -> Self {
        Self {
            replies: AtomicU64::new(0),
            lateness: AtomicU32::new(0),
            last_late: AtomicU64::new(0),
            since: Instant::now(),
            settled,
        }
    }

    fn arrived(&self) {
        self.replies.fetch_add(1, Ordering::Relaxed);
        let lateness = self.lateness.load(Ordering::Relaxed);
        if lateness > 0 {
            // A lost update does not matter.
            self.lateness
                .store(lateness.saturating_sub(IN_TIME), Ordering::Relaxed);
        }
    }

    /// Whether it is too late too often. Answers that are late together count once: what holds them
    /// up may be over.
    fn was_late(&self) -> bool {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.last_late.load(Ordering::Relaxed);
        if now < last + TOGETHER {
            return false;
        }
        self.last_late.store(now, Ordering::Relaxed);
        self.lateness.fetch_add(LATE, Ordering::Relaxed) + LATE >= TOO_LATE
    }
}

impl Link {
    pub(super) fn new(
        settings: &Settings,
        names: Names,
        faults: Arc<FaultLog>,
    ) -> Result<Self, SettingsError> {
        let client = match settings.deployment()? {
            Deployment::Standalone(endpoint) => settings.access()?.client(&endpoint)?,
            Deployment::Cluster(_) => return Err(SettingsError::wrong("cluster", true, "false")),
            Deployment::Sentinel { .. } => {
                return Err(SettingsError::wrong("sentinel", true, "false"));
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.socket_connect_timeout))
            // Every operation has its budget already.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let patience = settings.socket_timeout;
        // Until every other process has connected, and told of what it has to tell.
        let retries = LAST_RETRY + crate::cache::LAST_RETRY;
        let settling = settings.socket_connect_timeout + retries + TELLING;
        let state = watch::Sender::new(State::Idle);
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                config,
                patience,
                settling,
                names,
                run_id: Mutex::default(),
                was_away: AtomicBool::new(false),
                state,
                faults,
            }),
        })
    }

    /// The connection, if there is one.
    pub(super) fn connected(&self) -> Option<Connected> {
        match &*self.shared.state.borrow() {
            State::Up(connected) => Some(connected.current()),
            _ => None,
        }
    }

    /// Opens the first connection, or waits while one is being opened.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connected, Fault> {
        let mut state = self.shared.state.subscribe();
        self.replace_if(|state| matches!(state, State::Idle), State::Connecting);
        let settled = state.wait_for(|state| matches!(state, State::Up(_) | State::Down));
        match timeout_at(deadline, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(connected) => Ok(connected.current()),
                _ => Err(Fault::Unreachable),
            },
            _ => Err(Fault::Unreachable),
        }
    }

    /// Turns the end of an operation into its result. A connection that was closed is replaced,
    /// and one on which nothing arrives any more too: one that hangs never recovers by itself.
    pub(super) fn settle<T>(
        &self,
        end: Result<Result<T, RedisError>, Elapsed>,
        on: &Connected,
    ) -> Result<T, Fault> {
        let is_on =
            |state: &State| matches!(state, State::Up(up) if Arc::ptr_eq(&up.health, &on.health));
        match end {
            Ok(Ok(value)) => {
                on.health.arrived();
                Ok(value)
            }
            Ok(Err(error)) => {
                let fault = Fault::from(&error);
                if matches!(fault, Fault::Refused(_)) {
                    on.health.arrived();
                }
                if fault == Fault::Disconnected {
                    self.replace_if(is_on, State::Connecting);
                }
                Err(fault)
            }
            Err(_) => {
                let nothing_arrives =
                    on.health.replies.load(Ordering::Relaxed) == on.replies_before;
                if on.health.was_late() || nothing_arrives {
                    self.shared.was_away.store(true, Ordering::Relaxed);
                    self.replace_if(is_on, State::Down);
                }
                Err(Fault::Timeout)
            }
        }
    }

    /// Leaves a state that meets the condition, and starts connecting.
    fn replace_if(&self, condition: impl FnOnce(&State) -> bool, next: State) {
        let replaced = self.shared.state.send_if_modified(|state| {
            let replaces = condition(state);
            if replaces {
                *state = next;
            }
            replaces
        });
        if replaced {
            tokio::spawn(Shared::reconnect(Arc::downgrade(&self.shared)));
        }
    }
}

impl Connected {
    fn current(&self) -> Self {
        Self {
            replies_before: self.health.replies.load(Ordering::Relaxed),
            ..self.clone()
        }
    }

    /// Whether what Redis says is to be believed.
    pub(super) fn has_settled(&self) -> bool {
        self.health
            .settled
            .is_none_or(|settled| Instant::now() >= settled)
    }
}

impl Shared {
    /// Tries until there is a connection, or nobody left to use it.
    async fn reconnect(this: Weak<Self>) {
        let mut abandoned = OnAbandon(this.clone());
        let mut delay = FIRST_RETRY;
        while let Some(shared) = this.upgrade() {
            match shared.attempt().await {
                Ok(connection) => {
                    shared.faults.recovered();
                    let was_away = shared.was_away.swap(false, Ordering::Relaxed);
                    let settled = was_away.then(|| Instant::now() + shared.settling);
                    let health = Health::new(settled);
                    // From here on it is up to others to connect.
                    abandoned.0 = Weak::new();
                    shared.state.send_replace(State::Up(Connected {
                        connection,
                        health: Arc::new(health),
                        replies_before: 0,
                    }));
                    return;
                }
                Err(error) => {
                    // Wrong credentials are refused at every attempt: name them.
                    shared.faults.record(&match Fault::from(&error) {
                        refused @ (Fault::Refused(_) | Fault::Credentials) => refused,
                        _ => Fault::Unreachable,
                    });
                    shared.give_up_waiting();
                }
            }
            drop(shared);
            tokio::time::sleep(delay.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            delay = LAST_RETRY.min(delay * 2);
        }
    }

    /// One attempt; when it takes long, callers stop waiting for it.
    async fn attempt(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut attempt = Box::pin(self.connect());
        if let Ok(end) = timeout(self.patience, &mut attempt).await {
            return end;
        }
        self.give_up_waiting();
        attempt.await
    }

    /// A connection on which Redis answers in time.
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config);
        let mut connection = connecting.await?;
        let late = |_| RedisError::from(io::Error::from(io::ErrorKind::TimedOut));
        let introduced = timeout(self.patience, self.introduce(&mut connection));
        introduced.await.map_err(late)??;
        Ok(connection)
    }

    /// Asks who it is, and evicts everything if that is somebody else than before.
    async fn introduce(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let mut info = redis::cmd("INFO");
        let info = match info.arg("server").query_async(connection).await {
            Ok(Value::BulkString(info)) => info,
            Ok(Value::VerbatimString { text, .. }) => text.into_bytes(),
            // Who must not ask learns that it answers, at least.
            Err(error) if error.code() == Some("NOPERM") => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        };
        let info = String::from_utf8_lossy(&info);
        let id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        let id = id.map(|id| id.trim().to_owned());
        let known = self.known_run_id().clone();
        if let (Some(id), true) = (&id, known.is_some() && known != id) {
            self.evict_all(connection, id).await?;
        }
        *self.known_run_id() = id;
        Ok(())
    }

    /// Evicts everything, unless another process did since Redis was started.
    async fn evict_all(
        &self,
        connection: &mut MultiplexedConnection,
        run_id: &str,
    ) -> Result<(), RedisError> {
        let (all, run) = (self.names.all().concat(), self.names.run().concat());
        let evicted_for: Option<Vec<u8>> = connection.get(&run).await?;
        if evicted_for.as_deref() != Some(run_id.as_bytes()) {
            let () = connection.del(&all).await?;
            let () = connection.set_ex(&run, run_id, A_DAY).await?;
            tracing::warn!("Redis was started anew, so everything was evicted");
        }
        Ok(())
    }

    /// A text is whole, whoever panics.
    fn known_run_id(&self) -> MutexGuard<'_, Option<String>> {
        self.run_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up_waiting(&self) {
        self.was_away.store(true, Ordering::Relaxed);
        self.state.send_replace(State::Down);
    }
}

/// Lets the next caller start connecting again when the task that did was dropped with its runtime.
struct OnAbandon(Weak<Shared>);

impl Drop for OnAbandon {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.state.send_if_modified(|state| {
                let unfinished = !matches!(state, State::Up(_));
                if unfinished {
                    *state = State::Idle;
                }
                unfinished
            });
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client holds the password.
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
