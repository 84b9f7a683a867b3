//! The cluster client for the commands of applications. They may concern several slots, so the cluster
//! client of the `redis` crate sends them.

use std::sync::OnceLock;

use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;

use crate::settings::{Access, Endpoint, SettingsError};
use crate::store::redis::context::ClientContext;

pub(super) struct SharedClient {
    client: ClusterClient,
    connection: OnceLock<ClusterConnection>,
}

impl SharedClient {
    pub(super) fn new(
        context: &ClientContext,
        access: &Access,
        seeds: &[Endpoint],
    ) -> Result<Self, SettingsError> {
        let client = access
            .cluster(seeds)?
            .response_timeout(context.budget.smallest())
            .connection_timeout(context.connect_timeout)
            .build()
            .map_err(|error| SettingsError::connection(&error))?;
        Ok(Self {
            client,
            connection: OnceLock::new(),
        })
    }

    /// Returns the connection. Its first command opens it.
    pub(super) fn connection(&self) -> ClusterConnection {
        let connection = self.connection.get_or_init(|| {
            let config = ClusterConfig::new();
            self.client.get_pending_async_connection_with_config(config)
        });
        connection.clone()
    }
}
