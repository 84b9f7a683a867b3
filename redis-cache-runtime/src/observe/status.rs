//! The status of a cache, for a readiness endpoint.

use std::time::Duration;

/// The status of a cache, as the cache knows it without asking its servers.
///
/// ```
/// use axum::http::StatusCode;
/// use axum_redis_cache::Cache;
///
/// /// Without Redis, requests still run their handlers. Decide whether the service is ready then.
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
    /// The servers of the cache: one server, or the known primaries of a cluster. Empty for a cache in
    /// memory.
    pub servers: Vec<ServerStatus>,
    /// The number of pending evictions: the store has not taken them yet, and they are retried.
    pub pending_evictions: usize,
    /// The number of failed operations since the cache was created.
    pub faults: u64,
    /// The current time budget of an operation on Redis, see
    /// [`Settings::socket_timeout`](crate::Settings::socket_timeout). `None` for a cache in memory.
    pub budget: Option<Duration>,
    /// The near cache, if one is on.
    pub near_cache: Option<NearCacheStatus>,
}

/// The state of a near cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearCacheStatus {
    /// The number of copies, with those that are no longer served.
    pub entries: usize,
    /// The estimated memory of the copies, in bytes.
    pub bytes: usize,
    /// The largest memory of the copies, in bytes.
    pub max_bytes: usize,
}

/// The state of the connections to one server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStatus {
    /// The address of the server, or the name of the master in Sentinel.
    pub name: String,
    /// The shortest round trip to the server within the last 10 to 20 seconds. `None` before the first
    /// reply.
    pub round_trip: Option<Duration>,
    /// The state of each connection.
    pub connections: Vec<ConnectionState>,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The connection was not needed yet.
    Idle,
    /// The connection is being opened, and requests wait for it.
    Connecting,
    /// The connection is open again after the server was unreachable. Evictions are sent. Lookups are
    /// ignored until the other processes have had time to send theirs.
    Settling,
    /// The connection is open, but the server refused evictions or was late. Lookups are ignored until
    /// the server accepts evictions in time.
    Untrusted,
    /// The connection is open.
    Up,
    /// The server is unreachable: requests run their handlers without waiting. The cache reconnects in
    /// the background.
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
