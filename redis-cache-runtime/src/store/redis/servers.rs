//! The servers of a deployment: one server, or the nodes of a cluster.

use std::sync::Arc;

#[cfg(feature = "cluster")]
use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;
#[cfg(feature = "cluster")]
use tokio::time::sleep;

#[cfg(feature = "cluster")]
use super::cluster::{Cluster, Task};
use super::commands::{Arg, delete, read, refuse_errors, values_of};
use super::context::ClientContext;
use super::finder::Finder;
use super::handle::Redis;
use super::lookups::LookedUp;
use super::near::{self, OnNode};
use super::node::{Node, Reply};
use super::replies::Replies;
use super::request::{Purpose, Request};
#[cfg(feature = "sentinel")]
use super::sentinels::Sentinels;
use super::server::Server;
use super::server_state::ServerState;
#[cfg(feature = "cluster")]
use crate::key::Slots;
use crate::key::{Name, Names};
use crate::observe::PingError;
use crate::observe::fault::{Fault, FaultLog};
use crate::observe::status::ServerStatus;
use crate::settings::{Deployment, Settings, SettingsError};
use crate::store::near::NearCache;
use crate::store::near::eviction::{Registry, await_near_caches};

pub(super) struct Servers {
    context: Arc<ClientContext>,
    kind: Kind,
}

enum Kind {
    /// A standalone Redis, or the primary that Sentinel names.
    One(Arc<Node>),
    #[cfg(feature = "cluster")]
    Cluster(Box<Cluster>),
}

/// A command, and a name whose slot decides which node gets it.
pub(super) type Command<'a> = (Name<'a>, Cmd);

impl Servers {
    pub(super) fn new(settings: &Settings, faults: Arc<FaultLog>) -> Result<Self, SettingsError> {
        // Contradictions are reported before files are read.
        let deployment = settings.deployment()?;
        let access = settings.access()?;
        let context = ClientContext::new(settings, access.db(), &deployment, faults);
        let context = Arc::new(context);
        let node = |name, finder| {
            let server_state = ServerState::new(
                finder,
                format!("{}:cache:pulse", context.prefix),
                context.budget.distance(),
            );
            Kind::One(Arc::new(Node::new(name, &context, server_state)))
        };
        let kind = match deployment {
            Deployment::Standalone(endpoint) => {
                let server = Server::new(&access, &endpoint)?;
                node(endpoint.to_string(), Finder::Fixed(server))
            }
            #[cfg(feature = "sentinel")]
            Deployment::Sentinel { sentinels, master } => {
                let sentinel_access = settings.sentinel_access()?;
                let name = master.clone();
                let sentinels = Sentinels::new(&sentinels, &master, &sentinel_access, access)?;
                node(name, Finder::Sentinels(sentinels))
            }
            #[cfg(feature = "cluster")]
            Deployment::Cluster(seeds) => {
                let cluster = Cluster::new(Arc::clone(&context), access, seeds)?;
                Kind::Cluster(Box::new(cluster))
            }
            #[cfg(not(all(feature = "cluster", feature = "sentinel")))]
            _ => {
                let expected = "what this build of axum-redis-cache supports";
                return Err(SettingsError::wrong("url", "…", expected));
            }
        };
        Ok(Self { context, kind })
    }

    /// Returns the names of entries, leases and nonces on these servers.
    pub(super) fn names(&self, prefix: &str) -> Names {
        match &self.kind {
            Kind::One(_) => Names::new(prefix),
            #[cfg(feature = "cluster")]
            Kind::Cluster(_) => Names::in_cluster(prefix),
        }
    }

    pub(super) fn near_cache(&self) -> Option<&NearCache> {
        self.context.near_cache.as_deref()
    }

