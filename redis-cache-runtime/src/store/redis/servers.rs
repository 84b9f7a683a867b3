//! The servers that a cache is kept on: one, or a cluster of them.

use std::sync::Arc;

#[cfg(feature = "cluster")]
use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

#[cfg(feature = "cluster")]
use super::cluster::{Cluster, slot};
#[cfg(feature = "cluster")]
use super::commands::what_was_read;
use super::commands::{delete, read, values_of};
use super::extractor::Redis;
use super::finder::Finder;
use super::link::{Shared, Target};
use super::node::{Node, Reply};
use super::replies::Replies;
use super::request::{Purpose, Request};
#[cfg(feature = "sentinel")]
use super::sentinel::Sentinels;
use super::server::Server;
use crate::fault::{Fault, FaultLog};
use crate::key::Name;
use crate::settings::{Deployment, Settings, SettingsError};
use crate::status::{PingError, ServerStatus};

pub(super) struct Servers {
    shared: Arc<Shared>,
    kind: Kind,
}

enum Kind {
    /// A standalone Redis, or the primary that Sentinel names.
    One(Arc<Node>),
    #[cfg(feature = "cluster")]
    Cluster(Box<Cluster>),
}

/// A command, and a name that it is about: that decides where it goes.
pub(super) type Command<'a> = (Name<'a>, Cmd);

impl Servers {
    pub(super) fn new(settings: &Settings, faults: Arc<FaultLog>) -> Result<Self, SettingsError> {
        // Contradictions first, files later.
        let deployment = settings.deployment()?;
        let access = settings.access()?;
        let shared = Arc::new(Shared::new(settings, access.db(), faults));
        let node = |name, finder| {
            let target = Target::new(finder, format!("{}:cache:pulse", shared.prefix));
            Kind::One(Arc::new(Node::new(name, &shared, target)))
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
                let sentinels = Sentinels::new(&sentinels, master, &sentinel_access, access)?;
                node(name, Finder::Sentinels(sentinels))
            }
            #[cfg(feature = "cluster")]
            Deployment::Cluster(seeds) => {
                let cluster = Cluster::new(Arc::clone(&shared), access, seeds)?;
                Kind::Cluster(Box::new(cluster))
            }
            #[cfg(not(all(feature = "cluster", feature = "sentinel")))]
            _ => {
                let expected = "what this build of axum-redis-cache supports";
                return Err(SettingsError::wrong("url", "…", expected));
            }
        };
        Ok(Self { shared, kind })
    }

    /// Reads values, in the order of their names: at once from one server, from all of them at the
    /// same time in a cluster. There each has a command of its own, because one for several would be
    /// refused while a slot is on its way to another server. The names are made here, and not carried
    /// along until the reply.
    pub(super) async fn read<'a, N>(
        &self,
        names: impl FnOnce() -> N,
        purpose: Purpose,
    ) -> Result<Replies, Fault>
    where
        N: Iterator<Item = Name<'a>>,
    {
        match &self.kind {
            Kind::One(node) => {
                let mget = read(names());
                let request = Request::One(&mget, purpose);
                let reply = self.send(node, request).await?;
                Ok(Replies::of_one(values_of(reply.value)?, reply.from))
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(_) => {
                let commands = names().map(|name| (name, read([name]))).collect();
                // Boxed, so that a lookup on one server does not carry it along.
                let replies = Box::pin(self.run_all(commands, purpose)).await?;
                let read = |(value, from)| Ok((what_was_read(value).ok_or(Fault::Protocol)?, from));
                Ok(Replies::of_many(
                    replies.map(read).collect::<Result<_, Fault>>()?,
                ))
            }
        }
    }

    /// Deletes names; in a cluster one after the other as far as they are on one server.
    pub(super) async fn delete<'a>(
        &self,
        names: impl Iterator<Item = Name<'a>>,
    ) -> Result<(), Fault> {
        match &self.kind {
            Kind::One(node) => {
                let del = delete(names);
                self.send(node, Request::One(&del, Purpose::Other))
                    .await
                    .map(drop)
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(_) => {
                let commands = names.map(|name| (name, delete([name]))).collect();
                self.run_all(commands, Purpose::Other).await.map(drop)
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
                let request = Request::One(&command, Purpose::Other);
                self.send(node, request).await.map(|reply| reply.value)
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(_) => {
                let commands = vec![(about, command)];
                let mut replies = self.run_all(commands, Purpose::Other).await?;
                replies
                    .next()
                    .map(|(value, _)| value)
                    .ok_or(Fault::Protocol)
            }
        }
    }

    /// Runs commands; those about names of the same server one after the other.
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
                let commands: Vec<_> = commands.into_iter().map(routed).collect();
                let replies = cluster.run_all(&commands, purpose).await?;
                let refuse = |(value, from)| Ok((refuse_errors(value)?, from));
                let replies = replies.into_iter().map(refuse);
                Ok(Replies::of_many(replies.collect::<Result<_, Fault>>()?))
            }
        }
    }

    /// Asks every server whether it is there.
    pub(super) async fn ping(&self) -> Result<(), PingError> {
        let deadline = Instant::now() + self.shared.budget;
        let ping = redis::cmd("PING");
        let ping = async |node: &Node| {
            let reply = node
                .send(Request::One(&ping, Purpose::Other), deadline)
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

    /// A connection for an application.
    pub(super) fn lend(&self) -> Redis {
        match &self.kind {
            Kind::One(node) => Redis::of_node(Arc::clone(node), Arc::clone(&self.shared)),
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => Redis::of_cluster(cluster.lend()),
        }
    }

    async fn send(&self, node: &Node, request: Request<'_>) -> Result<Reply, Fault> {
        let deadline = Instant::now() + request.purpose().budget(self.shared.budget);
        let Reply { value, from } = node.send(request, deadline).await?;
        refuse_errors(value).map(|value| Reply { value, from })
    }
}

#[cfg(feature = "cluster")]
fn routed((name, command): Command<'_>) -> (usize, Cmd) {
    (slot(name.concat().as_bytes()), command)
}

fn refuse_errors(value: Value) -> Result<Value, Fault> {
    match value {
        Value::ServerError(error) => Err(Fault::Refused(error.code().to_owned())),
        value => Ok(value),
    }
}
