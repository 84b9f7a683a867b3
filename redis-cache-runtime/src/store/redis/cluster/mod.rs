//! A Redis Cluster: each command goes to the primary of its slot, all primaries at once.
//!
//! Every server has connections, a breaker and a history of its own, so that one that is away costs
//! the others nothing.

mod lent;
mod map;
mod slots;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Pipeline, ServerErrorKind, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use self::lent::Lent;
use self::map::{Map, Mapper};
pub(super) use self::slots::slot;
use super::commands::values_of;
use super::kept::{Kept, Open};
use super::link::Shared;
use super::node::Node;
use super::request::{Purpose, Request};
use crate::fault::Fault;
use crate::settings::{Access, Endpoint, SettingsError};
use crate::store::Incarnation;

/// How long the slots are not asked for again.
const PAUSE: Duration = Duration::from_millis(100);

/// How often commands are sent to where they are redirected.
const TURNS: usize = 4;

pub(super) struct Cluster {
    map: Arc<Kept<Mapper>>,
    /// Held while the slots are asked for again.
    refreshing: Arc<Semaphore>,
    lent: Lent,
    budget: Duration,
    /// When a node last said that the cluster is down, and how long none is believed after that:
    /// none took an eviction either.
    was_down: Mutex<Option<Instant>>,
    settling: Duration,
}

/// A command on its way.
struct Routed<'a> {
    /// Where its reply belongs.
    place: usize,
    slot: usize,
    command: &'a Cmd,
    to: Arc<Node>,
    /// The slot is on its way to that node, which takes commands for it only if asked to.
    asking: bool,
}

/// Where a node sends a command that is not for it.
struct Redirection {
    to: Option<Endpoint>,
    asking: bool,
}

