//! The layout of a cluster, combined from the replies of several nodes.

use std::collections::{BTreeMap, HashMap};

use redis::{FromRedisValue, Value};

use crate::key::SLOTS;
use crate::settings::Endpoint;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// The primary of each slot, as its index in `primaries`.
    pub(super) slots: Vec<Option<u16>>,
    pub(super) primaries: Vec<Location>,
    /// Primaries without slots, to which slots may be migrating.
    pub(super) spares: Vec<Location>,
    /// Replicas, and nodes without slots that are marked as failed.
    pub(super) others: Vec<Endpoint>,
}

impl Layout {
    /// Returns whether each slot has the same primary in another layout.
    pub(super) fn has_same_primaries(&self, other: &Self) -> bool {
        fn primary(layout: &Layout, slot: Option<u16>) -> Option<&Endpoint> {
            let location = layout.primaries.get(usize::from(slot?))?;
            Some(&location.endpoint)
        }
        let slots = self.slots.iter().zip(&other.slots);
        let mut pairs = slots.map(|(one, another)| (primary(self, *one), primary(other, *another)));
        self.slots.len() == other.slots.len() && pairs.all(|(one, another)| one == another)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) endpoint: Endpoint,
    /// Every endpoint by which other nodes may name the node.
    names: Vec<Endpoint>,
}

/// The address of a node, as another node or a redirection names it. If `host` is `None`, the host is
/// that of the node that sent the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReportedAddress {
    pub(super) host: Option<String>,
    pub(super) port: u16,
}

/// The cluster as one node sees it.
pub(super) struct View {
    /// The endpoint of the node whose view this is.
    pub(super) from: Endpoint,
    /// The reply to `CLUSTER NODES`.
    pub(super) nodes: String,
    /// The reply to `CLUSTER SLOTS`. Only this reply has the preferred endpoints, which clients should
    /// use.
    pub(super) slots: Value,
}

/// A line of the reply to `CLUSTER NODES`.
struct Line<'a> {
    id: &'a str,
    address: ReportedAddress,
    host_name: Option<&'a str>,
    is_primary: bool,
    has_failed: bool,
    epoch: u64,
    slots: Vec<&'a str>,
}

/// A node, merged from all views.
#[derive(Default)]
struct MergedNode {
    /// The endpoints of the node. The one with the lowest rank is used.
    endpoints: Vec<(Rank, String, u16)>,
    is_primary: bool,
    has_failed: bool,
    has_slots: bool,
}

/// The rank of an endpoint. Of the endpoints of a node, the one with the lowest rank is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The name in the certificate of the node.
    Certified,
    /// The preferred endpoint in the reply to `CLUSTER SLOTS`.
    Preferred,
    Address,
    /// The host to which `CLUSTER NODES` was sent, with the port of the reply: the node does not know
    /// its own address.
    QueriedAt,
    HostName,
}

impl Layout {
    /// Merges the views of several nodes. If two primaries claim a slot, it belongs to the one with the
    /// greater configuration epoch. The nodes follow the same rule. `None`: no slot has a primary.
    pub(super) fn merge(views: &[View], by_host_name: bool) -> Option<Self> {
        let mut claims: Vec<Option<(u64, &str)>> = vec![None; usize::from(SLOTS)];
        let mut merged: BTreeMap<&str, MergedNode> = BTreeMap::new();
        for view in views {
            let preferred = preferred(&view.slots);
            for line in view.nodes.lines().filter_map(Line::parse) {
                for (first, last) in line.slots().filter_map(range) {
                    for claim in &mut claims[first..=last] {
                        if claim.is_none_or(|(epoch, _)| epoch < line.epoch) {
                            *claim = Some((line.epoch, line.id));
                        }
                    }
                }
                let node = merged.entry(line.id).or_default();
                node.is_primary |= line.is_primary;
                node.has_failed |= line.has_failed;
                node.add_line(&line, preferred.get(line.id), &view.from, by_host_name);
            }
        }
        let mut layout = Self::default();
        for claim in claims {
            let owner = claim.map(|(_, owner)| owner);
            let index = owner.and_then(|owner| {
                let node = merged.get_mut(owner)?;
                node.has_slots = true;
                layout.index_of(node.location()?)
            });
            layout.slots.push(index);
        }
        for node in merged.values().filter(|node| !node.has_slots) {
            match node.location() {
                Some(spare) if node.is_primary && !node.has_failed => layout.spares.push(spare),
                Some(other) => layout.others.push(other.endpoint),
                None => {}
            }
        }
        (!layout.primaries.is_empty()).then_some(layout)
    }

    /// Returns the index of a primary in `primaries`. Appends the primary if the list lacks it.
    fn index_of(&mut self, primary: Location) -> Option<u16> {
        let mut known = self.primaries.iter();
        let index = known.position(|it| it.endpoint == primary.endpoint);
        let index = index.unwrap_or_else(|| {
            self.primaries.push(primary);
            self.primaries.len() - 1
        });
        u16::try_from(index).ok()
    }
}

