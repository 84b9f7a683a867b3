//! One server, over as many connections as the settings allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};
use tokio::time::{Instant, timeout_at};

use super::health::{Standing, result};
use super::link::{Connected, Link, Shared, Target};
use super::request::{Purpose, Request, refuses_all, until};
use crate::observe::fault::Fault;
use crate::observe::status::{ConnectionState, ServerStatus};
use crate::store::Incarnation;

pub(super) struct Node {
    /// What it is called in reports.
    name: String,
    links: Box<[Link]>,
    /// What is large goes over it.
    large: Link,
    next: AtomicUsize,
    #[cfg(feature = "cluster")]
    target: Arc<Target>,
}

/// What a server answered.
pub(super) struct Reply {
    pub(super) value: Value,
    /// The server that answered.
    pub(super) from: Incarnation,
}

impl Node {
    pub(super) fn new(name: String, shared: &Arc<Shared>, target: Target) -> Self {
        let target = Arc::new(target);
        let link = |_| Link::new(Arc::clone(shared), Arc::clone(&target));
        Self {
            name,
            links: (0..shared.connections).map(link).collect(),
            large: link(0),
            next: AtomicUsize::new(0),
            #[cfg(feature = "cluster")]
            target,
        }
    }

    /// Sends a request, to be answered until a deadline. On a connection that turns out to be closed
    /// it is sent once more on a new one, if it may be repeated.
    ///
    /// No `async fn`: the arguments that it used after having waited would be in its future twice.
    pub(super) fn send<'a>(
        &'a self,
        request: Request<'a>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Reply, Fault>> + 'a {
        let link = if request.purpose().is_large() {
            &self.large
        } else {
            self.link()
        };
        async move {
            let Some(mut connected) = link.connected() else {
                return send_anew(link, request, deadline).await;
            };
            match connected.standing(deadline) {
                Standing::Doubted(fault) if request.purpose().is_lookup() => {
                    return Err(fault);
                }
                Standing::Forgotten => {
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

    /// Does once, on a connection of this server, what an application asks for.
    pub(super) async fn lend<T, F>(
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
        // What an application asks for may take long for reasons of its own.
        if end.is_ok() {
            link.note(&end, Purpose::OTHER, &connected);
        }
        end.unwrap_or_else(|_| Err(timed_out()))
    }

    /// The next connection that is trusted or was not needed yet, or else the next one.
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

    /// Whether a connection leads to a primary that took the place of another a short time ago.
    pub(super) fn has_moved(&self) -> bool {
        self.links.iter().any(Link::has_moved)
    }

    /// Changes the name that its pulses delete.
    #[cfg(feature = "cluster")]
    pub(super) fn pulses_at(&self, name: String) {
        self.target.pulse.set(name);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn status(&self) -> ServerStatus {
        let large = Some(self.large.state()).filter(|state| *state != ConnectionState::Idle);
        ServerStatus {
            name: self.name.clone(),
            connections: self.links.iter().map(Link::state).chain(large).collect(),
        }
    }
}

/// Sends a request on a connection. What a lookup finds must be believed when it has arrived.
async fn send_on(
    link: &Link,
    connected: &mut Connected,
    request: Request<'_>,
    deadline: Instant,
) -> Result<Reply, Fault> {
    let purpose = request.purpose();
    let moment = connected.moment(deadline);
    let mut reply = request.send(&mut connected.connection);
    let end = until(deadline, &mut reply).await.map(refused_by_all);
    drop(reply);
    link.note(&end, purpose, connected);
    let value = result(end)?;
    if purpose.is_lookup() {
        match connected.standing_at(moment) {
            Standing::Trusted => {}
            Standing::Doubted(fault) => return Err(fault),
            Standing::Forgotten => return Err(Fault::Late),
        }
    }
    Ok(Reply {
        value,
        from: connected.incarnation(),
    })
}

/// Makes an error of a reply that refuses more than its own command.
fn refused_by_all(reply: Result<Value, RedisError>) -> Result<Value, RedisError> {
    match reply {
        Ok(value) if refuses_all(&value) => value.extract_error(),
        reply => reply,
    }
}

/// Sends a request when a connection has been opened. Boxed, because it is rare.
fn send_anew<'a>(
    link: &'a Link,
    request: Request<'a>,
    deadline: Instant,
) -> BoxFuture<'a, Result<Reply, Fault>> {
    Box::pin(async move {
        let mut connected = link.connect(deadline).await?;
        match connected.standing(deadline) {
            Standing::Doubted(fault) if request.purpose().is_lookup() => Err(fault),
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
