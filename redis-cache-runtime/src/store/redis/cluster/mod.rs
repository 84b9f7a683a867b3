//! A Redis Cluster: each command goes to the primary of its slot, all primaries at once.
//!
//! Every node has connections and a circuit breaker of its own, so that an unreachable node does not
//! slow the others.

mod lookups;
mod map;
mod near;
mod shared_client;
mod slots;
mod sweep;
mod task;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::cluster_async::ClusterConnection;
use redis::{Pipeline, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use self::map::{Map, Mapper};
use self::near::Membership;
use self::shared_client::SharedClient;
pub(super) use self::task::Task;
use self::task::{Answer, Next, Part, Replies};
use super::commands::{is_redirection, values_of};
use super::context::ClientContext;
use super::node::Node;
use super::reconnecting::{Open, Reconnecting};
use super::request::{Purpose, Request};
use crate::key::{Name, slot};
use crate::observe::fault::Fault;
use crate::settings::{Access, Endpoint, SettingsError};
use crate::store::Incarnation;

/// The pause after a refresh of the map.
const PAUSE: Duration = Duration::from_millis(100);

/// The most redirections that a command follows.
const TURNS: usize = 6;

pub(super) struct Cluster {
    pub(super) maps: Arc<Maps>,
    /// The membership in the registry of near caches, if this process has one.
    membership: Option<Membership>,
    client: SharedClient,
    context: Arc<ClientContext>,
}

/// The map, and its replacements.
pub(super) struct Maps {
    map: Reconnecting<Mapper>,
    /// Held while the map is refreshed.
    refreshing: Arc<Semaphore>,
}

impl Cluster {
    pub(super) fn new(
        context: Arc<ClientContext>,
        access: Access,
        seeds: Vec<Endpoint>,
    ) -> Result<Self, SettingsError> {
        let client = SharedClient::new(&context, &access, &seeds)?;
        let maps = Arc::new(Maps {
            map: Reconnecting::new(Mapper::new(Arc::clone(&context), access, seeds)),
            refreshing: Arc::new(Semaphore::new(1)),
        });
        let membership = || Membership::new(Arc::clone(&context), Arc::clone(&maps));
        Ok(Self {
            membership: context.near_cache.as_ref().map(|_| membership()),
            maps,
            client,
            context,
        })
    }

    /// Runs tasks, each on the primary of its slot, and returns the replies in the order of the tasks.
    /// An unreachable node fails only its own tasks.
    pub(super) async fn run_all<'t>(
        &self,
        tasks: &'t [Task<'t>],
        purpose: Purpose,
    ) -> Result<Vec<Result<Answer, Fault>>, Fault> {
        let deadline = Instant::now() + purpose.budget(self.context.budget());
        self.run_all_until(tasks, purpose, deadline).await
    }

    async fn run_all_until<'t>(
        &self,
        tasks: &'t [Task<'t>],
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Vec<Result<Answer, Fault>>, Fault> {
        let mut map = self.maps.current(deadline).await?;
        let mut replies = Replies::of(tasks.len());
        let mut parts: Vec<_> = tasks.iter().enumerate().flat_map(Part::whole).collect();
        let mut waits = true;
        for _ in 0..TURNS {
            let mut lost = Vec::new();
            let batches = self.batches(&map, parts, &mut lost);
            parts = self.send(batches, purpose, deadline, &mut replies).await;
            if !lost.is_empty() {
                self.maps.refresh();
                // A new map shows which slots have no primary, but not which node a redirection means.
                let unserved = |part: &Part<'_>| matches!(part.next, Next::Primary);
                waits &= !(map.is_new() && lost.iter().all(unserved));
                if let Some(new) = self.another(&map, waits, deadline).await {
                    map = new;
                    parts.extend(lost.into_iter().map(Part::not_moved));
                } else {
                    for part in &lost {
                        replies.fail(part, Fault::Unreachable);
                    }
                }
                waits = false;
            }
            if parts.is_empty() {
                break;
            }
        }
        for part in &parts {
            replies.fail(part, Fault::Refused("MOVED".to_owned()));
        }
        Ok(replies.into_inner())
    }

    /// Waits for a newer map, if `waits` is set.
    async fn another(&self, map: &Arc<Map>, waits: bool, deadline: Instant) -> Option<Arc<Map>> {
        if !waits {
            return None;
        }
        let replacement = self.maps.map.wait_for_replacement(map, deadline);
        replacement.await.ok()
    }

    /// Returns the next node for a part, if the map has it.
    fn node_for(&self, map: &Map, part: &Part<'_>) -> Option<Arc<Node>> {
        match &part.next {
            Next::Primary => map.primary(part.slot),
            Next::Moved(named) => {
                self.maps.refresh();
                map.named(named)
            }
            Next::Ask(named) => map.named(named),
        }
    }

    /// Collects the parts for the same node.
    fn batches<'t>(
        &self,
        map: &Map,
        parts: Vec<Part<'t>>,
        lost: &mut Vec<Part<'t>>,
    ) -> Vec<(Arc<Node>, Vec<Part<'t>>)> {
        let mut batches: Vec<(Arc<Node>, Vec<Part<'t>>)> = Vec::new();
        for part in parts {
            let Some(node) = self.node_for(map, &part) else {
                lost.push(part);
                continue;
            };
            match batches.iter_mut().find(|(to, _)| Arc::ptr_eq(to, &node)) {
                Some((_, batch)) => batch.push(part),
                None => batches.push((node, vec![part])),
            }
        }
        batches
    }

    /// Sends parts to their nodes at the same time, and returns the parts to send next.
    async fn send<'t>(
        &self,
        batches: Vec<(Arc<Node>, Vec<Part<'t>>)>,
        purpose: Purpose,
        deadline: Instant,
        replies: &mut Replies,
    ) -> Vec<Part<'t>> {
        let sent = batches.into_iter().map(async |(node, batch)| {
            let values = send_to_one(&node, &batch, purpose, deadline).await;
            (node, batch, values)
        });
        let mut next = Vec::new();
        for (node, batch, values) in join_all(sent).await {
            match values {
                Ok((values, from)) => {
                    let pairs = batch.into_iter().zip(values);
                    let take = |(part, value)| replies.take(part, &node, (value, from));
                    next.extend(pairs.flat_map(take));
                }
                Err(fault) => {
                    self.maps.refresh_after(&fault);
                    for part in &batch {
                        replies.fail(part, fault.clone());
                    }
                }
            }
        }
        next
    }

    /// Returns every primary, once the map is known.
    pub(super) async fn nodes(&self, deadline: Instant) -> Result<Vec<Arc<Node>>, Fault> {
        let map = self.maps.current(deadline).await?;
        Ok(map.nodes().cloned().collect())
    }

    /// Returns every primary that is known so far.
    pub(super) fn known_nodes(&self) -> Vec<Arc<Node>> {
        let map = self.maps.map.current();
        map.map_or_else(Vec::new, |map| map.nodes().cloned().collect())
    }

    /// Returns a connection for an application.
    pub(super) fn connection(&self) -> ClusterConnection {
        self.client.connection()
    }
}