impl Location {
    pub(super) fn is_named(&self, host: &str, port: u16) -> bool {
        let tcp = |it: &Endpoint| matches!(it, Endpoint::Tcp { host: h, port: p } if h == host && *p == port);
        self.names.iter().any(tcp)
    }

    /// Returns the hosts of the node.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter_map(|endpoint| match endpoint {
            Endpoint::Tcp { host, .. } => Some(&**host),
            Endpoint::Unix(_) => None,
        })
    }
}

impl MergedNode {
    /// Adds the endpoints in a line.
    fn add_line(
        &mut self,
        line: &Line<'_>,
        preferred: Option<&ReportedAddress>,
        from: &Endpoint,
        by_host_name: bool,
    ) {
        let port = line.address.port;
        let queried = match from {
            Endpoint::Tcp { host, .. } => Some(&**host),
            Endpoint::Unix(_) => None,
        };
        if let Some(preferred) = preferred {
            let host = preferred.host.as_deref().or(queried);
            self.add_endpoint(Rank::Preferred, host, preferred.port);
        }
        match &line.address.host {
            Some(host) => self.add_endpoint(Rank::Address, Some(host), port),
            None => self.add_endpoint(Rank::QueriedAt, queried, port),
        }
        let rank = if by_host_name {
            Rank::Certified
        } else {
            Rank::HostName
        };
        self.add_endpoint(rank, line.host_name, port);
    }

    fn add_endpoint(&mut self, rank: Rank, host: Option<&str>, port: u16) {
        let endpoint = host.map(|host| (rank, host.to_owned(), port));
        if let Some(endpoint) = endpoint.filter(|it| !self.endpoints.contains(it)) {
            self.endpoints.push(endpoint);
        }
    }

    fn location(&self) -> Option<Location> {
        let endpoint = |(_, host, port): &(Rank, String, u16)| Endpoint::Tcp {
            host: host.clone(),
            port: *port,
        };
        Some(Location {
            endpoint: self.endpoints.iter().min().map(endpoint)?,
            names: self.endpoints.iter().map(endpoint).collect(),
        })
    }
}

/// Parses the first and the last slot of `17` or `0-5460`. Returns `None` for the mark of a migrating
/// slot, such as `[300->-b]`.
fn range(slots: &str) -> Option<(usize, usize)> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < usize::from(SLOTS)).then_some((first, last))
}

impl<'a> Line<'a> {
    /// Parses `id host:port@bus[,name] flags primary ping pong epoch link slot…`.
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (id, address, flags) = (words.next()?, words.next()?, words.next()?);
        let epoch = words.nth(3)?.parse().ok()?;
        let _link = words.next()?;
        let has = |flag| flags.split(',').any(|it| it == flag);
        if has("noaddr") || has("handshake") {
            return None;
        }
        let (address, extra) = address.split_once(',').unwrap_or((address, ""));
        let name = extra.split(',').next().unwrap_or_default();
        let (address, _bus) = address.split_once('@').unwrap_or((address, ""));
        Some(Self {
            id,
            address: ReportedAddress::parse(address)?,
            host_name: (!name.is_empty() && !name.contains('=')).then_some(name),
            is_primary: has("master"),
            has_failed: has("fail"),
            epoch,
            slots: words.collect(),
        })
    }

    /// Returns the slots that the node serves.
    fn slots(&self) -> impl Iterator<Item = &'a str> {
        let slots = self.slots.iter().copied();
        slots.filter(|_| self.is_primary)
    }
}

/// Returns the preferred endpoints, by the ids of their nodes. The reply to `CLUSTER SLOTS` has
/// `[first, last, [endpoint, port, id, …], …]` for each range of slots.
fn preferred(slots: &Value) -> HashMap<String, ReportedAddress> {
    let ranges = slots.as_sequence().unwrap_or_default().iter();
    let nodes = ranges.flat_map(|range| range.as_sequence().unwrap_or_default().iter().skip(2));
    let node = |node: &Value| {
        let [endpoint, port, id, ..] = node.as_sequence()? else {
            return None;
        };
        let host: Option<String> = FromRedisValue::from_redis_value_ref(endpoint).ok()?;
        let port = FromRedisValue::from_redis_value_ref(port).ok()?;
        let id = FromRedisValue::from_redis_value_ref(id).ok()?;
        // The node is configured to send its host name, but has none.
        let is_unknown = host.as_deref() == Some("?");
        let host = host.filter(|host| !host.is_empty());
        (!is_unknown && port != 0).then_some((id, ReportedAddress { host, port }))
    };
    nodes.filter_map(node).collect()
}

