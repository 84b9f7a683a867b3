//! A Redis Cluster: each command goes to the primary of its slot, all primaries at once.
//!
//! Every server has connections, a breaker and a history of its own, so that one that is away costs
//! the others nothing.

mod lent;
mod map;
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

use self::lent::Lent;
use self::map::{Map, Mapper};
pub(super) use self::task::Task;
use self::task::{Answer, Next, Part, Replies};
use super::commands::values_of;
use super::kept::{Kept, Open};
use super::link::Shared;
use super::node::Node;
use super::request::{Purpose, Request};
use crate::observe::fault::Fault;
use crate::settings::{Access, Endpoint, SettingsError};
use crate::store::Incarnation;

/// How long the slots are not asked for again.
const PAUSE: Duration = Duration::from_millis(100);

/// How often commands are sent to where they are redirected.
const TURNS: usize = 6;

pub(super) struct Cluster {
    map: Arc<Kept<Mapper>>,
    /// Held while the slots are asked for again.
    refreshing: Arc<Semaphore>,
    lent: Lent,
    budget: Duration,
}

impl Cluster {
    pub(super) fn new(
        shared: Arc<Shared>,
        access: Access,
        seeds: Vec<Endpoint>,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            budget: shared.budget,
            lent: Lent::new(&shared, &access, &seeds)?,
            map: Arc::new(Kept::new(Mapper::new(shared, access, seeds))),
            refreshing: Arc::new(Semaphore::new(1)),
        })
    }

    /// Runs tasks, each on the primary of its slot. The replies are in the order of the tasks: a node
    /// that is away fails those for it alone.
    pub(super) async fn run_all<'t>(
        &self,
        tasks: &'t [Task<'t>],
        purpose: Purpose,
    ) -> Result<Vec<Result<Answer, Fault>>, Fault> {
        let deadline = Instant::now() + purpose.budget(self.budget);
        self.run_all_until(tasks, purpose, deadline).await
    }

    async fn run_all_until<'t>(
        &self,
        tasks: &'t [Task<'t>],
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Vec<Result<Answer, Fault>>, Fault> {
        let mut map = self.map(deadline).await?;
        let mut replies = Replies::of(tasks.len());
        let mut parts: Vec<_> = tasks.iter().enumerate().flat_map(Part::whole).collect();
        let mut waits = true;
        for _ in 0..TURNS {
            let mut lost = Vec::new();
            let batches = self.batches(&map, parts, &mut lost);
            parts = self.send(batches, purpose, deadline, &mut replies).await;
            if !lost.is_empty() {
                self.refresh();
                // Which slots nobody serves is known from a new map; which node another means, is not.
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

    /// The map, which is made when it is first needed.
    async fn map(&self, deadline: Instant) -> Result<Arc<Map>, Fault> {
        match self.map.current() {
            Some(map) => Ok(map),
            None => self.map.wait(deadline).await,
        }
    }

    /// Another map than that, if it is worth waiting for.
    async fn another(&self, map: &Arc<Map>, waits: bool, deadline: Instant) -> Option<Arc<Map>> {
        if !waits {
            return None;
        }
        self.map.wait_for_other(map, deadline).await.ok()
    }

    /// The node that a part is for next, if the map has it.
    fn node_for(&self, map: &Map, part: &Part<'_>) -> Option<Arc<Node>> {
        match &part.next {
            Next::Primary => map.primary(part.slot),
            Next::Moved(named) => {
                self.refresh();
                map.named(named)
            }
            Next::Asked(named) => map.named(named),
        }
    }

    /// Puts together what is for the same node.
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

    /// Sends parts to their nodes at the same time, and returns what has to be sent next.
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
                    // Another node may have its slots by now.
                    if fault.is_absence() || fault.is_doubt() || is_down(&fault) {
                        self.refresh();
                    }
                    for part in &batch {
                        replies.fail(part, fault.clone());
                    }
                }
            }
        }
        next
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

/// Whether a node refuses everything because somebody else is missing.
fn is_down(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused(code) if code == "CLUSTERDOWN")
}

/// Sends parts to the node that they are for.
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
