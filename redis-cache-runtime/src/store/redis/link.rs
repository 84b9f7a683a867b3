//! The connection to Redis: opened when first needed, replaced in the background when lost.
//!
//! While it is lost, callers learn that at once instead of paying for attempts to reconnect.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use crate::fault::{Fault, FaultLog};
use crate::settings::{Settings, SettingsError};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);

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
    /// Counts what arrived on this connection. Shared by its clones, it also tells it from others.
    replies: Arc<AtomicU64>,
    /// How much had arrived when this clone was made.
    replies_before: u64,
}

impl Link {
    pub(super) fn new(settings: &Settings, faults: Arc<FaultLog>) -> Result<Self, SettingsError> {
        let client = Client::open(settings.connection_info()?)
            .map_err(|error| SettingsError::connection(error.category()))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.socket_connect_timeout))
            // Every operation has its budget already.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let patience = settings.socket_timeout;
        let state = watch::Sender::new(State::Idle);
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                config,
                patience,
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
            |state: &State| matches!(state, State::Up(up) if Arc::ptr_eq(&up.replies, &on.replies));
        match end {
            Ok(Ok(value)) => {
                on.replies.fetch_add(1, Ordering::Relaxed);
                Ok(value)
            }
            Ok(Err(error)) => {
                let fault = Fault::from(&error);
                if fault == Fault::Disconnected {
                    self.replace_if(is_on, State::Connecting);
                }
                Err(fault)
            }
            Err(_) => {
                if on.replies.load(Ordering::Relaxed) == on.replies_before {
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
            replies_before: self.replies.load(Ordering::Relaxed),
            ..self.clone()
        }
    }
}

impl Shared {
    /// Tries until there is a connection, or nobody left to use it.
    async fn reconnect(this: Weak<Self>) {
        let _abandoned = OnAbandon(this.clone());
        let mut delay = FIRST_RETRY;
        while let Some(shared) = this.upgrade() {
            match shared.attempt().await {
                Ok(connection) => {
                    shared.faults.recovered();
                    let connected = Connected {
                        connection,
                        replies: Arc::default(),
                        replies_before: 0,
                    };
                    shared.state.send_replace(State::Up(connected));
                    return;
                }
                Err(error) => {
                    // Wrong credentials are refused at every attempt: name them.
                    shared.faults.record(&match Fault::from(&error) {
                        refused @ (Fault::Refused(_) | Fault::Credentials) => refused,
                        _ => Fault::Unreachable,
                    });
                    shared.state.send_replace(State::Down);
                }
            }
            drop(shared);
            tokio::time::sleep(delay.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            delay = LAST_RETRY.min(delay * 2);
        }
    }

    /// One attempt; when it takes long, callers stop waiting for it.
    async fn attempt(&self) -> Result<MultiplexedConnection, RedisError> {
        let attempt = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config);
        let mut attempt = Box::pin(attempt);
        if let Ok(end) = timeout(self.patience, &mut attempt).await {
            return end;
        }
        self.state.send_replace(State::Down);
        attempt.await
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
