//! The nodes of a cluster that say that it is down: they take no evictions then, so they are not believed
//! for a while after that.

use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{ServerErrorKind, Value};
use tokio::time::Instant;

use super::map::Map;
use crate::key::{Eviction, Names};
use crate::store::redis::commands::read;
use crate::store::redis::node::Node;
use crate::store::redis::request::{Purpose, Request};

pub(super) struct Down {
    /// The nodes, and when each said so last.
    nodes: Mutex<Vec<(Weak<Node>, Instant)>>,
    settling: Duration,
}

impl Down {
    pub(super) fn new(settling: Duration) -> Self {
        Self {
            nodes: Mutex::default(),
            settling,
        }
    }

    /// Notes a node that says so now.
    fn note(&self, node: &Arc<Node>) {
        let mut nodes = self.nodes();
        nodes.retain(|(it, since)| self.is_recent(*since) && !is_it(it, node));
        nodes.push((Arc::downgrade(node), Instant::now()));
    }

    /// Returns whether a node said so in its replies, and notes it then.
    pub(super) fn is_said(&self, node: &Arc<Node>, replies: &[Value]) -> bool {
        let is_said = replies.iter().any(is_down);
        if is_said {
            self.note(node);
        }
        is_said
    }

    /// Returns whether a node said so a short time ago.
    pub(super) fn is_settling(&self, node: &Arc<Node>) -> bool {
        let nodes = self.nodes();
        let mut nodes = nodes.iter();
        nodes.any(|(it, since)| is_it(it, node) && self.is_recent(*since))
    }

    /// Returns whether any node said so a short time ago.
    pub(super) fn is_any_settling(&self) -> bool {
        let nodes = self.nodes();
        nodes.iter().any(|(_, since)| self.is_recent(*since))
    }

    /// Asks every node for a name that it serves. Nodes are down for the same reasons, and one that is
    /// not asked does not say so.
    pub(super) async fn ask_all(&self, map: &Map, names: &Names, deadline: Instant) {
        let asked = map.nodes().map(async |node| {
            let slot = map.slot_of(node)?;
            let name = names.evicted_in_slot(&Eviction::Handler(0), slot);
            let command = read(name);
            let request = Request::One(&command, Purpose::Other);
            let reply = node.send(request, deadline).await.ok()?;
            self.is_said(node, &[reply.value]).then_some(())
        });
        join_all(asked).await;
    }

    fn is_recent(&self, since: Instant) -> bool {
        since.elapsed() < self.settling
    }

    /// Every critical section leaves it whole, however it ends.
    fn nodes(&self) -> MutexGuard<'_, Vec<(Weak<Node>, Instant)>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_it(it: &Weak<Node>, node: &Arc<Node>) -> bool {
    ptr::eq(it.as_ptr(), Arc::as_ptr(node))
}

/// Whether a node refuses everything because somebody else is missing.
fn is_down(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::ClusterDown))
}
