//! The view that a node has of all nodes: the lines of `CLUSTER NODES`.

use std::ops::RangeInclusive;

use crate::waiting::Attempt;

/// The view that a node has of a node.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) port: u16,
    pub(super) bus_port: u16,
    /// The id of its primary, if it is a replica.
    pub(super) primary: Option<String>,
    /// The epoch: of several views of the slots, the one with the highest epoch is right.
    pub(super) epoch: u64,
    pub(super) slots: Vec<RangeInclusive<u16>>,
    flags: Vec<String>,
    is_linked: bool,
}

impl Node {
    pub(super) fn is_self(&self) -> bool {
        self.has_flag("myself")
    }

    pub(super) fn serves(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }

    /// Returns whether the node with this view also reaches it.
    pub(super) fn is_reached(&self) -> bool {
        let flags = ["handshake", "fail", "fail?", "noaddr"];
        self.is_linked && !flags.iter().any(|flag| self.has_flag(flag))
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_flag("fail")
    }

    fn has_flag(&self, name: &str) -> bool {
        self.flags.iter().any(|flag| flag == name)
    }

    fn from_line(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let id = fields.next()?.to_owned();
        let (address, bus_port) = fields.next()?.split_once('@')?;
        let bus_port = bus_port.split(',').next()?.parse().ok()?;
        let port = address.rsplit(':').next()?.parse().ok()?;
        let flags = fields.next()?.split(',').map(str::to_owned).collect();
        let primary = fields.next().filter(|id| *id != "-").map(str::to_owned);
        let epoch = fields.nth(2)?.parse().ok()?;
        let is_linked = fields.next()? == "connected";
        // In brackets are slots on their way.
        let slots = fields.filter(|slots| !slots.starts_with('['));
        let range = |slots: &str| {
            let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
            Some(first.parse().ok()?..=last.parse().ok()?)
        };
        Some(Self {
            id,
            port,
            bus_port,
            primary,
            epoch,
            slots: slots.map(range).collect::<Option<_>>()?,
            flags,
            is_linked,
        })
    }
}

pub(super) fn view(connection: &mut redis::Connection) -> Attempt<Vec<Node>> {
    let lines: String = redis::cmd("CLUSTER").arg("NODES").query(connection)?;
    let nodes = lines.lines().map(Node::from_line).collect::<Option<_>>();
    nodes.ok_or_else(|| format!("unknown lines: {lines}").into())
}