impl Maps {
    /// Returns the map. The first call loads it.
    async fn current(&self, deadline: Instant) -> Result<Arc<Map>, Fault> {
        match self.map.current() {
            Some(map) => Ok(map),
            None => self.map.wait(deadline).await,
        }
    }

    /// Returns the primary of a name.
    pub(super) async fn primary_of(
        &self,
        name: Name<'_>,
        deadline: Instant,
    ) -> Result<Arc<Node>, Fault> {
        let map = self.current(deadline).await?;
        map.primary(slot(name)).ok_or(Fault::Unreachable)
    }

    /// Refreshes the map after a fault of a node, because another node may have its slots by now.
    fn refresh_after(self: &Arc<Self>, fault: &Fault) {
        if fault.is_absence() || fault.is_doubt() || is_down(fault) {
            self.refresh();
        }
    }

    /// Refreshes the map after a command about the registry of near caches failed, if another node may
    /// have the registry. Returns the fault to report.
    pub(super) fn without_registry(self: &Arc<Self>, fault: Fault) -> Fault {
        self.refresh_after(&fault);
        match &fault {
            Fault::Refused(code) if is_redirection(code) => {
                self.refresh();
                Fault::Unreachable
            }
            fault if is_down(fault) => Fault::Unreachable,
            _ => fault,
        }
    }

    /// Refreshes the map in the background, unless a refresh is under way.
    fn refresh(self: &Arc<Self>) {
        if let Ok(permit) = Arc::clone(&self.refreshing).try_acquire_owned() {
            let maps = Arc::clone(self);
            tokio::spawn(async move {
                if let Ok(new) = maps.map.opener().open().await {
                    maps.map.set(new);
                }
                sleep(PAUSE).await;
                drop(permit);
            });
        }
    }
}

/// Returns whether a node refuses every command because another node is missing.
fn is_down(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused(code) if code == "CLUSTERDOWN")
}

/// Sends parts to their node.
async fn send_to_one(
    node: &Node,
    batch: &[Part<'_>],
    purpose: Purpose,
    deadline: Instant,
) -> Result<(Vec<Value>, Incarnation), Fault> {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    for part in batch {
        if part.is_asking() {
            pipeline.cmd("ASKING");
        }
        part.add_to(&mut pipeline);
    }
    let request = Request::Many(&pipeline, purpose);
    let answer = node.send(request, deadline).await?;
    let values = values_of(answer.value)?;
    if values.len() != pipeline.len() {
        return Err(Fault::Protocol);
    }
    let mut values = values.into_iter();
    let reply = |part: &Part<'_>| {
        if part.is_asking() {
            values.next();
        }
        values.next().ok_or(Fault::Protocol)
    };
    let values = batch.iter().map(reply).collect::<Result<_, _>>()?;
    Ok((values, answer.from))
}
