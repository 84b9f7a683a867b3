//! The evictions that are due when a handler has run.

use std::sync::Arc;

use super::client::{Evicted, StoreClient};
use crate::key::Eviction;

/// Evictions that follow the run of a handler.
///
/// If it is dropped before it has run, the evictions are sent in the background: the changes that
/// the handler made until then are unknown.
pub(crate) struct DueEviction {
    client: Arc<StoreClient>,
    evictions: Vec<Eviction>,
}

impl DueEviction {
    pub(crate) fn new(client: Arc<StoreClient>, evictions: Vec<Eviction>) -> Self {
        Self { client, evictions }
    }

    pub(crate) fn evictions(&self) -> &[Eviction] {
        &self.evictions
    }

    /// Evicts; returns `None` if there was nothing to evict.
    pub(crate) async fn run(mut self) -> Option<Evicted> {
        if self.evictions.is_empty() {
            return None;
        }
        let evicted = self.client.evict(&self.evictions).await;
        self.evictions.clear();
        Some(evicted)
    }

    /// Drops the evictions without sending them, because the handler changed nothing.
    pub(crate) fn cancel(mut self) {
        self.evictions.clear();
    }
}

impl Drop for DueEviction {
    fn drop(&mut self) {
        if self.evictions.is_empty() {
            return;
        }
        let (client, evictions) = (
            Arc::clone(&self.client),
            std::mem::take(&mut self.evictions),
        );
        let evict = async move {
            // The client retries an eviction that fails.
            let _ = client.evict(&evictions).await;
        };
        self.client.background().spawn(evict);
    }
}
