//! One server, over as many connections as the settings allow.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};
use tokio::time::{Instant, timeout_at};

use super::context::ClientContext;
use super::end::result;
use super::health::Trust;
#[cfg(feature = "cluster")]
use super::link::SharedConnection;
use super::link::{Connected, Link};
use super::lookups::BatchReply;
use super::request::{Line, Purpose, Request, refuses_all, until};
use super::server_state::ServerState;
use crate::observe::fault::Fault;
use crate::observe::status::{ConnectionState, ServerStatus};
use crate::store::Incarnation;
use crate::store::near::{self, connection::TrackedConnection};
use crate::store::shared_lookups::SharedLookups;

pub(super) struct Node {
    /// The name in `Status`.
    name: String,
    links: Box<[Link]>,
    /// The connection for large entries.
    large: Link,
    /// The connection on which the server tracks what is read: lookups, if there is a near cache, and
    /// leases that requests wait for.
    tracked: Link,
    next: AtomicUsize,
    pub(super) lookups: Arc<SharedLookups<BatchReply>>,
    context: Arc<ClientContext>,
    server_state: Arc<ServerState>,
}

/// The reply of a server.
pub(super) struct Reply {
    pub(super) value: Value,
    /// The server that answered.
    pub(super) from: Incarnation,
    /// The time at which the connection was opened.
    pub(super) connected_at: Instant,
    /// The connection, if the server tracks what is read on it.
    pub(super) tracked: Option<Arc<TrackedConnection>>,
}

impl Node {
    pub(super) fn new(
        name: String,
        context: &Arc<ClientContext>,
        server_state: ServerState,
    ) -> Self {
        let server_state = Arc::new(server_state);
        let link =
            |is_tracked| Link::new(Arc::clone(context), Arc::clone(&server_state), is_tracked);
        Self {
            name,
            links: (0..context.connections).map(|_| link(false)).collect(),
            large: link(false),
            tracked: link(true),
            next: AtomicUsize::new(0),
            lookups: SharedLookups::new(context.connections),
            context: Arc::clone(context),
            server_state,
        }
    }

    /// Sends a request and waits for the reply until a deadline. If the connection turns out to be
    /// closed, a repeatable request is sent once more on a new connection.
    ///
    /// No `async fn`: the arguments that are used after an await would be in its future twice.
    pub(super) fn send<'a>(
        &'a self,
        request: Request<'a>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Reply, Fault>> + 'a {
        let link = match request.purpose().line() {
            Line::Large => &self.large,
            Line::Tracked => &self.tracked,
            Line::SharedLookups if self.has_near_cache() && self.tracked.is_usable() => {
                &self.tracked
            }
            Line::SharedLookups | Line::Ordinary => self.link(),
        };
        async move {
            let Some(mut connected) = link.connected() else {
                return send_anew(link, request, deadline).await;
            };
            match connected.trust(deadline) {
                Trust::Doubted(fault) if request.purpose().is_lookup() => {
                    return Err(fault);
                }
                Trust::Unattended => {
                    link.replace(&connected);
                    return send_anew(link, request, deadline).await;
                }
                _ => {}
            }
            match send_on(link, &mut connected, request, deadline).await {
                Err(Fault::Disconnected) if request.purpose().is_repeatable() => {}
                result => return result,
            }
            drop(connected);
            send_anew(link, request, deadline).await
        }
    }

    /// Returns the time budget of a lookup, from its command on.
    pub(super) fn lookup_budget(&self) -> Duration {
        Purpose::LOOKUP.budget(self.context.budget())
    }

    /// Runs the commands of an application once, on a connection to this server.
    pub(super) async fn run<T, F>(
        &self,
        deadline: Instant,
        work: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, RedisError>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let link = self.link();
        let connected = match link.connected() {
            Some(connected) => connected,
            None => link.connect(deadline).await.map_err(not_connected)?,
        };
        let end = timeout_at(deadline, work(connected.connection.clone())).await;
        // A slow command of the application proves nothing about the server.
        if end.is_ok() {
            link.note(&end, Purpose::OTHER, &connected);
        }
        end.unwrap_or_else(|_| Err(timed_out()))
    }

    fn has_near_cache(&self) -> bool {
        self.context.near_cache.is_some()
    }

