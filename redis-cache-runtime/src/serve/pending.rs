//! An eviction that is due when a handler has run.

use super::outcome::WriteOutcome;
use crate::cache::Cache;
use crate::key::Eviction;

/// Dropped before it is done, it evicts in the background: what the handler changed before it was
/// dropped is unknown.
pub(crate) struct PendingEviction {
    cache: Cache,
    evictions: Vec<Eviction>,
}

impl PendingEviction {
    pub(crate) fn new(cache: Cache, evictions: Vec<Eviction>) -> Self {
        Self { cache, evictions }
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn evictions(&self) -> &[Eviction] {
        &self.evictions
    }

    /// Evicts; `None`: there was nothing to evict.
    pub(crate) async fn run(mut self) -> Option<WriteOutcome> {
        if self.evictions.is_empty() {
            return None;
        }
        let is_told = self.cache.remove(&self.evictions).await;
        self.evictions.clear();
        Some(if is_told {
            WriteOutcome::Evicted
        } else {
            WriteOutcome::Pending
        })
    }

    pub(crate) fn cancel(mut self) {
        self.evictions.clear();
    }
}

impl Drop for PendingEviction {
    fn drop(&mut self) {
        if self.evictions.is_empty() {
            return;
        }
        let (cache, evictions) = (self.cache.clone(), std::mem::take(&mut self.evictions));
        let evict = async move {
            let _ = cache.remove(&evictions).await;
        };
        self.cache.background().spawn(evict);
    }
}
