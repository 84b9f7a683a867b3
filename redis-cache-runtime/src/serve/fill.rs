//! A fill under way: holds a lease from before the handler runs until the response is stored.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tracing::Instrument;

use crate::cache::Cache;
use crate::clock;
use crate::entry::StoredHead;
use crate::http::freshness::Freshness;
use crate::key::{Address, Eviction};
use crate::route::Route;
use crate::store::{Claim, Lease};

/// Dropped before it is done (its client is gone, or the handler panicked), a read gives its lease
/// back, and a write evicts: what it wrote before it was dropped is unknown.
pub(crate) struct Fill {
    inner: Option<Box<Inner>>,
}

struct Inner {
    cache: Cache,
    route: &'static Route,
    at: Address,
    lease: Lease,
}

impl Fill {
    /// Takes the lease; `None` when another fill has it, or the store has a fault.
    pub(crate) async fn begin(
        cache: Cache,
        route: &'static Route,
        at: Address,
        claim: Claim,
    ) -> Option<Self> {
        to_its_end(async move {
            let lease = cache
                .lease(&at, claim, cache.ttl(route.lifetime()))
                .await
                .ok()??;
            Some(Self {
                inner: Some(Box::new(Inner {
                    cache,
                    route,
                    at,
                    lease,
                })),
            })
        })
        .await
        .flatten()
    }

    /// The route that is filled.
    pub(crate) fn route(&self) -> Option<&'static Route> {
        self.inner.as_ref().map(|inner| inner.route)
    }

    /// Stores the response, if nothing was evicted since the fill began.
    pub(crate) async fn store(mut self, head: StoredHead, body: Bytes) {
        if let Some(inner) = self.inner.take() {
            to_its_end(inner.store(head, body)).await;
        }
    }

    /// Ends without storing: a read gives its lease back, a write evicts its key.
    pub(crate) async fn give_up(mut self) {
        if let Some(inner) = self.inner.take() {
            to_its_end(inner.give_up()).await;
        }
    }

    /// Gives the lease back and leaves the entry as it is.
    pub(crate) async fn abandon(mut self) {
        if let Some(inner) = self.inner.take() {
            to_its_end(inner.release()).await;
        }
    }
}

/// Runs something that must not stop half-way when the client goes away; `None` only if it
/// panicked or the runtime ends. Without Tokio, which only a cache in memory does without, it is
/// run where it is.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    match Handle::try_current() {
        Ok(runtime) => runtime.spawn(work.in_current_span()).await.ok(),
        Err(_) => Some(work.await),
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if let (Some(inner), Ok(runtime)) = (self.inner.take(), Handle::try_current()) {
            runtime.spawn(inner.give_up());
        }
    }
}

impl Inner {
    async fn store(self, head: StoredHead, body: Bytes) {
        // What is left of it: the body may have taken a while.
        let freshness = Freshness::at(clock::now(), head.generated, head.grant.lifetime);
        let lifetime = freshness.remaining();
        if lifetime.is_some_and(|lifetime| lifetime.is_zero()) {
            return self.give_up().await;
        }
        let Some(entry) = head.encode(&self.lease.stamps, &body) else {
            return self.give_up().await;
        };
        // The handler may have granted more than the route declared when the nonces were seeded.
        if outlasts(lifetime, self.cache.ttl(self.route.lifetime())) {
            let _ = self.cache.prolong(&self.at, lifetime).await;
        }
        // A fault is recorded by the cache. What a failed write left behind must go.
        if self
            .cache
            .fill(&self.at, &self.lease, entry, lifetime)
            .await
            .is_err()
        {
            self.give_up().await;
        }
    }

    async fn give_up(self) {
        if self.lease.claim == Claim::Override {
            // A fault is recorded by the cache.
            let _ = self
                .cache
                .remove(&[Eviction::Key(self.at.key.clone())])
                .await;
        }
        self.release().await;
    }

    /// A fault is recorded by the cache, and the lease ends by itself.
    async fn release(self) {
        let _ = self.cache.release(&self.at, &self.lease).await;
    }
}

/// Whether one lifetime is longer than another; `None` is the longest.
fn outlasts(lifetime: Option<Duration>, other: Option<Duration>) -> bool {
    match (lifetime, other) {
        (Some(lifetime), Some(other)) => lifetime > other,
        (None, other) => other.is_some(),
        (Some(_), None) => false,
    }
}