impl ReportedAddress {
    /// Parses `host:port`, in which the host may be empty or `?`.
    pub(super) fn parse(address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let host = host.trim_matches(['[', ']']);
        Some(Self {
            host: (!matches!(host, "" | "?")).then(|| host.to_owned()),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Endpoint {
        Endpoint::Tcp {
            host: "10.0.0.1".to_owned(),
            port,
        }
    }

    fn layout(views: &[&str]) -> Option<Layout> {
        let views: Vec<_> = views.iter().map(|nodes| view(nodes, Value::Nil)).collect();
        Layout::merge(&views, false)
    }

    fn view(nodes: &str, slots: Value) -> View {
        View {
            from: at(1),
            nodes: nodes.to_owned(),
            slots,
        }
    }

    fn endpoints(locations: &[Location]) -> Vec<Endpoint> {
        let endpoints = locations.iter().map(|location| location.endpoint.clone());
        endpoints.collect()
    }

    #[test]
    fn every_slot_has_the_primary_that_claims_it() {
        let layout = layout(&["\
            a :1@11 myself,master - 0 0 1 connected 0-99 200 [300->-b] [301-<-b]\n\
            b 10.0.0.1:2@12,name master - 0 0 2 connected 100-199 300-16383\n\
            c 10.0.0.1:3@13 slave a 0 0 1 connected\n\
            d 10.0.0.1:4@14 master - 0 0 0 connected\n\
            e :0@0 master,noaddr - 0 0 9 disconnected 0-16383\n\
            nonsense\n"])
        .unwrap();
        assert_eq!(endpoints(&layout.primaries), [at(1), at(2)]);
        assert_eq!(endpoints(&layout.spares), [at(4)]);
        assert_eq!(layout.others, [at(3)]);
        for (slot, primary) in [(0, 0), (99, 0), (200, 0), (100, 1), (300, 1), (16383, 1)] {
            assert_eq!(layout.slots[slot], Some(primary), "{slot}");
        }
        assert_eq!(layout.slots[201], None);
    }

    #[test]
    fn the_greater_epoch_has_a_slot_whoever_is_asked_first() {
        let old = "a 10.0.0.1:1@11 master - 0 0 1 connected 0-16383\n";
        let new = "a 10.0.0.1:1@11 master,fail - 0 0 1 connected\n\
            b 10.0.0.1:2@12 myself,master - 0 0 4 connected 0-16383\n";
        for views in [[old, new], [new, old]] {
            let layout = layout(&views).unwrap();
            let primary = usize::from(layout.slots[7].unwrap());
            assert_eq!(layout.primaries[primary].endpoint, at(2));
            assert!(layout.spares.is_empty(), "a failed primary is not a spare");
        }
    }

    #[test]
    fn what_says_nothing_of_slots_is_no_layout() {
        for view in [
            "",
            "a :1@11 myself,master - 0 0 0 connected",
            "a b c d e f g h 1-99999999",
        ] {
            assert_eq!(layout(&[view]), None, "{view}");
        }
    }

    /// Returns a reply to `CLUSTER SLOTS` in which one node serves all slots.
    fn preferring(endpoint: Value) -> Value {
        let text = |text: &str| Value::BulkString(text.into());
        let node = vec![endpoint, Value::Int(7), text("a"), Value::Array(Vec::new())];
        let (first, last) = (Value::Int(0), Value::Int(16383));
        Value::Array(vec![Value::Array(vec![first, last, Value::Array(node)])])
    }

    #[test]
    fn a_node_is_where_clients_are_told_or_where_its_certificate_names_it() {
        let nodes = "a 10.0.0.1:1@11,one.example,shard-id=1 master - 0 0 1 connected 0-16383";
        let text = |text: &str| Value::BulkString(text.into());
        for (slots, by_host_name, expected) in [
            (Value::Nil, false, "10.0.0.1:1"),
            (Value::Nil, true, "one.example:1"),
            (preferring(text("two.example")), false, "two.example:7"),
            (preferring(text("two.example")), true, "one.example:1"),
            (preferring(text("?")), false, "10.0.0.1:1"),
            (preferring(Value::Nil), false, "10.0.0.1:7"),
        ] {
            let layout = Layout::merge(&[view(nodes, slots)], by_host_name).unwrap();
            let location = &layout.primaries[0];
            assert_eq!(location.endpoint.to_string(), expected);
            assert!(location.is_named("10.0.0.1", 1) && location.is_named("one.example", 1));
        }
    }

    #[test]
    fn a_redirection_may_name_no_host() {
        let host = |address| ReportedAddress::parse(address).unwrap().host;
        assert_eq!(host("2001:db8::1:7000").as_deref(), Some("2001:db8::1"));
        assert_eq!(host("one.example:7").as_deref(), Some("one.example"));
        assert_eq!((host("?:7"), host(":7")), (None, None));
        for unknown in ["10.0.0.1:0", "10.0.0.1"] {
            assert_eq!(ReportedAddress::parse(unknown), None, "{unknown}");
        }
    }
}
