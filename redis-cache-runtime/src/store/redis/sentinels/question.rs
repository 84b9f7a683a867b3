//! Asks one Sentinel.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::aio::ConnectionLike;
use redis::{FromRedisValue, Pipeline, Value};
use tokio::time::timeout;

use super::view::Primary;
use crate::observe::fault::Fault;
use crate::settings::Endpoint;
use crate::store::redis::context::ClientContext;
use crate::store::redis::server::{Opened, Server};

pub(super) struct Sentinel {
    server: Server,
    /// The connection, while no question is pending. A question that is not answered closes it.
    connection: Mutex<Option<Opened>>,
}

impl Sentinel {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            connection: Mutex::default(),
        }
    }

    /// Asks for the primary.
    pub(super) async fn ask(
        &self,
        master: &str,
        context: &ClientContext,
    ) -> Result<Primary, Fault> {
        let connection = self.connection().take();
        let mut opened = match connection {
            Some(opened) => opened,
            None => self.server.connect(context, None).await?,
        };
        // The epoch is asked for first. If the Sentinel learns of a failover between the two replies, the
        // epoch is too low until the next answer.
        let mut question = Pipeline::with_capacity(2);
        for name in ["MASTER", "GET-MASTER-ADDR-BY-NAME"] {
            question.cmd("SENTINEL").arg(name).arg(master);
        }
        let replies = opened.connection.req_packed_commands(&question, 0, 2);
        let replies = timeout(context.budget.largest(), replies).await;
        let replies = replies
            .map_err(|_| Fault::Timeout)?
            .map_err(|error| Fault::from(&error))?;
        *self.connection() = Some(opened);
        let [fields, address]: [Value; 2] = replies.try_into().map_err(|_| Fault::Protocol)?;
        let address: Option<(String, u16)> = parsed(address)?;
        let (host, port) = address.ok_or_else(|| Fault::UnknownPrimary(master.to_owned()))?;
        let fields: HashMap<String, String> = parsed(fields)?;
        let epoch = fields.get("config-epoch").and_then(|it| it.parse().ok());
        Ok(Primary {
            endpoint: Endpoint::Tcp { host, port },
            epoch: epoch.ok_or(Fault::Protocol)?,
        })
    }

    /// Locks the connection. A panic in a critical section leaves it consistent.
    fn connection(&self) -> MutexGuard<'_, Option<Opened>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parses a reply, which may be an error.
fn parsed<T: FromRedisValue>(reply: Value) -> Result<T, Fault> {
    let reply = reply.extract_error().map_err(|error| Fault::from(&error))?;
    T::from_redis_value(reply).map_err(|_| Fault::Protocol)
}
