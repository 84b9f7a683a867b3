//! Which primary serves which slot, put together from what several nodes say.

use std::collections::HashSet;

use crc16::{State, XMODEM};

use crate::settings::Endpoint;

/// How many slots a cluster has.
const SLOTS: usize = 16384;

/// The slot of a name: of what stands in its first braces, or of all of it when nothing does.
pub(in super::super) fn slot(name: &[u8]) -> usize {
    let tag = name.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &name[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    usize::from(State::<XMODEM>::calculate(tag.unwrap_or(name))) % SLOTS
}

/// A tag of names in a slot.
pub(super) fn tag(of: usize) -> String {
    let mut tags = (0_u32..).map(|number| format!("{number:x}"));
    tags.find(|tag| slot(tag.as_bytes()) == of)
        .unwrap_or_default()
}

/// What a cluster looks like.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The primary of each slot, as its place in `primaries`.
    pub(super) slots: Vec<Option<u16>>,
    pub(super) primaries: Vec<Endpoint>,
    /// Replicas, and primaries without slots.
    pub(super) others: Vec<Endpoint>,
}

/// A line of the reply to `CLUSTER NODES`.
struct Line<'a> {
    endpoint: Endpoint,
    is_primary: bool,
    epoch: u64,
    slots: Vec<&'a str>,
}

impl Layout {
    /// Merges the views of several nodes: of two primaries that claim a slot, the one with the greater
    /// configuration epoch has it, as the nodes themselves decide it. A view is what `CLUSTER NODES`
    /// said, and who said it. `None` when no slot has a primary.
    pub(super) fn merge(views: &[(Endpoint, String)], by_host_name: bool) -> Option<Self> {
        let mut claims: Vec<Option<(u64, Endpoint)>> = vec![None; SLOTS];
        let mut known = HashSet::new();
        for (from, view) in views {
            let lines = view.lines();
            for line in lines.filter_map(|line| Line::parse(line, from, by_host_name)) {
                let slots = line.slots.iter().filter(|_| line.is_primary);
                for (first, last) in slots.filter_map(|slots| range(slots)) {
                    for claim in &mut claims[first..=last] {
                        if claim.as_ref().is_none_or(|(epoch, _)| *epoch < line.epoch) {
                            *claim = Some((line.epoch, line.endpoint.clone()));
                        }
                    }
                }
                known.insert(line.endpoint);
            }
        }
        let mut primaries = Vec::new();
        let owners = claims
            .into_iter()
            .map(|claim| claim.map(|(_, owner)| owner));
        let slots: Vec<_> = owners.map(|owner| place(&mut primaries, owner?)).collect();
        known.retain(|endpoint| !primaries.contains(endpoint));
        (!primaries.is_empty()).then(|| Self {
            slots,
            primaries,
            others: known.into_iter().collect(),
        })
    }
}

/// The place of a primary in the list, where it is put if it is not there yet.
fn place(primaries: &mut Vec<Endpoint>, endpoint: Endpoint) -> Option<u16> {
    let known = primaries.iter().position(|it| *it == endpoint);
    let place = known.unwrap_or_else(|| {
        primaries.push(endpoint);
        primaries.len() - 1
    });
    u16::try_from(place).ok()
}

/// The first and the last slot of `17` or `0-5460`. What a slot is migrated to or from is not served.
fn range(slots: &str) -> Option<(usize, usize)> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some((first, last))
}

impl<'a> Line<'a> {
    /// `id host:port@bus[,name] flags primary ping pong epoch link slot…`
    fn parse(line: &'a str, from: &Endpoint, by_host_name: bool) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (_id, address, flags) = (words.next()?, words.next()?, words.next()?);
        let epoch = words.nth(3)?.parse().ok()?;
        let _link = words.next()?;
        let mut flags = flags.split(',');
        let is_usable = flags
            .clone()
            .all(|flag| !matches!(flag, "noaddr" | "handshake"));
        Some(Self {
            endpoint: endpoint(address, from, by_host_name).filter(|_| is_usable)?,
            is_primary: flags.any(|flag| flag == "master"),
            epoch,
            slots: words.collect(),
        })
    }
}

/// Where a node is, by what another says. One that does not know its own address says nothing, and is
/// where it was asked.
fn endpoint(address: &str, from: &Endpoint, by_host_name: bool) -> Option<Endpoint> {
    let (address, extra) = address.split_once(',').unwrap_or((address, ""));
    let name = extra.split(',').next().filter(|name| !name.contains('='));
    let (address, _bus) = address.split_once('@').unwrap_or((address, ""));
    let (host, port) = host_and_port(address)?;
    let host = match (name, from) {
        (Some(name), _) if by_host_name && !name.is_empty() => name,
        (_, Endpoint::Tcp { host: asked, .. }) if host.is_empty() => asked,
        _ => host,
    };
    Some(Endpoint::Tcp {
        host: host.to_owned(),
        port,
    })
}

/// The endpoint that a redirection names; `None` if it is where the command was sent already.
pub(super) fn redirected(address: &str) -> Option<Endpoint> {
    let (host, port) = host_and_port(address)?;
    (!matches!(host, "" | "?")).then(|| Endpoint::Tcp {
        host: host.to_owned(),
        port,
    })
}

fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some((host.trim_matches(['[', ']']), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_that_of_the_tag() {
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"a{123456789}b}"), 0x31C3);
        assert_eq!(slot(b"{}123456789"), slot(b"{}123456789"));
        assert_ne!(slot(b"{}123456789"), 0x31C3);
    }

    fn at(port: u16) -> Endpoint {
        Endpoint::Tcp {
            host: "10.0.0.1".to_owned(),
            port,
        }
    }

    fn layout(views: &[&str]) -> Option<Layout> {
        let views: Vec<_> = views
            .iter()
            .map(|view| (at(1), (*view).to_owned()))
            .collect();
        Layout::merge(&views, false)
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
        assert_eq!(layout.primaries, [at(1), at(2)]);
        for (slot, primary) in [(0, 0), (99, 0), (200, 0), (100, 1), (300, 1), (16383, 1)] {
            assert_eq!(layout.slots[slot], Some(primary), "{slot}");
        }
        assert_eq!(layout.slots[201], None);
        assert_eq!(layout.others.len(), 2);
    }

    #[test]
    fn the_greater_epoch_has_a_slot_whoever_is_asked_first() {
        let old = "a 10.0.0.1:1@11 master - 0 0 1 connected 0-16383\n";
        let new = "a 10.0.0.1:1@11 master,fail - 0 0 1 connected\n\
            b 10.0.0.1:2@12 myself,master - 0 0 4 connected 0-16383\n";
        for views in [[old, new], [new, old]] {
            let layout = layout(&views).unwrap();
            let primary = usize::from(layout.slots[7].unwrap());
            assert_eq!(layout.primaries[primary], at(2));
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

    #[test]
    fn names_are_used_where_certificates_name_them() {
        let view = "a 10.0.0.1:1@11,one.example,shard-id=1 master - 0 0 1 connected 0-16383";
        let layout = Layout::merge(&[(at(1), view.to_owned())], true).unwrap();
        assert_eq!(layout.primaries[0].to_string(), "one.example:1");
        let six = redirected("2001:db8::1:7000").unwrap();
        assert!(matches!(six, Endpoint::Tcp { host, port: 7000 } if host == "2001:db8::1"));
        assert_eq!(redirected("10.0.0.1:7"), Some(at(7)));
        for unknown in ["?:7", ":7", "10.0.0.1:0", "10.0.0.1"] {
            assert_eq!(redirected(unknown), None, "{unknown}");
        }
    }
}