    /// Reads values, in the order of their names. Lookups share commands, except those of large entries.
    /// `names` builds the names here, so that they are not kept in the future until the reply.
    pub(super) async fn read<'a, N>(
        &self,
        names: impl FnOnce() -> N,
        purpose: Purpose,
    ) -> Result<LookedUp, Fault>
    where
        N: Iterator<Item = Name<'a>>,
    {
        let deadline = Instant::now() + purpose.budget(self.context.budget());
        match &self.kind {
            Kind::One(node) if purpose.is_large() => {
                let command = read(names().map(Arg));
                // Boxed, so that the future of an ordinary lookup stays small.
                Box::pin(node.read_alone(command, purpose, deadline)).await
            }
            Kind::One(node) => {
                // The slots of one server are not told apart.
                let names = names().map(|name| (0, name));
                node.look_up(names, deadline).await?
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => {
                let names: Vec<_> = names().collect();
                // Boxed, so that the future of a lookup on one server stays small.
                Box::pin(cluster.read(&names, purpose, deadline)).await
            }
        }
    }

    /// Deletes sets of names and returns the result for each set. In a cluster, the names of a set are
    /// in one slot. `Err`: no server got any deletion.
    pub(super) async fn delete(
        &self,
        sets: Vec<Vec<Name<'_>>>,
    ) -> Result<Vec<Result<(), Fault>>, Fault> {
        match &self.kind {
            Kind::One(node) => {
                let mut commands = Pipeline::with_capacity(2);
                commands.add_command(delete(sets.iter().flatten().copied()));
                commands.add_command(self.context.near_names.read_registry());
                let request = Request::Many(&commands, Purpose::OTHER);
                let Reply {
                    value,
                    connected_at,
                    ..
                } = self.send(node, request).await?;
                let mut replies = values_of(value)?.into_iter();
                refuse_errors(replies.next().ok_or(Fault::Protocol)?)?;
                self.invalidate(sets.iter().flatten().copied());
                let registry = replies.next().ok_or(Fault::Protocol);
                let registry = registry.and_then(near::registry);
                self.await_near_caches(node, registry, connected_at).await;
                Ok(vec![Ok(()); sets.len()])
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => {
                let tasks: Vec<_> = sets.iter().cloned().map(Task::Delete).collect();
                let replies = cluster.run_all(&tasks, Purpose::OTHER).await?;
                self.invalidate(sets.iter().flatten().copied());
                self.await_near_caches_of(cluster).await;
                Ok(replies.into_iter().map(|reply| reply.map(drop)).collect())
            }
        }
    }

    /// Waits until no process serves what depends on replaced names from its near cache.
    pub(super) async fn replaced(&self, names: impl Iterator<Item = Name<'_>>) {
        self.invalidate(names);
        match &self.kind {
            Kind::One(node) => {
                let (registry, connected_at) = self.read_registry(node).await;
                self.await_near_caches(node, registry, connected_at).await;
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => self.await_near_caches_of(cluster).await,
        }
    }

    /// Reads the registry of near caches. Also returns the time at which the connection was opened.
    async fn read_registry(&self, node: &Node) -> (Result<Registry, Fault>, Instant) {
        let read = self.context.near_names.read_registry();
        match self.send(node, Request::One(&read, Purpose::OTHER)).await {
            Ok(reply) => (near::registry(reply.value), reply.connected_at),
            Err(fault) => (Err(fault), Instant::now()),
        }
    }

    /// Waits for the near caches of all processes after names were deleted in a cluster.
    #[cfg(feature = "cluster")]
    async fn await_near_caches_of(&self, cluster: &Cluster) {
        let Ok(node) = cluster.maps.node_of_registry(&self.context).await else {
            return sleep(near::with_reserve(self.context.near_window)).await;
        };
        let (registry, connected_at) = self.read_registry(&node).await;
        let registry = registry.map_err(|fault| cluster.maps.without_registry(fault));
        self.await_near_caches(&node, registry, connected_at).await;
    }

    /// Ends the service of copies from the near cache.
    pub(super) async fn leave_near_cache(&self) {
        match &self.kind {
            Kind::One(node) => node.leave_near_cache().await,
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => {
                if let Ok(node) = cluster.maps.node_of_registry(&self.context).await {
                    node.leave_near_cache().await;
                }
            }
        }
    }

    /// Drops the copies in this process that depend on names.
    pub(super) fn invalidate<'a>(&self, names: impl Iterator<Item = Name<'a>>) {
        if let Some(cache) = &self.context.near_cache {
            cache.invalidate_own(names);
        }
    }

    /// Waits for the near caches of all processes. `registry` was read after the names were deleted.
    async fn await_near_caches(
        &self,
        node: &Node,
        registry: Result<Registry, Fault>,
        connected_at: Instant,
    ) {
        let context = &*self.context;
        if let Err(fault @ Fault::Refused(_)) = &registry {
            context.warn_of_registry(fault);
        }
        let is_new = connected_at.elapsed() < context.near_window;
        let commands = OnNode { node, context };
        // Boxed, because the wait is rare.
        Box::pin(await_near_caches(
            &commands,
            registry,
            context.near_window,
            is_new,
        ))
        .await;
    }

    /// Deletes names in each of the given slots of a cluster, or in all. The error has the fault and the
    /// slots in which the deletion failed.
    #[cfg(feature = "cluster")]
    pub(super) async fn sweep<'a>(
        &self,
        slots: Option<&Slots>,
        names: impl Fn(u16) -> Vec<Name<'a>>,
    ) -> Result<(), (Fault, Slots)> {
        match &self.kind {
            Kind::One(_) => Ok(()),
            Kind::Cluster(cluster) => {
                let swept = cluster.sweep(slots, names).await;
                if let Some(near_cache) = self.near_cache() {
                    near_cache.invalidate_all();
                }
                self.await_near_caches_of(cluster).await;
                swept
            }
        }
    }

    #[cfg_attr(
        not(feature = "cluster"),
        allow(unused_variables, reason = "there is one server to choose")
    )]
    pub(super) async fn run(&self, about: Name<'_>, command: Cmd) -> Result<Value, Fault> {
        match &self.kind {
            Kind::One(node) => {
                let request = Request::One(&command, Purpose::OTHER);
                self.send(node, request).await.map(|reply| reply.value)
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(_) => {
                let commands = vec![(about, command)];
                let mut replies = self.run_all(commands, Purpose::OTHER).await?;
                replies
                    .next()
                    .map(|(value, _)| value)
                    .ok_or(Fault::Protocol)
            }
        }
    }

    /// Runs commands. Commands for the same server run in their order.
    pub(super) async fn run_all(
        &self,
        commands: Vec<Command<'_>>,
        purpose: Purpose,
    ) -> Result<Replies, Fault> {
        match &self.kind {
            Kind::One(node) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for (_, command) in commands {
                    pipeline.add_command(command);
                }
                let reply = self.send(node, Request::Many(&pipeline, purpose)).await?;
                let values = values_of(reply.value)?.into_iter().map(refuse_errors);
                let values = values.collect::<Result<_, Fault>>()?;
                Ok(Replies::of_one(values, reply.from))
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => {
                let task = |(name, command)| Task::Run(name, command);
                let tasks: Vec<_> = commands.into_iter().map(task).collect();
                let mut replies = Vec::with_capacity(tasks.len());
                for reply in cluster.run_all(&tasks, purpose).await? {
                    replies.extend(reply?);
                }
                Ok(Replies::of_many(replies))
            }
        }
    }

    /// Returns a fault while other processes may still read from the previous primary, which does not
    /// have the evictions that were sent to this one.
    pub(super) fn has_every_reader(&self) -> Result<(), Fault> {
        match &self.kind {
            Kind::One(node) if node.has_moved() => Err(Fault::Settling),
            Kind::One(_) => Ok(()),
            #[cfg(feature = "cluster")]
            Kind::Cluster(_) => Ok(()),
        }
    }

    /// Pings every server.
    pub(super) async fn ping(&self) -> Result<(), PingError> {
        let deadline = Instant::now() + self.context.budget();
        let ping = redis::cmd("PING");
        let ping = async |node: &Node| {
            let reply = node
                .send(Request::One(&ping, Purpose::OTHER), deadline)
                .await;
            let failed = |fault: Fault| PingError::new(Some(node.name()), &fault);
            let value = reply.and_then(|reply| refuse_errors(reply.value));
            value.map(drop).map_err(failed)
        };
        match &self.kind {
            Kind::One(node) => ping(node).await,
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => {
                let nodes = cluster.nodes(deadline).await;
                let nodes = nodes.map_err(|fault| PingError::new(None, &fault))?;
                let pings = nodes.iter().map(|node| ping(node));
                join_all(pings).await.into_iter().collect()
            }
        }
    }

    pub(super) fn status(&self) -> Vec<ServerStatus> {
        match &self.kind {
            Kind::One(node) => vec![node.status()],
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => {
                let nodes = cluster.known_nodes();
                nodes.iter().map(|node| node.status()).collect()
            }
        }
    }

    /// Returns a connection for an application.
    pub(super) fn connection(&self) -> Redis {
        match &self.kind {
            Kind::One(node) => Redis::of_node(Arc::clone(node), Arc::clone(&self.context)),
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => Redis::of_cluster(cluster.connection()),
        }
    }

    pub(super) fn context(&self) -> &ClientContext {
        &self.context
    }

    /// Returns the server of a name; `None`: it is not known.
    #[cfg_attr(
        not(feature = "cluster"),
        allow(unused_variables, reason = "there is one server to choose")
    )]
    pub(super) async fn node_of(&self, name: Name<'_>, deadline: Instant) -> Option<Arc<Node>> {
        match &self.kind {
            Kind::One(node) => Some(Arc::clone(node)),
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => cluster.maps.primary_of(name, deadline).await.ok(),
        }
    }

    async fn send(&self, node: &Node, request: Request<'_>) -> Result<Reply, Fault> {
        let deadline = Instant::now() + request.purpose().budget(self.context.budget());
        let mut reply = node.send(request, deadline).await?;
        reply.value = refuse_errors(reply.value)?;
        Ok(reply)
    }
}
