//! The servers that a cache is kept on: one, or a cluster of them.

use std::sync::Arc;

use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

#[cfg(feature = "cluster")]
use super::cluster::{Cluster, slot};
use super::commands::Arg;
#[cfg(feature = "cluster")]
use super::commands::{read, what_was_read};
use super::finder::Finder;
use super::history::History;
use super::link::Shared;
use super::node::Node;
use super::request::{Purpose, Request};
#[cfg(feature = "sentinel")]
use super::sentinel::Sentinels;
use crate::fault::Fault;
use crate::key::Name;
use crate::settings::{Deployment, Settings, SettingsError};

pub(super) struct Servers {
    shared: Arc<Shared>,
    kind: Kind,
}

enum Kind {
    /// A standalone Redis, or the primary that Sentinel names.
    One(Node),
    #[cfg(feature = "cluster")]
    Cluster(Cluster),
}

/// A command, and a name that it is about: that decides where it goes.
pub(super) type Command<'a> = (Name<'a>, Cmd);

impl Servers {
    pub(super) fn new(settings: &Settings, shared: Shared) -> Result<Self, SettingsError> {
        let shared = Arc::new(shared);
        let access = settings.access()?;
        let node = |finder| {
            let history = History::of_a_stranger();
            Kind::One(Node::new(
                &shared,
                finder,
                history,
                settings.max_connections,
            ))
        };
        let kind = match settings.deployment()? {
            Deployment::Standalone(endpoint) => node(Finder::Fixed(access.client(&endpoint)?)),
            #[cfg(feature = "sentinel")]
            Deployment::Sentinel { sentinels, master } => {
                let sentinel_access = settings.sentinel_access()?;
                let sentinels = Sentinels::new(&sentinels, master, &sentinel_access, access)?;
                node(Finder::Sentinels(sentinels))
            }
            #[cfg(feature = "cluster")]
            Deployment::Cluster(seeds) => {
                let connections = settings.max_connections;
                Kind::Cluster(Cluster::new(
                    Arc::clone(&shared),
                    access,
                    seeds,
                    connections,
                ))
            }
        };
        Ok(Self { shared, kind })
    }

    /// Reads values, in the order of their names: at once from one server, from all of them at the
    /// same time in a cluster. There each has a command of its own, because one for several would be
    /// refused while a slot is on its way to another server.
    pub(super) async fn read<'a>(
        &self,
        names: impl Iterator<Item = Name<'a>>,
    ) -> Result<Vec<Value>, Fault> {
        match &self.kind {
            Kind::One(node) => {
                let mut mget = Cmd::with_capacity(2 + names.size_hint().0, 160);
                mget.arg("MGET");
                names.for_each(|name| {
                    mget.arg(Arg(name));
                });
                let deadline = Instant::now() + Purpose::Lookup.budget(self.shared.budget);
                let reply = node.send(Request::Lookup(&mget), deadline).await;
                match reply.and_then(refuse_errors)? {
                    Value::Array(values) => Ok(values),
                    _ => Err(Fault::Protocol),
                }
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => {
                let commands = names.map(|name| routed((name, read(name))));
                let commands: Vec<_> = commands.collect();
                let values = cluster.run_all(&commands, Purpose::Lookup).await?;
                let read = |value| {
                    let read = what_was_read(refuse_errors(value)?);
                    read.ok_or(Fault::Protocol)
                };
                values.into_iter().map(read).collect()
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
                let mut del = redis::cmd("DEL");
                names.for_each(|name| {
                    del.arg(Arg(name));
                });
                self.send(node, Request::One(&del)).await.map(drop)
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(_) => {
                let commands = names.map(|name| {
                    let mut del = redis::cmd("DEL");
                    del.arg(Arg(name));
                    (name, del)
                });
                self.run_all(commands.collect()).await.map(drop)
            }
        }
    }

    pub(super) async fn run(&self, about: Name<'_>, command: Cmd) -> Result<Value, Fault> {
        match &self.kind {
            Kind::One(node) => self.send(node, Request::One(&command)).await,
            #[cfg(feature = "cluster")]
            Kind::Cluster(_) => {
                let values = self.run_all(vec![(about, command)]).await?;
                values.into_iter().next().ok_or(Fault::Protocol)
            }
        }
    }

    /// Runs commands; those about names of the same server one after the other.
    pub(super) async fn run_all(&self, commands: Vec<Command<'_>>) -> Result<Vec<Value>, Fault> {
        let values = match &self.kind {
            Kind::One(node) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for (_, command) in commands {
                    pipeline.add_command(command);
                }
                let request = Request::Many(&pipeline, Purpose::Other);
                match self.send(node, request).await? {
                    Value::Array(values) => values,
                    _ => return Err(Fault::Protocol),
                }
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(cluster) => {
                let commands: Vec<_> = commands.into_iter().map(routed).collect();
                cluster.run_all(&commands, Purpose::Other).await?
            }
        };
        values.into_iter().map(refuse_errors).collect()
    }

    async fn send(&self, node: &Node, request: Request<'_>) -> Result<Value, Fault> {
        let deadline = Instant::now() + self.shared.budget;
        node.send(request, deadline).await.and_then(refuse_errors)
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
