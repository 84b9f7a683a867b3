//! The error of a ping.

use std::fmt;

#[cfg(feature = "redis")]
use super::fault::Fault;

/// A server that did not answer a ping in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingError {
    server: Option<String>,
    cause: String,
}

#[cfg(feature = "redis")]
impl PingError {
    pub(crate) fn new(server: Option<&str>, fault: &Fault) -> Self {
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
