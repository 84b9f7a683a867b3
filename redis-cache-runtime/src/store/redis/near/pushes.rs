//! The pushes on a tracked connection.

use std::sync::Arc;

use redis::aio::{AsyncPushSender, MultiplexedConnection, SendError};
use redis::{PushInfo, PushKind, Value};

use super::member::run_within;
use crate::key::hex;
use crate::observe::fault::Fault;
use crate::store::near::connection::TrackedConnection;
use crate::store::random_nonce;
use crate::store::redis::context::ClientContext;

/// Applies the pushes of a connection. redis-rs calls it in the task that reads the connection, before
/// it reads a later reply.
#[derive(Clone)]
pub(in super::super) struct Pushes {
    context: Arc<ClientContext>,
    connection: Arc<TrackedConnection>,
}

impl Pushes {
    /// Returns the receiver of the pushes of a new connection; `None`: the system returned no random
    /// bytes for the name of the connection.
    pub(in super::super) fn new(context: &Arc<ClientContext>) -> Option<Self> {
        let id = hex(&random_nonce().ok()?);
        Some(Self {
            context: Arc::clone(context),
            connection: Arc::new(TrackedConnection::new(id, context.near_window)),
        })
    }

    /// Asks the server to track what is read on a connection. `None`: the server refuses.
    pub(in super::super) async fn start(
        self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Option<Arc<TrackedConnection>>, Fault> {
        let mut commands = redis::pipe();
        commands.cmd("CLIENT").arg("TRACKING").arg("ON");
        match run_within(self.context.budget(), connection, &commands).await {
            Ok(replies) if replies == [Value::Okay] => Ok(Some(self.connection)),
            Ok(_) => Err(Fault::Protocol),
            Err(fault @ Fault::Refused(_)) => {
                self.context.warn_of_tracking(&fault.to_string());
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    fn apply(&self, name: &[u8]) {
        let names = &self.context.near_names;
        if name == names.registry.as_bytes() {
            self.connection.registry_changed();
        } else if name == names.bell.as_bytes() {
            self.connection.bell_rung();
        } else {
            if let Some(cache) = &self.context.near_cache {
                cache.invalidate(name);
            }
            self.context.watched.changed(name);
        }
    }

    /// Applies the deletion of all names of the server.
    fn apply_flush(&self) {
        if let Some(cache) = &self.context.near_cache {
            cache.invalidate_all();
        }
        self.connection.registry_changed();
        self.context.watched.all_changed();
    }
}

impl AsyncPushSender for Pushes {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        if push.kind != PushKind::Invalidate {
            return Ok(());
        }
        for data in push.data {
            if let Value::Array(names) = data {
                for name in names {
                    if let Value::BulkString(name) = name {
                        self.apply(&name);
                    }
                }
            } else {
                self.apply_flush();
            }
        }
        Ok(())
    }
}
