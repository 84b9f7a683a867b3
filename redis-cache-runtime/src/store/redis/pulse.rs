//! The command that proves whether a server takes evictions.

use std::sync::{Mutex, PoisonError};

use redis::{Cmd, RedisError, Value};

/// The name that pulses delete, which nothing has.
#[derive(Debug)]
pub(super) struct PulseName {
    name: Mutex<String>,
}

/// The answer of a server to a pulse.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It takes evictions, or it cannot be found out: this user may not delete, but others may.
    Accepted,
    /// It refuses them, with that code.
    Refused(String),
    /// Another server of the cluster would know: the name is not this server's.
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

    pub(super) fn command(&self) -> Cmd {
        let mut command = redis::cmd("DEL");
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        command.arg(&**name);
        command
    }
}

impl Answer {
    /// Reads a reply. The error is that of the connection.
    pub(super) fn of_reply(reply: Result<Value, RedisError>) -> Result<Self, RedisError> {
        let Err(error) = reply.and_then(Value::extract_error) else {
            return Ok(Self::Accepted);
        };
        Ok(match error.code() {
            None => return Err(error),
            Some("NOPERM" | "ERR") => Self::Accepted,
            Some("MOVED" | "ASK" | "TRYAGAIN") => Self::Elsewhere,
            Some(code) => Self::Refused(code.to_owned()),
        })
    }
}