    /// Returns whether the server may push changes of what is read on the tracked connection. A
    /// connection that was never opened counts as one that can.
    pub(super) fn may_push(&self) -> bool {
        let tracks = |connected: Connected| connected.tracked().is_some();
        self.server_state.pushes_in_order()
            && self.tracked.is_usable()
            && self.tracked.connected().is_none_or(tracks)
    }

    /// Returns the tracked connection, which is opened if needed.
    #[cfg(feature = "cluster")]
    pub(super) async fn tracked_connection(
        &self,
        deadline: Instant,
    ) -> Result<Arc<SharedConnection>, Fault> {
        let connected = match self.tracked.connected() {
            Some(connected) => connected,
            None => self.tracked.connect(deadline).await?,
        };
        Ok(connected.into_shared())
    }

    /// Ends the service of copies from the near cache.
    pub(super) async fn leave_near_cache(&self) {
        if self.has_near_cache()
            && let Some(connected) = self.tracked.connected()
        {
            connected.leave_near_cache().await;
        }
    }

    /// Returns the next connection that is usable, or else the next one.
    fn link(&self) -> &Link {
        let [link] = &*self.links else {
            let first = self.next.fetch_add(1, Ordering::Relaxed);
            let turns = (0..self.links.len()).map(|turn| first.wrapping_add(turn));
            let mut links = turns.map(|at| &self.links[at % self.links.len()]);
            let next = &self.links[first % self.links.len()];
            return links.find(|link| link.is_usable()).unwrap_or(next);
        };
        link
    }

    /// Returns whether a connection leads to a primary that replaced another a short time ago.
    pub(super) fn has_moved(&self) -> bool {
        self.links.iter().any(Link::has_moved)
    }

    /// Changes the name that pulses delete.
    #[cfg(feature = "cluster")]
    pub(super) fn pulses_at(&self, name: String) {
        self.server_state.pulse.set(name);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn status(&self) -> ServerStatus {
        let near_cache = self.has_near_cache().then_some(&self.tracked);
        let others = near_cache.into_iter().chain([&self.large]).map(Link::state);
        let others = others.filter(|state| *state != ConnectionState::Idle);
        ServerStatus {
            name: self.name.clone(),
            round_trip: self.server_state.distance.round_trip(),
            connections: self.links.iter().map(Link::state).chain(others).collect(),
        }
    }
}

/// Sends a request on a connection. The reply to a lookup must be trusted when it has arrived.
async fn send_on(
    link: &Link,
    connected: &mut Connected,
    request: Request<'_>,
    deadline: Instant,
) -> Result<Reply, Fault> {
    let purpose = request.purpose();
    let moment = connected.moment(deadline);
    let sent = connected.tracked().map(|_| near::now());
    let end = {
        let reply = pin!(request.send(&mut connected.connection));
        until(deadline, reply).await.map(refused_by_all)
    };
    link.note(&end, purpose, connected);
    let value = result(end)?;
    if purpose.is_lookup() {
        connected.trust_at(moment).check()?;
    }
    let tracked = connected.tracked().cloned();
    if let (Some(tracked), Some(sent)) = (&tracked, sent)
        && !has_refusal(&value)
    {
        tracked.prove(sent);
    }
    Ok(Reply {
        value,
        from: connected.incarnation(),
        connected_at: connected.since(),
        tracked,
    })
}

/// Returns whether the server refused a command. Then it may not have the names any more, and may never
/// push their invalidations.
fn has_refusal(reply: &Value) -> bool {
    let is_error = |value: &Value| matches!(value, Value::ServerError(_));
    match reply {
        Value::Array(values) => values.iter().any(is_error),
        reply => is_error(reply),
    }
}

/// Turns a reply that refuses every command into an error.
fn refused_by_all(reply: Result<Value, RedisError>) -> Result<Value, RedisError> {
    match reply {
        Ok(value) if refuses_all(&value) => value.extract_error(),
        reply => reply,
    }
}

/// Opens a connection and sends a request. Boxed, because it is rare.
fn send_anew<'a>(
    link: &'a Link,
    request: Request<'a>,
    deadline: Instant,
) -> BoxFuture<'a, Result<Reply, Fault>> {
    Box::pin(async move {
        let mut connected = link.connect(deadline).await?;
        match connected.trust(deadline) {
            Trust::Doubted(fault) if request.purpose().is_lookup() => Err(fault),
            _ => send_on(link, &mut connected, request, deadline).await,
        }
    })
}

fn not_connected(fault: Fault) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::NotConnected, fault).into()
}

fn timed_out() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, Fault::Timeout).into()
}
