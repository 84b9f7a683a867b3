//! `#[cache_put]`: run the handler and store what it answers as what the next read gets.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::body::{Captured, capture};
use super::bypass;
use super::evict::succeeded;
use super::fill::Fill;
use super::pending::PendingEviction;
use super::read::{content_length, stored_head};
use crate::cache::Cache;
use crate::entry::StoredHead;
use crate::http::conditional::add_etag;
use crate::http::fields::add_vary;
use crate::http::storable::NotStorable;
use crate::key::Eviction;
use crate::request::{Head, RequestHead};
use crate::route::Route;
use crate::store::Claim;

/// Answers a request to a `#[cache_put]` handler.
pub async fn write_through<T, F, Fut, const KEEP: u8>(
    head: Head<T, KEEP>,
    route: &'static Route,
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
    let key = request.key.clone();
    let variant = route.variant(&request);
    let fill = Fill::begin(cache.clone(), route, key.clone(), variant, Claim::Override).await;
    // Without a lease nothing can be stored, but what is stored must go all the same.
    let pending = match &fill {
        Some(_) => Vec::new(),
        None => vec![Eviction::Key(key)],
    };
    let pending = PendingEviction::new(cache.clone(), pending);
    let response = handler(extracted).await.into_response();
    if !succeeded(response.status()) {
        pending.cancel();
        if let Some(fill) = fill {
            fill.abandon().await;
        }
        return bypass(route, response);
    }
    let (response, stored) = representation(&cache, route, &request, response).await;
    if let Err(reason) = &stored {
        route.name_reason(*reason);
    }
    match (fill, stored) {
        (Some(fill), Ok((head, body))) => fill.store(head, body).await,
        (Some(fill), Err(_)) => fill.give_up().await,
        (None, _) => pending.run().await,
    }
    bypass(route, response)
}

/// The response, and what to store of it: a 200, whatever the status of the write was.
async fn representation(
    cache: &Cache,
    route: &Route,
    request: &RequestHead,
    response: Response,
) -> (Response, Result<(StoredHead, Bytes), NotStorable>) {
    let storable = route
        .check_request(request)
        .and_then(|()| route.check_written(&response, cache.ttl(route.ttl)));
    let grant = match storable {
        Ok(grant) => grant,
        Err(reason) => return (response, Err(reason)),
    };
    let (parts, body) = response.into_parts();
    let length = content_length(&parts.headers);
    match capture(body, length, cache.max_body_bytes()).await {
        Captured::Whole(body) if body.is_empty() => (
            Response::from_parts(parts, Body::empty()),
            Err(NotStorable::Status),
        ),
        Captured::Whole(body) => {
            let mut stored = Response::new(Body::empty());
            *stored.headers_mut() = parts.headers.clone();
            // It said where the new resource is; this is the resource.
            if parts.status != StatusCode::OK {
                stored.headers_mut().remove(header::LOCATION);
            }
            add_vary(stored.headers_mut(), &route.store.vary);
            add_etag(StatusCode::OK, stored.headers_mut(), &body).await;
            let head = stored_head(&stored, grant);
            (
                Response::from_parts(parts, Body::from(body.clone())),
                Ok((head, body)),
            )
        }
        Captured::Streaming(body) => (Response::from_parts(parts, body), Err(NotStorable::Endless)),
        Captured::NotStorable(reason, body) => (Response::from_parts(parts, body), Err(reason)),
    }
}
