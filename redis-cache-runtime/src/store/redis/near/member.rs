//! The commands of a connection that keeps copies.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Pipeline, Value};
use tokio::time::{sleep, timeout};

use super::{ERA, GIVEN_UP, NUMBER, text_of_bell, window_in_registry};
use crate::observe::fault::Fault;
use crate::store::near::connection::{Bell, MemberCommands, Observed, TrackedConnection};
use crate::store::redis::commands::{bytes, refuse_errors};
use crate::store::redis::link::SharedConnection;

/// The pause before a connection reads the registry again if it could not.
const RETRY: Duration = Duration::from_millis(50);

/// Attends to a tracked connection until it is dropped.
pub(in super::super) async fn attend(
    shared: Weak<SharedConnection>,
    connection: Arc<TrackedConnection>,
) {
    let mut acknowledged = None;
    loop {
        let Some(commands) = shared.upgrade().map(OnConnection) else {
            return;
        };
        let ended = connection.attend(&commands, &mut acknowledged).await;
        if let Err(fault) = &ended {
            commands.0.context().warn_of_registration(fault);
        }
        drop(commands);
        match ended {
            Ok(()) => connection.rest().await,
            // Without a proof, no copy is served. Lookups notice if the connection is lost.
            Err(_) => sleep(RETRY).await,
        }
    }
}

/// Stops serving the copies that were read on a connection.
pub(in super::super) async fn leave(
    shared: &Arc<SharedConnection>,
    connection: &TrackedConnection,
) {
    let commands = OnConnection(Arc::clone(shared));
    // If this fails, evictions give the connection up.
    let _ = connection.leave(&commands).await;
}

/// The commands that are sent on the connection itself.
pub(in super::super) struct OnConnection(pub(in super::super) Arc<SharedConnection>);

impl OnConnection {
    async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        let context = self.0.context();
        let mut connection = self.0.connection();
        let replies = run_within(context.budget(), &mut connection, commands).await;
        self.0.check_trust()?;
        replies
    }
}

impl MemberCommands for OnConnection {
    async fn observe(&self, name: &str) -> Result<Observed, Fault> {
        let names = &self.0.context().near_names;
        let mut commands = redis::pipe();
        commands.cmd("HGET").arg(&names.registry).arg(name);
        let bell = commands.cmd("HMGET").arg(&names.bell);
        bell.arg(ERA).arg(NUMBER);
        let [member, bell]: [Value; 2] = self
            .run(&commands)
            .await?
            .try_into()
            .map_err(|_| Fault::Protocol)?;
        let is_member = bytes(member).is_some_and(|value| !value.ends_with(GIVEN_UP.as_bytes()));
        let bell: (Option<Vec<u8>>, Option<u64>) =
            redis::from_redis_value(bell).map_err(|_| Fault::Protocol)?;
        let bell = match bell {
            (Some(era), Some(number)) => Some(Bell { era, number }),
            _ => None,
        };
        Ok(Observed { is_member, bell })
    }

    async fn prove_others(&self) {
        #[cfg(feature = "cluster")]
        if let (Some(readers), Some(tracked)) = (&self.0.context().readers, self.0.tracked()) {
            readers.prove(tracked, self.0.context().near_window).await;
        }
    }

    async fn register(&self, name: &str, instead_of: &str, window: Duration) -> Result<(), Fault> {
        let names = &self.0.context().near_names;
        let mut commands = names.remove(&[instead_of]);
        let register = commands.cmd("HSET").arg(&names.registry);
        register.arg(name).arg(window_in_registry(window));
        self.run(&commands).await.map(drop)
    }

    async fn deregister(&self, name: &str) -> Result<(), Fault> {
        let names = &self.0.context().near_names;
        self.run(&names.remove(&[name])).await.map(drop)
    }

    async fn acknowledge(&self, name: &str, bell: &Bell) -> Result<(), Fault> {
        let names = &self.0.context().near_names;
        let mut commands = redis::pipe();
        let acknowledge = commands.cmd("HSET").arg(&names.acknowledged);
        acknowledge.arg(name).arg(text_of_bell(bell));
        self.run(&commands).await.map(drop)
    }
}

/// Sends commands on a connection, and waits for the replies within a time budget. No reply may be a
/// refusal.
pub(super) async fn run_within(
    budget: Duration,
    connection: &mut MultiplexedConnection,
    commands: &Pipeline,
) -> Result<Vec<Value>, Fault> {
    let replies = connection.req_packed_commands(commands, 0, commands.len());
    let replies = timeout(budget, replies).await.map_err(|_| Fault::Timeout)?;
    let replies = replies.map_err(|error| Fault::from(&error))?.into_iter();
    replies.map(refuse_errors).collect()
}
