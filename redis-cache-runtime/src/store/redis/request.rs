//! Requests to one server, and their time budgets.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::time::{Instant, timeout_at};

use super::end::{End, refuses_evictions};

#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    One(&'a Cmd, Purpose),
    /// A pipeline. The reply is an array.
    Many(&'a Pipeline, Purpose),
}

/// The purpose of a request. The reply to a lookup counts only if Redis is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Purpose {
    is_lookup: bool,
    line: Line,
    is_repeatable: bool,
}

/// The connection for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Ordinary,
    /// Large entries have a connection of their own, so that no small one waits behind them.
    Large,
    /// Lookups that share a command. If there is a near cache, they use the tracked connection, and the
    /// near cache may keep what they read.
    SharedLookups,
    /// The connection on which the server tracks what is read.
    Tracked,
}

impl Purpose {
    pub(super) const LOOKUP: Self = Self {
        is_lookup: true,
        ..Self::OTHER
    };

    pub(super) const OTHER: Self = Self {
        is_lookup: false,
        line: Line::Ordinary,
        is_repeatable: true,
    };

    pub(super) const SHARED_LOOKUPS: Self = Self {
        line: Line::SharedLookups,
        ..Self::LOOKUP
    };

    /// A read of a value whose changes are pushed.
    pub(super) const TRACKED: Self = Self {
        line: Line::Tracked,
        ..Self::LOOKUP
    };

    pub(super) fn of_large(self, is_large: bool) -> Self {
        let line = if is_large { Line::Large } else { self.line };
        Self { line, ..self }
    }

    /// Marks a request that must not be sent again as it is.
    pub(super) fn once(self) -> Self {
        Self {
            is_repeatable: false,
            ..self
        }
    }

    pub(super) fn is_lookup(self) -> bool {
        self.is_lookup
    }

    pub(super) fn is_large(self) -> bool {
        self.line == Line::Large
    }

    pub(super) fn line(self) -> Line {
        self.line
    }

    pub(super) fn is_repeatable(self) -> bool {
        self.is_repeatable
    }

    /// Returns the time budget. A lookup gets half of it. Otherwise a lookup that Redis has processed just
    /// before an eviction could still wait for its reply when the sender of the eviction has timed out.
    pub(super) fn budget(self, budget: Duration) -> Duration {
        if self.is_lookup { budget / 2 } else { budget }
    }
}

impl Request<'_> {
    pub(super) fn purpose(self) -> Purpose {
        match self {
            Self::One(_, purpose) | Self::Many(_, purpose) => purpose,
        }
    }

    /// Sends the commands and waits for the replies.
    pub(super) async fn send(self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        match self {
            Self::One(command, _) => connection.send_packed_command(command).await,
            Self::Many(commands, _) => {
                let replies = connection
                    .req_packed_commands(commands, 0, commands.len())
                    .await?;
                match replies.iter().find(|reply| refuses_all(reply)) {
                    Some(refusal) => refusal.clone().extract_error(),
                    None => Ok(Value::Array(replies)),
                }
            }
        }
    }
}

/// Returns whether a reply means that the server refuses every command of that kind.
pub(super) fn refuses_all(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if refuses_evictions(error.code()))
}

/// Waits for a reply. A reply that arrived while this process had no time to read it is not late.
pub(super) async fn until<T>(
    deadline: Instant,
    mut reply: Pin<&mut (impl Future<Output = RedisResult<T>> + ?Sized)>,
) -> End<T> {
    match timeout_at(deadline, reply.as_mut()).await {
        Ok(reply) => Ok(reply),
        // Boxed, because it is rare.
        late => Box::pin(if_arrived(reply, late)).await,
    }
}

async fn if_arrived<T>(
    mut reply: Pin<&mut (impl Future<Output = RedisResult<T>> + ?Sized)>,
    late: End<T>,
) -> End<T> {
    // Once for the task that reads from the socket, and once for the task that dispatches the reply.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    match poll_fn(|cx| Poll::Ready(reply.as_mut().poll(cx))).await {
        Poll::Ready(reply) => Ok(reply),
        Poll::Pending => late,
    }
}
