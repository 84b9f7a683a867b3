//! The end of an operation on a connection.

use redis::RedisError;
use tokio::time::error::Elapsed;

use crate::observe::fault::Fault;

/// The end of an operation: its result, or a timeout.
pub(super) type End<T> = Result<Result<T, RedisError>, Elapsed>;

/// Returns the result of an operation, with a timeout as a fault.
pub(super) fn result<T>(end: End<T>) -> Result<T, Fault> {
    match end {
        Ok(result) => result.map_err(|error| Fault::from(&error)),
        Err(_) => Err(Fault::Timeout),
    }
}

/// Returns whether a server that refuses a command with that code refuses evictions, too.
pub(super) fn refuses_evictions(code: &str) -> bool {
    const CODES: [&str; 7] = [
        "READONLY",
        "BUSY",
        "LOADING",
        "MISCONF",
        "NOREPLICAS",
        "MASTERDOWN",
        "CLUSTERDOWN",
    ];
    CODES.contains(&code)
}
