//! An eviction that is due when a handler has run.

use tokio::runtime::Handle;

use crate::cache::Cache;
use crate::key::Eviction;

/// Dropped before it is done, it evicts in the background: what the handler changed before it was
/// dropped is unknown.
pub(super) struct PendingEviction {
    cache: Cache,
    evictions: Vec<Eviction>,
}

impl PendingEviction {
    pub(super) fn new(cache: Cache, evictions: Vec<Eviction>) -> Self {
        Self { cache, evictions }
    }

    pub(super) async fn run(mut self) {
        if self.evictions.is_empty() {
            return;
        }
        // A fault is recorded by the cache.
        let _ = self.cache.remove(&self.evictions).await;
        self.evictions.clear();
    }

    pub(super) fn cancel(mut self) {
        self.evictions.clear();
    }
}

impl Drop for PendingEviction {
    fn drop(&mut self) {
        if self.evictions.is_empty() {
            return;
        }
        let (cache, evictions) = (self.cache.clone(), std::mem::take(&mut self.evictions));
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { cache.remove(&evictions).await });
        }
    }
}
