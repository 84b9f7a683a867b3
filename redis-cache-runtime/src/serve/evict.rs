//! `#[cache_evict]`: run the handler, then evict before its response starts.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::runtime::Handle;

use super::Outcome;
use crate::cache::Cache;
use crate::key::Eviction;
use crate::request::Head;
use crate::route::Evict;

/// Answers a request to a `#[cache_evict]` handler.
pub async fn evict<T, F, Fut, const KEEP: u8>(
    head: Head<T, KEEP>,
    route: &'static Evict,
    handler: F,
) -> Response
where
    F: FnOnce(T) -> Fut,
    Fut: Future<Output: IntoResponse>,
{
    let Head {
        extracted,
        request,
        cache,
    } = head;
    let pending = PendingEviction {
        cache,
        evictions: route.evictions(&request),
    };
    let response = handler(extracted).await.into_response();
    if route.always || succeeded(response.status()) {
        pending.run().await;
    } else {
        pending.cancel();
    }
    Outcome::Bypass.label(response)
}

/// Whether the handler changed what it was asked to change.
pub(super) fn succeeded(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Dropped before it is done, it evicts in the background: what the handler changed before it was
/// dropped is unknown.
struct PendingEviction {
    cache: Cache,
    evictions: Vec<Eviction>,
}

impl PendingEviction {
    async fn run(mut self) {
        // A fault is recorded by the cache.
        let _ = self.cache.evict(&self.evictions).await;
        self.evictions.clear();
    }

    fn cancel(mut self) {
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
            runtime.spawn(async move { cache.evict(&evictions).await });
        }
    }
}
