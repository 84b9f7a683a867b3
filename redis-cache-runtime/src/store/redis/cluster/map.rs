//! The map of a cluster: which node serves which slot.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::slots::{Layout, tag};
use crate::fault::{Fault, FaultLog};
use crate::settings::{Access, Endpoint};
use crate::store::redis::finder::Finder;
use crate::store::redis::kept::{Loss, Open};
use crate::store::redis::link::{Shared, Target};
use crate::store::redis::node::Node;
use crate::store::redis::server::Server;

/// How many nodes are asked at once what the cluster looks like.
const MAX_ASKED: usize = 8;

/// Which primary serves which slot.
pub(super) struct Map {
    layout: Layout,
    /// In the order of the layout's primaries.
    nodes: Vec<(Endpoint, Arc<Node>)>,
}

impl Map {
    pub(super) fn primary(&self, slot: usize) -> Option<Arc<Node>> {
        let place = (*self.layout.slots.get(slot)?)?;
        let (_, node) = self.nodes.get(usize::from(place))?;
        Some(Arc::clone(node))
    }

    /// A primary by its place.
    pub(super) fn node(&self, endpoint: &Endpoint) -> Option<Arc<Node>> {
        let mut nodes = self.nodes.iter();
        let (_, node) = nodes.find(|(known, _)| known == endpoint)?;
        Some(Arc::clone(node))
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().map(|(_, node)| node)
    }
}

/// Makes the map.
pub(super) struct Mapper {
    shared: Arc<Shared>,
    access: Access,
    seeds: Vec<Endpoint>,
    /// The last map that was made.
    last: Mutex<Option<Arc<Map>>>,
}

impl Mapper {
    pub(super) fn new(shared: Arc<Shared>, access: Access, seeds: Vec<Endpoint>) -> Self {
        Self {
            shared,
            access,
            seeds,
            last: Mutex::default(),
        }
    }

    /// Some of the nodes that may know.
    fn to_be_asked(&self) -> Vec<Endpoint> {
        let mut known: Vec<Endpoint> = self.seeds.clone();
        if let Some(map) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            known.extend(map.layout.primaries.iter().cloned());
            known.extend(map.layout.others.iter().cloned());
        }
        fastrand::shuffle(&mut known);
        let mut asked = Vec::with_capacity(MAX_ASKED);
        for endpoint in known {
            if asked.len() < MAX_ASKED && !asked.contains(&endpoint) {
                asked.push(endpoint);
            }
        }
        asked
    }

    /// What a node says the cluster looks like. It is asked on a connection of its own, because most
    /// nodes that know are none that commands are sent to.
    async fn ask(&self, endpoint: Endpoint) -> Result<(Endpoint, String), Fault> {
        let asked = async {
            let server = Server::new(&self.access, &endpoint).map_err(|_| Fault::Protocol)?;
            let mut opened = server.connect(&self.shared).await?;
            let mut nodes = redis::cmd("CLUSTER");
            let nodes = nodes.arg("NODES").query_async(&mut opened.connection).await;
            nodes.map_err(|error| Fault::from(&error))
        };
        let view = timeout(self.shared.budget, asked).await;
        let view = view.map_err(|_| Fault::Timeout)??;
        Ok((endpoint, view))
    }

    /// The map of a layout. A node that was not there before takes the place of another.
    fn map(&self, layout: Layout, last: Option<&Map>) -> Result<Map, Fault> {
        let node = |(place, endpoint): (u16, &Endpoint)| {
            let pulse = self.pulse(&layout, place);
            if let Some(node) = last.and_then(|last| last.node(endpoint)) {
                node.pulses_at(pulse);
                return Ok((endpoint.clone(), node));
            }
            let server = Server::new(&self.access, endpoint).map_err(|_| Fault::Protocol)?;
            let target = Target::new(Finder::Fixed(server), pulse);
            let target = match last {
                None => target,
                Some(_) => target.succeeding(),
            };
            let node = Node::new(endpoint.to_string(), &self.shared, target);
            Ok((endpoint.clone(), Arc::new(node)))
        };
        let nodes = (0..).zip(&layout.primaries).map(node);
        let nodes = nodes.collect::<Result<_, Fault>>()?;
        Ok(Map { layout, nodes })
    }
}

impl Mapper {
    /// A name for the pulses of a primary, in one of its slots: any one, because a slot that is on its
    /// way to another node proves nothing.
    fn pulse(&self, layout: &Layout, place: u16) -> String {
        let mut slots: Vec<usize> = Vec::new();
        for (slot, owner) in layout.slots.iter().enumerate() {
            if *owner == Some(place) {
                slots.push(slot);
            }
        }
        let slot = fastrand::choice(slots).unwrap_or_default();
        format!("{}:cache:pulse:{{{}}}", self.shared.prefix, tag(slot))
    }
}

impl Open for Mapper {
    type Opened = Arc<Map>;

    async fn open(&self) -> Result<Arc<Map>, Fault> {
        let asked = self.to_be_asked().into_iter().map(|node| self.ask(node));
        let (mut views, mut fault) = (Vec::new(), Fault::Unreachable);
        for view in join_all(asked).await {
            match view {
                Ok(view) => views.push(view),
                Err(why) => fault = fault.or_more_telling(why),
            }
        }
        if views.is_empty() {
            return Err(fault);
        }
        let layout = Layout::merge(&views, self.access.is_tls()).ok_or(Fault::NoSlots)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let map = Arc::new(self.map(layout, last.as_deref())?);
        *last = Some(Arc::clone(&map));
        Ok(map)
    }

    async fn rest(_: &Arc<Map>) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    /// Who uses it finds out when it is wrong.
    async fn check(&self, _: &Arc<Map>) -> Option<Loss> {
        None
    }

    fn is_same(one: &Arc<Map>, other: &Arc<Map>) -> bool {
        Arc::ptr_eq(one, other)
    }

    fn is_away(&self) {}

    fn patience(&self) -> Duration {
        self.shared.budget
    }

    fn faults(&self) -> &FaultLog {
        &self.shared.faults
    }
}
