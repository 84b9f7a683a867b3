//! Lookups in a cluster. Lookups on the same node share commands.

use std::sync::Arc;

use futures_util::future::join_all;
use smallvec::{SmallVec, smallvec};
use tokio::time::Instant;

use super::{Cluster, Task};
use crate::key::{Name, slot};
use crate::observe::fault::Fault;
use crate::store::Incarnation;
use crate::store::redis::commands::bytes;
use crate::store::redis::lookups::{LookedUp, Values};
use crate::store::redis::node::Node;
use crate::store::redis::request::Purpose;

/// The names of a lookup that one node has, each with its index and its slot.
type NodeNames<'a> = (Arc<Node>, SmallVec<[(usize, u16, Name<'a>); 4]>);

impl Cluster {
    /// Reads values, in the order of their names.
    pub(in super::super) async fn read(
        &self,
        names: &[Name<'_>],
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<LookedUp, Fault> {
        if !purpose.is_large()
            && let Some(found) = self.look_up(names, deadline).await?
        {
            return Ok(found);
        }
        let values = self.read_slots(names, purpose, deadline).await?;
        Ok(LookedUp::own(values, Vec::new()))
    }

    /// Reads values in commands that lookups share. `None`: a slot has no known primary, or its node
    /// refuses the command, for example because it redirects to another node.
    async fn look_up(
        &self,
        names: &[Name<'_>],
        deadline: Instant,
    ) -> Result<Option<LookedUp>, Fault> {
        let map = self.maps.current(deadline).await?;
        let mut by_node: SmallVec<[NodeNames<'_>; 1]> = SmallVec::new();
        for (index, name) in names.iter().enumerate() {
            let slot = slot(*name);
            let Some(node) = map.primary(slot) else {
                return Ok(None);
            };
            match by_node.iter_mut().find(|(to, _)| Arc::ptr_eq(to, &node)) {
                Some((_, names)) => names.push((index, slot, *name)),
                None => by_node.push((node, smallvec![(index, slot, *name)])),
            }
        }
        let lookups = by_node.iter().map(|(node, names)| {
            let names = names.iter().map(|(_, slot, name)| (*slot, *name));
            node.look_up(names, deadline)
        });
        let mut values: Values = smallvec![(None, Incarnation::default()); names.len()];
        let mut all = Vec::new();
        for ((_, names), found) in by_node.iter().zip(join_all(lookups).await) {
            let found = found.inspect_err(|fault| self.maps.refresh_after(fault))?;
            let Ok(found) = found else {
                return Ok(None);
            };
            for ((index, ..), value) in names.iter().zip(found.values()) {
                values[*index] = value;
            }
            all.push(found);
        }
        let membership = self.membership.as_ref();
        let tracked = membership.map_or_else(Vec::new, |it| it.read_on(all.into_iter()));
        Ok(Some(LookedUp::own(values, tracked)))
    }

    /// Reads values with one command for each slot, and follows redirections.
    async fn read_slots(
        &self,
        names: &[Name<'_>],
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Values, Fault> {
        let mut by_slot: Vec<(u16, Vec<Name<'_>>)> = Vec::new();
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            let slot = slot(*name);
            let known = by_slot.iter().position(|(known, _)| *known == slot);
            let place = known.unwrap_or_else(|| {
                by_slot.push((slot, Vec::new()));
                by_slot.len() - 1
            });
            by_slot[place].1.push(*name);
            places.push(place);
        }
        let tasks = by_slot.into_iter().map(|(_, names)| Task::Read(names));
        let tasks: Vec<_> = tasks.collect();
        let mut values = Vec::with_capacity(tasks.len());
        for reply in self.run_all_until(&tasks, purpose, deadline).await? {
            values.push(reply?.into_iter());
        }
        let value = |place: usize| {
            let (value, from) = values[place].next().ok_or(Fault::Protocol)?;
            Ok((bytes(value), from))
        };
        places.into_iter().map(value).collect()
    }
}
