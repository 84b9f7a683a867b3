//! The command that proves whether a server takes evictions.

use std::sync::{Mutex, PoisonError};

use redis::{Cmd, RedisError, Value};

use super::commands::is_redirection;
#[cfg(feature = "cluster")]
use super::commands::read;

/// The name that pulses delete. It never has a value.
#[derive(Debug)]
pub(super) struct PulseName {
    name: Mutex<String>,
}

/// The answer of a server to a pulse.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The server takes evictions. Also the answer if this user may not delete: the server may take the
    /// evictions of other users.
    Accepted,
    /// The server refuses evictions with this error code.
    Refused(String),
    /// Another node of the cluster has the slot of the name.
    Elsewhere,
}

impl PulseName {
    pub(super) fn new(name: String) -> Self {
        Self {
            name: Mutex::new(name),
        }
    }

    #[cfg(feature = "cluster")]
    pub(super) fn set(&self, name: String) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// Returns a command that reads the name.
    #[cfg(feature = "cluster")]
    pub(super) fn read(&self) -> Cmd {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        read([&**name])
    }

    pub(super) fn command(&self) -> Cmd {
        let mut command = redis::cmd("DEL");
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        command.arg(&**name);
        command
    }
}

impl Answer {
    /// Parses a reply. The error is a failure of the connection.
    pub(super) fn of_reply(reply: Value) -> Result<Self, RedisError> {
        let Err(error) = reply.extract_error() else {
            return Ok(Self::Accepted);
        };
        Ok(match error.code() {
            None => return Err(error),
            Some("NOPERM" | "ERR") => Self::Accepted,
            Some(code) if is_redirection(code) => Self::Elsewhere,
            Some(code) => Self::Refused(code.to_owned()),
        })
    }
}
