mod migration;
mod setup;
mod view;

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::redis_process::RedisProcess;
use crate::temp_dir::TempDir;
use crate::waiting::{Attempt, wait_until};
use view::{Node, view};

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;

/// A Redis Cluster on free loopback ports: three primaries with a replica each, stopped when this
/// is dropped or the process ends. A node that is gone for a second is replaced by its replica a
/// second or two later.
///
/// Nodes have an index, which they keep. At first the primaries are 0, 1 and 2, and the replica of
/// each comes three later.
pub struct RedisCluster {
    nodes: Vec<RedisProcess>,
    _directory: TempDir,
}

impl RedisCluster {
    /// Starts a cluster of its own, for tests that change it or read its counters.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The cluster that the tests of a process share, and leave as it is; each uses names of its
    /// own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisCluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The URL with all nodes, `redis://127.0.0.1:1,127.0.0.1:2`, without credentials.
    pub fn url(&self) -> String {
        let addresses = self.addresses().into_iter();
        let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
        format!("redis://{}", addresses.join(","))
    }

    /// The addresses at which the nodes listen.
    pub fn addresses(&self) -> Vec<SocketAddrV4> {
        self.nodes.iter().map(RedisProcess::address).collect()
    }

    /// Returns the number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// A blocking connection to a node, logged in.
    pub fn connection(&self, index: usize) -> redis::Connection {
        self.nodes[index].connection()
    }

    /// The process id of a node.
    pub fn process(&self, index: usize) -> u32 {
        self.nodes[index].id()
    }

