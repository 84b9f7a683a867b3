//! The connection to Redis: opened when first needed, replaced in the background when lost.
//!
//! While it is lost, callers learn that at once instead of paying for attempts to reconnect.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::watch;
use tokio::time::error::Elapsed;

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
    state: watch::Sender<State>,
    faults: Arc<FaultLog>,
}

enum State {
    /// Nobody asked for a connection yet.
    Idle,
    /// The first attempt: worth waiting for.
    Connecting,
    Up(Connected),
    /// Attempts go on in the background: not worth waiting for.
    Down,
}

#[derive(Clone)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    /// Which connection this is, so that its loss is never blamed on a later one.
    pub(super) generation: u64,
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
        let state = watch::Sender::new(State::Idle);
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                config,
                state,
                faults,
            }),
        })
    }

    /// The connection, if there is one.
    pub(super) fn connected(&self) -> Option<Connected> {
        match &*self.shared.state.borrow() {
            State::Up(connected) => Some(connected.clone()),
            _ => None,
        }
    }

    /// Opens the first connection, or waits up to `budget` until another request opened it.
    pub(super) async fn connect(&self, budget: Duration) -> Result<Connected, Fault> {
        let mut state = self.shared.state.subscribe();
        let first = self.shared.state.send_if_modified(|state| {
            let idle = matches!(state, State::Idle);
            if idle {
                *state = State::Connecting;
            }
            idle
        });
        if first {
            Shared::spawn_reconnect(&self.shared, 1);
        }
        let settled = state.wait_for(|state| matches!(state, State::Up(_) | State::Down));
        let Ok(Ok(state)) = tokio::time::timeout(budget, settled).await else {
            return Err(Fault::Unreachable);
        };
        match &*state {
            State::Up(connected) => Ok(connected.clone()),
            _ => Err(Fault::Unreachable),
        }
    }

    /// Turns the end of an operation into its result. A connection that was lost is replaced, and
    /// one that did not answer in time too: one that hangs never recovers by itself.
    pub(super) fn settle<T>(
        &self,
        end: Result<Result<T, RedisError>, Elapsed>,
        generation: u64,
    ) -> Result<T, Fault> {
        let fault = match end {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => Fault::from(&error),
            Err(_) => Fault::Timeout,
        };
        if matches!(fault, Fault::Disconnected | Fault::Timeout) {
            self.lost(generation);
        }
        Err(fault)
    }

    /// Gives up the connection of that generation and opens another one in the background.
    fn lost(&self, generation: u64) {
        let was_up = self.shared.state.send_if_modified(|state| {
            let current = matches!(state, State::Up(up) if up.generation == generation);
            if current {
                *state = State::Down;
            }
            current
        });
        if was_up {
            Shared::spawn_reconnect(&self.shared, generation + 1);
        }
    }
}

impl Shared {
    fn spawn_reconnect(this: &Arc<Self>, generation: u64) {
        tokio::spawn(Self::reconnect(Arc::downgrade(this), generation));
    }

    /// Tries until there is a connection, or nobody left to use it.
    async fn reconnect(this: Weak<Self>, generation: u64) {
        let mut delay = FIRST_RETRY;
        while let Some(shared) = this.upgrade() {
            match shared
                .client
                .get_multiplexed_async_connection_with_config(&shared.config)
                .await
            {
                Ok(connection) => {
                    shared.faults.recovered();
                    let connected = Connected {
                        connection,
                        generation,
                    };
                    shared.state.send_replace(State::Up(connected));
                    return;
                }
                Err(error) => {
                    // Wrong credentials are refused at every attempt: name them.
                    shared.faults.record(&match Fault::from(&error) {
                        refused @ Fault::Refused(_) => refused,
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
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client holds the password.
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
