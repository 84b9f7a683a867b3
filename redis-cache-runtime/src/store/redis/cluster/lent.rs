//! The connection that applications use: they may send any command, to any number of slots, which a
//! cluster client of the `redis` crate knows how to do.

use std::sync::OnceLock;

use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;

use crate::settings::{Access, Endpoint, SettingsError};
use crate::store::redis::link::Shared;

pub(super) struct Lent {
    client: ClusterClient,
    connection: OnceLock<ClusterConnection>,
}

impl Lent {
    pub(super) fn new(
        shared: &Shared,
        access: &Access,
        seeds: &[Endpoint],
    ) -> Result<Self, SettingsError> {
        let client = access
            .cluster(seeds)?
            .response_timeout(shared.budget)
            .connection_timeout(shared.connect_timeout)
            .build()
            .map_err(|error| SettingsError::connection(&error))?;
        Ok(Self {
            client,
            connection: OnceLock::new(),
        })
    }

    /// It connects when the first command is sent.
    pub(super) fn connection(&self) -> ClusterConnection {
        let connection = self.connection.get_or_init(|| {
            let config = ClusterConfig::new();
            self.client.get_pending_async_connection_with_config(config)
        });
        connection.clone()
    }
}
