//! Events that metrics count or time.

use std::time::Duration;

use super::operation::Operation;

/// An event to count or time. Its labels are names in the code, never values of a request.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "otel"),
    allow(dead_code, reason = "nobody reads it then")
)]
pub(crate) enum Measured {
    /// A request for a response or a value was answered.
    Request {
        handler: &'static str,
        result: &'static str,
    },
    /// The attempt to store an entry has ended.
    Write {
        handler: &'static str,
        writes: Writes,
        written: Written,
    },
    /// Entries were evicted by a target of this kind.
    Eviction { target: &'static str },
    /// The store had a fault of this name.
    Fault(&'static str),
    /// An operation of the store has ended, perhaps with a fault.
    StoreOperation {
        operation: &'static str,
        fault: Option<&'static str>,
        took: Duration,
    },
    /// A handler ran.
    Handler {
        handler: &'static str,
        took: Duration,
    },
}

/// The kind of request that stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// A read that found no entry to reuse.
    Fill,
    /// A write.
    Through,
}

impl Writes {
    pub(crate) fn operation(self) -> Operation {
        match self {
            Self::Fill => Operation::Set,
            Self::Through => Operation::Put,
        }
    }
}

/// The result of storing an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Stored,
    /// An eviction or another write came after the fill began.
    Superseded,
    /// The entry may not be stored, for the reason of this name.
    Refused(&'static str),
    /// The store had a fault of this name.
    Failed(&'static str),
}

impl Written {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Superseded => "superseded",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }
}
