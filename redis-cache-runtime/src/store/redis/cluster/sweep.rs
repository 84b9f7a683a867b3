//! Deletions in every slot.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::Cluster;
use super::task::Task;
use crate::key::{Name, SLOTS, Slots};
use crate::observe::fault::Fault;
use crate::store::redis::node::Node;
use crate::store::redis::request::Purpose;

/// The number of slots of a node that are swept at a time, so that other commands on the connection do not
/// wait for the whole sweep.
const AT_A_TIME: usize = 256;

/// The most time budgets that a sweep may take while its nodes answer.
const PATIENCE: u32 = 4;

impl Cluster {
    /// Deletes names in each of some slots, or in all. The error has the slots in which that failed.
    pub(in super::super) async fn sweep<'a>(
        &self,
        slots: Option<&Slots>,
        names: impl Fn(u16) -> Vec<Name<'a>>,
    ) -> Result<(), (Fault, Slots)> {
        let deadline = Instant::now() + self.context.budget();
        let all = (0..SLOTS).filter(|slot| slots.is_none_or(|slots| slots.contains(*slot)));
        let map = match self.maps.current(deadline).await {
            Ok(map) => map,
            Err(fault) => return Err((fault, all.collect())),
        };
        let mut by_node: Vec<(Option<Arc<Node>>, Vec<u16>)> = Vec::new();
        for slot in all {
            let node = map.primary(slot);
            let ptr = |node: &Option<Arc<Node>>| node.as_ref().map(Arc::as_ptr);
            match by_node.iter_mut().find(|(it, _)| ptr(it) == ptr(&node)) {
                Some((_, slots)) => slots.push(slot),
                None => by_node.push((node, vec![slot])),
            }
        }
        let swept = by_node.iter().map(|(_, slots)| {
            let task = |slot: &u16| Task::Delete(names(*slot));
            self.sweep_node(slots, task)
        });
        let (mut fault, mut left) = (None, Vec::new());
        for (why, slots) in join_all(swept).await.into_iter().filter_map(Result::err) {
            fault = Some(why);
            left.extend(slots);
        }
        fault.map_or(Ok(()), |fault| Err((fault, left.into_iter().collect())))
    }

    /// Sweeps slots of one node, until the node does not answer or the sweep takes too long.
    async fn sweep_node<'a>(
        &self,
        slots: &[u16],
        task: impl Fn(&u16) -> Task<'a>,
    ) -> Result<(), (Fault, Vec<u16>)> {
        let (mut fault, mut left) = (None, Vec::new());
        let mut chunks = slots.chunks(AT_A_TIME);
        let end = Instant::now() + self.context.budget() * PATIENCE;
        while let Some(chunk) = chunks.next() {
            let tasks: Vec<_> = chunk.iter().map(&task).collect();
            let deadline = end.min(Instant::now() + self.context.budget());
            match self.run_all_until(&tasks, Purpose::OTHER, deadline).await {
                Ok(replies) => {
                    let failed = chunk.iter().zip(replies);
                    for (slot, why) in failed.filter_map(|(slot, it)| Some((slot, it.err()?))) {
                        fault = Some(why);
                        left.push(*slot);
                    }
                }
                Err(why) => {
                    fault = Some(why);
                    left.extend(chunk);
                }
            }
            if fault.as_ref().is_some_and(Fault::is_absence) {
                left.extend(chunks.by_ref().flatten());
            }
        }
        fault.map_or(Ok(()), |fault| Err((fault, left)))
    }
}
