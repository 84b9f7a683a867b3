//! The handle `Redis`, by which applications use the connections of the cache.

use std::fmt;
use std::sync::Arc;

use redis::aio::{ConnectionLike, MultiplexedConnection};
#[cfg(feature = "cluster")]
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, Value};
use tokio::time::Instant;

use super::context::ClientContext;
use super::node::Node;

/// A connection to the Redis of the [`Cache`](crate::Cache), for every command of
/// [`redis::AsyncCommands`]: to one server, to the primary that Sentinel names, or to a cluster.
///
/// `Redis` is an extractor. Outside of handlers, [`Cache::redis`](crate::Cache::redis) returns it. It
/// shares the connections of the cache, so open a separate connection for commands that block (`BLPOP`,
/// `WAIT`) and for subscriptions.
///
/// A command is sent once and times out after
/// [`Settings::socket_timeout`](crate::Settings::socket_timeout) (250 ms by default). While Redis is
/// unreachable, it fails at once. If the cache is in memory or disabled, every command fails.
///
/// ```
/// use axum_redis_cache::Redis;
/// use redis::AsyncCommands;
///
/// async fn count_visit(mut redis: Redis) -> Result<String, axum::http::StatusCode> {
///     let visits: u64 = redis.incr("visits", 1).await.map_err(|_| axum::http::StatusCode::BAD_GATEWAY)?;
///     Ok(format!("visit {visits}"))
/// }
/// ```
#[derive(Clone)]
pub struct Redis {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Node(Arc<Node>, Arc<ClientContext>),
    #[cfg(feature = "cluster")]
    Cluster(ClusterConnection),
    None,
}

impl Redis {
    pub(super) fn of_node(node: Arc<Node>, context: Arc<ClientContext>) -> Self {
        Self {
            kind: Kind::Node(node, context),
        }
    }

    #[cfg(feature = "cluster")]
    pub(super) fn of_cluster(connection: ClusterConnection) -> Self {
        Self {
            kind: Kind::Cluster(connection),
        }
    }

    /// Returns a connection that fails every command, for a cache without Redis.
    pub(crate) fn none() -> Self {
        Self { kind: Kind::None }
    }
}

impl ConnectionLike for Redis {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.kind {
            Kind::Node(node, context) => Box::pin(node.run(
                Instant::now() + context.budget(),
                move |mut connection: MultiplexedConnection| async move {
                    connection.req_packed_command(command).await
                },
            )),
            #[cfg(feature = "cluster")]
            Kind::Cluster(connection) => connection.req_packed_command(command),
            Kind::None => Box::pin(async { Err(no_redis()) }),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.kind {
            Kind::Node(node, context) => Box::pin(node.run(
                Instant::now() + context.budget(),
                move |mut connection: MultiplexedConnection| async move {
                    let replies = connection.req_packed_commands(commands, offset, count);
                    replies.await
                },
            )),
            #[cfg(feature = "cluster")]
            Kind::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
            Kind::None => Box::pin(async { Err(no_redis()) }),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.kind {
            Kind::Node(_, context) => context.db,
            #[cfg(feature = "cluster")]
            Kind::Cluster(_) => 0,
            Kind::None => 0,
        }
    }
}

fn no_redis() -> RedisError {
    let reason = "this cache is not kept in Redis";
    RedisError::from((ErrorKind::InvalidClientConfig, reason))
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Connections hold passwords, so they are not shown.
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}
