//! The address of Redis and the credentials.

use redis::RedisConnectionInfo;

use super::Endpoint;

/// The address of Redis and the credentials, from the URL or from the fields.
pub(super) struct Location {
    /// The endpoints; only a cluster may have several.
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) redis: RedisConnectionInfo,
    pub(super) tls: bool,
}

impl Location {
    pub(super) fn is_socket(&self) -> bool {
        matches!(self.endpoints[..], [Endpoint::Unix(_)])
    }
}
