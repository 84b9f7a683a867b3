//! The status of a cache, for a readiness endpoint.

use std::fmt;

/// The status of a cache, as the cache knows it without asking its servers.
///
/// ```
/// use axum::http::StatusCode;
/// use axum_redis_cache::Cache;
///
/// /// Requests are answered without Redis, too: whether that is ready enough is up to you.
/// async fn ready(cache: Cache) -> StatusCode {
///     if cache.status().is_connected() {
///         StatusCode::OK
///     } else {
///         StatusCode::SERVICE_UNAVAILABLE
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The servers that the cache uses: one, or every primary of a cluster that is known so far. None
    /// for a cache in memory.
    pub servers: Vec<ServerStatus>,
    /// The number of evictions that the store has not taken yet.
    pub pending_evictions: usize,
    /// The number of operations that have failed.
    pub faults: u64,
}

/// The state of the connections to one server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Its address, or the name by which Sentinel knows it.
    pub name: String,
    /// Each of its connections.
    pub connections: Vec<ConnectionState>,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Nobody needed it yet.
    Idle,
    /// The connection is being opened, and requests wait for it.
    Connecting,
    /// The connection is open again after the server was unreachable. Evictions are sent. Lookups are
    /// ignored until the other processes have had time to send theirs.
    Settling,
    /// The connection is open. Lookups are ignored until the server proves that it takes evictions: it
    /// refused some, or was late.
    Untrusted,
    /// The connection is open.
    Up,
    /// The server is away: requests run their handlers and do not wait. It is tried again in the
    /// background.
    Down,
}

#[cfg(feature = "otel")]
impl ConnectionState {
    pub(crate) const ALL: [Self; 6] = [
        Self::Idle,
        Self::Connecting,
        Self::Settling,
        Self::Untrusted,
        Self::Up,
        Self::Down,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Settling => "settling",
            Self::Untrusted => "untrusted",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl Status {
    /// Returns the number of connections in a state.
    #[cfg(feature = "otel")]
    pub(crate) fn connections_in(&self, state: ConnectionState) -> u64 {
        let states = self.servers.iter().flat_map(|server| &server.connections);
        states.filter(|it| **it == state).count() as u64
    }

    /// Returns whether no connection is down.
    pub fn is_connected(&self) -> bool {
        let states = self.servers.iter().flat_map(|server| &server.connections);
        !states
            .into_iter()
            .any(|state| *state == ConnectionState::Down)
    }
}

/// A server that did not answer a ping in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingError {
    server: Option<String>,
    cause: String,
}

#[cfg(feature = "redis")]
impl PingError {
    pub(crate) fn new(server: Option<&str>, fault: &crate::observe::fault::Fault) -> Self {
        Self {
            server: server.map(str::to_owned),
            cause: fault.to_string(),
        }
    }
}

impl fmt::Display for PingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Some(server) => write!(f, "{server}: {}", self.cause),
            None => f.write_str(&self.cause),
        }
    }
}

impl std::error::Error for PingError {}