impl Cluster {
    pub(super) fn new(
        shared: Arc<Shared>,
        access: Access,
        seeds: Vec<Endpoint>,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            budget: shared.budget,
            was_down: Mutex::default(),
            settling: shared.settling,
            lent: Lent::new(&shared, &access, &seeds)?,
            map: Arc::new(Kept::new(Mapper::new(shared, access, seeds))),
            refreshing: Arc::new(Semaphore::new(1)),
        })
    }

    /// Runs commands, each on the primary of its slot. The replies are in the order of the commands.
    pub(super) async fn run_all(
        &self,
        commands: &[(usize, Cmd)],
        purpose: Purpose,
    ) -> Result<Vec<(Value, Incarnation)>, Fault> {
        let deadline = Instant::now() + purpose.budget(self.budget);
        let mut map = self.map(deadline).await?;
        let mut replies = vec![(Value::Nil, Incarnation::default()); commands.len()];
        let mut on_the_way = Vec::with_capacity(commands.len());
        for (place, (slot, command)) in commands.iter().enumerate() {
            let to = self.primary(&mut map, *slot, deadline).await?;
            on_the_way.push(Routed {
                place,
                slot: *slot,
                command,
                to,
                asking: false,
            });
        }
        for _ in 0..TURNS {
            let mut redirected = Vec::new();
            for (batch, values, from) in self.send(on_the_way, purpose, deadline).await? {
                for (routed, value) in batch.into_iter().zip(values) {
                    match Redirection::of(&value) {
                        Some(redirection) => redirected.push((routed, redirection)),
                        None => replies[routed.place] = (value, from),
                    }
                }
            }
            if redirected.is_empty() {
                return match purpose {
                    _ if purpose.is_lookup() && !self.has_settled() => Err(Fault::Settling),
                    _ => Ok(replies),
                };
            }
            on_the_way = Vec::with_capacity(redirected.len());
            for (routed, redirection) in redirected {
                on_the_way.push(
                    self.redirect(&mut map, routed, redirection, deadline)
                        .await?,
                );
            }
        }
        Err(Fault::Refused("MOVED".to_owned()))
    }

    /// The map, which is made when it is first needed.
    async fn map(&self, deadline: Instant) -> Result<Arc<Map>, Fault> {
        match self.map.current() {
            Some(map) => Ok(map),
            None => self.map.wait(deadline).await,
        }
    }

    /// The primary of a slot. When the map has none, or not any more, another map may.
    async fn primary(
        &self,
        map: &mut Arc<Map>,
        slot: usize,
        deadline: Instant,
    ) -> Result<Arc<Node>, Fault> {
        if let Some(node) = map.primary(slot) {
            return Ok(node);
        }
        self.refresh();
        *map = self.map.wait_for_other(map, deadline).await?;
        map.primary(slot).ok_or(Fault::Unreachable)
    }

    async fn redirect<'a>(
        &self,
        map: &mut Arc<Map>,
        mut routed: Routed<'a>,
        redirection: Redirection,
        deadline: Instant,
    ) -> Result<Routed<'a>, Fault> {
        if !redirection.asking {
            self.refresh();
        }
        let known = redirection.to.and_then(|endpoint| map.node(&endpoint));
        routed.to = if let Some(node) = known {
            node
        } else {
            self.refresh();
            *map = self.map.wait_for_other(map, deadline).await?;
            self.primary(map, routed.slot, deadline).await?
        };
        routed.asking = redirection.asking;
        Ok(routed)
    }

    /// Sends commands to their nodes at the same time, and returns what each node answered.
    async fn send<'a>(
        &self,
        commands: Vec<Routed<'a>>,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Vec<(Vec<Routed<'a>>, Vec<Value>, Incarnation)>, Fault> {
        let mut batches: Vec<Vec<Routed<'a>>> = Vec::new();
        for command in commands {
            let is_for = |batch: &&mut Vec<Routed<'a>>| Arc::ptr_eq(&batch[0].to, &command.to);
            match batches.iter_mut().find(is_for) {
                Some(batch) => batch.push(command),
                None => batches.push(vec![command]),
            }
        }
        let sent = batches.into_iter().map(async |batch| {
            let (values, from) = send_to_one(&batch, purpose, deadline).await?;
            if values.iter().any(is_down) {
                *self.was_down() = Some(Instant::now());
                return Err(Fault::Refused("CLUSTERDOWN".to_owned()));
            }
            Ok((batch, values, from))
        });
        let replies: Result<Vec<_>, Fault> = join_all(sent).await.into_iter().collect();
        // A node that is not trusted may no longer have the slot that it is asked about.
        if replies
            .as_ref()
            .is_err_and(|fault| fault.is_absence() || fault.is_doubt())
        {
            self.refresh();
        }
        replies
    }

    /// Whether what the nodes say is to be believed. They are asked before as well: who asks nobody
    /// does not learn that the cluster is still down.
    fn has_settled(&self) -> bool {
        self.was_down()
            .is_none_or(|down| down.elapsed() >= self.settling)
    }

    fn was_down(&self) -> MutexGuard<'_, Option<Instant>> {
        self.was_down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks in the background what the cluster looks like, unless that is being done.
    fn refresh(&self) {
        if let Ok(permit) = Arc::clone(&self.refreshing).try_acquire_owned() {
            let map = Arc::clone(&self.map);
            tokio::spawn(async move {
                if let Ok(new) = map.opener().open().await {
                    map.set(new);
                }
                sleep(PAUSE).await;
                drop(permit);
            });
        }
    }

    /// Every primary; none while nobody knows them.
    pub(super) async fn nodes(&self, deadline: Instant) -> Result<Vec<Arc<Node>>, Fault> {
        let map = self.map(deadline).await?;
        Ok(map.nodes().cloned().collect())
    }

    /// Every primary that is known so far.
    pub(super) fn known_nodes(&self) -> Vec<Arc<Node>> {
        let map = self.map.current();
        map.map_or_else(Vec::new, |map| map.nodes().cloned().collect())
    }

    /// A connection for an application.
    pub(super) fn lend(&self) -> ClusterConnection {
        self.lent.connection()
    }
}

/// Sends commands to the node that they are for.
async fn send_to_one(
    batch: &[Routed<'_>],
    purpose: Purpose,
    deadline: Instant,
) -> Result<(Vec<Value>, Incarnation), Fault> {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    for routed in batch {
        if routed.asking {
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(routed.command.clone());
    }
    let request = Request::Many(&pipeline, purpose);
    let answer = batch[0].to.send(request, deadline).await?;
    let values = values_of(answer.value)?;
    if values.len() != pipeline.len() {
        return Err(Fault::Protocol);
    }
    let mut values = values.into_iter();
    let reply = |routed: &Routed<'_>| {
        if routed.asking {
            values.next();
        }
        values.next().ok_or(Fault::Protocol)
    };
    let values = batch.iter().map(reply).collect::<Result<_, _>>()?;
    Ok((values, answer.from))
}

/// Whether a node refuses everything because somebody else is missing.
fn is_down(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::ClusterDown))
}

impl Redirection {
    fn of(value: &Value) -> Option<Self> {
        let Value::ServerError(error) = value else {
            return None;
        };
        let asking = match error.kind()? {
            ServerErrorKind::Moved => false,
            ServerErrorKind::Ask => true,
            _ => return None,
        };
        // `slot host:port`
        let address = error.details().and_then(|details| details.split_once(' '));
        Some(Self {
            to: address.and_then(|(_, address)| slots::redirected(address)),
            asking,
        })
    }
}
