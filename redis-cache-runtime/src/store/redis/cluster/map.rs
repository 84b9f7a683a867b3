//! The map of a cluster: which node serves which slot.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::ConnectionLike;
use redis::{FromRedisValue, Pipeline, Value};
use tokio::time::{Instant, timeout};

use super::slots::{Layout, Location, View};
use super::task::Named;
use crate::key::{SLOTS, tag};
use crate::observe::fault::{Fault, FaultLog};
use crate::settings::{Access, Endpoint};
use crate::store::redis::context::ClientContext;
use crate::store::redis::finder::Finder;
use crate::store::redis::node::Node;
use crate::store::redis::reconnecting::{Loss, Open};
use crate::store::redis::server::Server;
use crate::store::redis::server_state::ServerState;

/// The most nodes that are asked at once for the layout of the cluster.
const MAX_ASKED: usize = 8;

/// The time for which a map counts as new.
const NEW: Duration = Duration::from_secs(1);

/// The primary of each slot.
pub(super) struct Map {
    layout: Layout,
    /// The primaries of the layout, then its spares, in their order.
    nodes: Vec<(Location, Arc<Node>)>,
    since: Instant,
}

impl Map {
    pub(super) fn primary(&self, slot: u16) -> Option<Arc<Node>> {
        let index = (*self.layout.slots.get(usize::from(slot))?)?;
        let (_, node) = self.nodes.get(usize::from(index))?;
        Some(Arc::clone(node))
    }

    /// Returns the node at an endpoint.
    fn node(&self, endpoint: &Endpoint) -> Option<Arc<Node>> {
        let mut nodes = self.nodes.iter();
        let (_, node) = nodes.find(|(known, _)| known.endpoint == *endpoint)?;
        Some(Arc::clone(node))
    }

    /// Returns the node that a redirection names.
    pub(super) fn named(&self, Named { by, address }: &Named) -> Option<Arc<Node>> {
        let mut nodes = self.nodes.iter();
        let is_meant = |location: &Location| match &address.host {
            Some(host) => location.is_named(host, address.port),
            None => self.nodes.iter().any(|(its, node)| {
                let mut hosts = its.hosts();
                Arc::ptr_eq(node, by) && hosts.any(|host| location.is_named(host, address.port))
            }),
        };
        let (_, node) = nodes.find(|(location, _)| is_meant(location))?;
        Some(Arc::clone(node))
    }

    /// Returns every primary that serves slots.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        let nodes = self.nodes.iter().map(|(_, node)| node);
        nodes.take(self.layout.primaries.len())
    }

    /// Returns whether the map is so new that another would be the same.
    pub(super) fn is_new(&self) -> bool {
        self.since.elapsed() < NEW
    }
}

/// Loads the map.
pub(super) struct Mapper {
    context: Arc<ClientContext>,
    access: Access,
    seeds: Vec<Endpoint>,
    /// The last map.
    last: Mutex<Option<Arc<Map>>>,
}

impl Mapper {
    pub(super) fn new(context: Arc<ClientContext>, access: Access, seeds: Vec<Endpoint>) -> Self {
        Self {
            context,
            access,
            seeds,
            last: Mutex::default(),
        }
    }

    /// Returns some of the nodes that may know the layout.
    fn to_be_asked(&self) -> Vec<Endpoint> {
        let mut known: Vec<Endpoint> = self.seeds.clone();
        if let Some(map) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            known.extend(
                map.nodes
                    .iter()
                    .map(|(location, _)| location.endpoint.clone()),
            );
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

    /// Asks a node for the layout of the cluster, on a connection of its own: most of these nodes get no
    /// other commands.
    async fn ask(&self, endpoint: Endpoint) -> Result<View, Fault> {
        let asked = async {
            let server = Server::new(&self.access, &endpoint).map_err(|_| Fault::Protocol)?;
            let mut opened = server.connect(&self.context, None).await?;
            let mut commands = Pipeline::with_capacity(2);
            commands.cmd("CLUSTER").arg("NODES");
            commands.cmd("CLUSTER").arg("SLOTS");
            let replies = opened.connection.req_packed_commands(&commands, 0, 2).await;
            replies.map_err(|error| Fault::from(&error))
        };
        let replies = timeout(self.context.budget.to_connect_and_ask(), asked).await;
        let replies = replies.map_err(|_| Fault::Timeout)??;
        let Ok::<[Value; 2], _>([nodes, slots]) = replies.try_into() else {
            return Err(Fault::Protocol);
        };
        if let Value::ServerError(error) = &nodes {
            return Err(Fault::Refused(error.code().to_owned()));
        }
        Ok(View {
            from: endpoint,
            nodes: String::from_redis_value(nodes).map_err(|_| Fault::Protocol)?,
            slots,
        })
    }

    /// Builds the map of a layout. A node that the last map lacks counts as a replacement.
    fn map(&self, layout: Layout, last: Option<&Map>) -> Result<Map, Fault> {
        let node = |(index, location): (usize, &Location)| {
            let endpoint = &location.endpoint;
            let pulse = self.pulse(&layout, index);
            if let Some(node) = last.and_then(|last| last.node(endpoint)) {
                node.pulses_at(pulse);
                return Ok((location.clone(), node));
            }
            let server = Server::new(&self.access, endpoint).map_err(|_| Fault::Protocol)?;
            let server_state =
                ServerState::new(Finder::Fixed(server), pulse, self.context.budget.distance());
            let server_state = match last {
                None if index < layout.primaries.len() => server_state,
                // A spare may replace a primary between two maps.
                _ => server_state.replacement(),
            };
            let node = Node::new(endpoint.to_string(), &self.context, server_state);
            Ok((location.clone(), Arc::new(node)))
        };
        let locations = layout.primaries.iter().chain(&layout.spares);
        let nodes = locations.enumerate().map(node);
        let nodes = nodes.collect::<Result<_, Fault>>()?;
        Ok(Map {
            layout,
            nodes,
            since: Instant::now(),
        })
    }
}

impl Mapper {
    /// Returns a name for the pulses of a primary, in one of its slots. The slot is random, because a
    /// slot that is migrating proves nothing.
    fn pulse(&self, layout: &Layout, index: usize) -> String {
        let is_its = |slot: &u16| {
            let owner = layout.slots.get(usize::from(*slot)).copied().flatten();
            owner.is_some_and(|owner| usize::from(owner) == index)
        };
        let slots: Vec<u16> = (0..SLOTS).filter(is_its).collect();
        let slot = fastrand::choice(slots).unwrap_or_default();
        format!("{}:cache:pulse:{{{}}}", self.context.prefix, tag(slot))
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
        if let (Some(last), Some(near_cache)) = (&*last, &self.context.near_cache)
            && !map.layout.has_same_primaries(&last.layout)
        {
            // A node that loses a slot may push late, or nothing.
            near_cache.invalidate_all();
        }
        *last = Some(Arc::clone(&map));
        Ok(map)
    }

    async fn rest(_: &Arc<Map>) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    /// Requests notice when the map is wrong.
    async fn check(&self, _: &Arc<Map>) -> Option<Loss> {
        None
    }

    fn works(_: &Arc<Map>) -> bool {
        true
    }

    fn is_same(one: &Arc<Map>, other: &Arc<Map>) -> bool {
        Arc::ptr_eq(one, other)
    }

    fn mark_away(&self) {}

    fn patience(&self) -> Duration {
        self.context.budget()
    }

    fn faults(&self) -> Option<&FaultLog> {
        Some(&self.context.faults)
    }
}
