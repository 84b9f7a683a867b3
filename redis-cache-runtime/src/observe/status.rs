//! How a cache is doing, for a readiness endpoint.

use std::fmt;

/// How a cache is doing. It is what the cache knows already, without asking its servers.
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
    /// How many evictions wait for the store to take them.
    pub pending_evictions: usize,
    /// How many operations have failed so far.
    pub faults: u64,
}

/// How the connections to one server are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Its address, or the name by which Sentinel knows it.
    pub name: String,
    /// Each of its connections.
    pub connections: Vec<ConnectionState>,
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Nobody needed it yet.
    Idle,
    /// It is being opened, and requests wait for it.
    Connecting,
    /// It is open again after the server was away, and evictions go through. Lookups do not, until the
    /// other processes had time for theirs.
    Settling,
    /// It is open, and lookups wait for the server to prove that it takes evictions: it refused some,
    /// or was late.
    Untrusted,
    /// It is open.
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
    /// How many connections are in a state.
    #[cfg(feature = "otel")]
    pub(crate) fn connections_in(&self, state: ConnectionState) -> u64 {
        let states = self.servers.iter().flat_map(|server| &server.connections);
        states.filter(|it| **it == state).count() as u64
    }

    /// Whether no server is known to be away.
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