    /// The slot of a key.
    pub fn slot_of(&self, key: &str) -> u16 {
        let command = redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).to_owned();
        let (_, node) = self.up().next().expect("a running node");
        command
            .query(&mut node.connection())
            .expect("CLUSTER KEYSLOT")
    }

    /// The index of the primary that serves the slot of a key now.
    pub fn primary_of(&self, key: &str) -> usize {
        self.server_of(self.slot_of(key))
    }

    /// The indexes of the running nodes that are replicas of that one now.
    pub fn replicas_of(&self, index: usize) -> Vec<usize> {
        let id = self.id_of(index);
        let is_replica = |index: &usize| self.itself(*index).primary.as_ref() == Some(&id);
        self.up()
            .map(|(index, _)| index)
            .filter(is_replica)
            .collect()
    }

    /// Returns the number of commands that the running nodes have processed since they started, by
    /// lower-case name.
    pub fn command_counts(&self) -> Vec<(String, u64)> {
        let mut sums = BTreeMap::new();
        for (name, count) in self.up().flat_map(|(_, node)| node.command_counts()) {
            *sums.entry(name).or_default() += count;
        }
        sums.into_iter().collect()
    }

    /// Kills a node, as if its machine had failed.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].kill();
    }

    /// Returns whether all other nodes know that a node has failed.
    pub fn is_given_up(&self, index: usize) -> bool {
        let port = self.nodes[index].port();
        let gives_up = |process: &RedisProcess| {
            let nodes = view(&mut process.connection()).expect("CLUSTER NODES");
            let mut nodes = nodes.iter();
            nodes.any(|node| node.port == port && node.has_failed())
        };
        self.up().all(|(_, process)| gives_up(process))
    }

    /// Starts a node again, empty, on the same port. It becomes a replica of the node that has
    /// replaced it, or is a primary without keys if none has.
    pub fn start_again(&mut self, index: usize) {
        self.nodes[index].start_again();
    }

    /// Sends a node a signal such as `STOP` or `CONT`.
    pub fn signal(&self, index: usize, name: &str) {
        self.nodes[index].signal(name);
    }

    /// Makes a replica the primary, without losing anything, and waits until it is.
    pub fn fail_over_to(&self, index: usize) {
        wait_until("the primary", || {
            if self.itself(index).primary.is_none() {
                return Ok(());
            }
            let mut failover = redis::cmd("CLUSTER");
            failover.arg("FAILOVER");
            let () = failover.query(&mut self.nodes[index].try_connection()?)?;
            // Redis gives up after five seconds.
            let given_up = Instant::now() + Duration::from_secs(6);
            while self.itself(index).primary.is_some() && Instant::now() < given_up {
                // The pause between two looks.
                sleep(Duration::from_millis(20));
            }
            Err("it was asked to be".into())
        });
        self.wait_until_ok();
    }

    /// Waits until all slots are served by nodes that are neither killed nor stopped, and all such
    /// nodes agree on which, and have their data.
    pub fn wait_until_ok(&self) {
        wait_until("a cluster that is ok", || {
            let mut known = Vec::new();
            for (index, node) in self.up() {
                let mut connection = node.try_connection()?;
                let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connection)?;
                if !info.contains("cluster_state:ok") {
                    return Err(format!("node {index}: {info}").into());
                }
                let nodes = view(&mut connection)?;
                self.check_view(&nodes)
                    .and_then(|()| check_link(&nodes, &mut connection))
                    .map_err(|reason| format!("node {index}: {reason}"))?;
                known.push(slots_by_port(nodes));
            }
            if known.windows(2).any(|pair| pair[0] != pair[1]) {
                return Err("nodes disagree about slots".into());
            }
            Ok(())
        });
    }

    fn check_view(&self, nodes: &[Node]) -> Attempt<()> {
        if nodes.len() != self.nodes.len() {
            return Err(format!("{} nodes are known", nodes.len()).into());
        }
        for node in nodes {
            let index = self.index_of(node)?;
            match (self.nodes[index].is_up(), node.is_reached()) {
                (true, false) if !node.is_self() => {
                    return Err(format!("does not reach {index}").into());
                }
                (false, _) if !node.slots.is_empty() => {
                    return Err(format!("nobody has replaced {index}").into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The nodes that were neither killed nor stopped.
    fn up(&self) -> impl Iterator<Item = (usize, &RedisProcess)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, node)| node.is_up())
    }

    /// The index of the node that serves a slot, as whoever knows best says.
    pub fn server_of(&self, slot: u16) -> usize {
        wait_until("a primary", || {
            let mut nodes = Vec::new();
            for (_, node) in self.up() {
                nodes.extend(view(&mut node.try_connection()?)?);
            }
            let servers = nodes.iter().filter(|node| node.serves(slot));
            let latest = servers.max_by_key(|node| node.epoch);
            self.index_of(latest.ok_or("nobody serves the slot")?)
        })
    }

    fn index_of(&self, node: &Node) -> Attempt<usize> {
        let mut nodes = self.nodes.iter();
        let index = nodes.position(|process| process.port() == node.port);
        index.ok_or_else(|| format!("port {} is unknown", node.port).into())
    }

    fn id_of(&self, index: usize) -> String {
        let (_, node) = self.up().next().expect("a running node");
        let nodes = view(&mut node.connection()).expect("CLUSTER NODES");
        let is_meant = |node: &Node| node.port == self.nodes[index].port();
        nodes.into_iter().find(is_meant).expect("a known node").id
    }

    /// Returns the view that a node has of itself.
    fn itself(&self, index: usize) -> Node {
        let nodes = view(&mut self.connection(index)).expect("CLUSTER NODES");
        nodes.into_iter().find(Node::is_self).expect("itself")
    }
}

/// A replica has its data when its link to the primary is up, and the primary has slots.
fn check_link(nodes: &[Node], connection: &mut redis::Connection) -> Attempt<()> {
    let itself = nodes.iter().find(|node| node.is_self()).ok_or("no self")?;
    let Some(primary) = &itself.primary else {
        return Ok(());
    };
    let primary = nodes.iter().find(|node| node.id == *primary);
    if primary.is_none_or(|primary| primary.slots.is_empty()) {
        return Err("is a replica of a node without slots".into());
    }
    let info: String = redis::cmd("INFO").arg("replication").query(connection)?;
    if !info.contains("master_link_status:up") {
        return Err("has no link to its primary".into());
    }
    Ok(())
}

fn slots_by_port(nodes: Vec<Node>) -> BTreeMap<u16, Vec<std::ops::RangeInclusive<u16>>> {
    let servers = nodes.into_iter().filter(|node| !node.slots.is_empty());
    servers.map(|node| (node.port, node.slots)).collect()
}
