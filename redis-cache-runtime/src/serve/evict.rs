//! `#[cache_evict]`: run the handler, then evict before its response starts.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Outcome;
use super::pending::PendingEviction;
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
    let pending = PendingEviction::new(cache, route.evictions(&request));
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
