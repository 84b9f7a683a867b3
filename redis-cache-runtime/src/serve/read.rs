//! `#[cached]`: answer from the store, or run the handler and fill it.

use std::fmt;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::{Captured, Tee, capture};
use super::fill::Fill;
use super::{BoxFuture, Outcome, bypass, complete};
use crate::cache::Cache;
use crate::clock;
use crate::entry::{Entry, StoredHead};
use crate::http::conditional::add_etag;
use crate::http::fields::{add_vary, stored_fields};
use crate::http::freshness::{Freshness, Grant, cache_control};
use crate::http::storable::NotStorable;
use crate::request::{CacheRequest, RequestHead};
use crate::route::{Route, Selected};
use crate::store::Claim;

/// Looks for a response to reuse; where there is none, the handler has to run.
///
/// Neither is this generic nor does its future name what is in it: both would be compiled anew for
/// each handler.
pub fn read_through(
    request: CacheRequest,
    route: &'static Route,
    selected: Selected,
) -> BoxFuture<Result<Response, Read>> {
    Box::pin(begin(request, route, selected))
}

async fn begin(
    request: CacheRequest,
    route: &'static Route,
    selected: Selected,
) -> Result<Response, Read> {
    let CacheRequest {
        head: mut request,
        cache,
    } = request;
    let usable = if request.is_read {
        route.check_request(&request)
    } else {
        Err(NotStorable::Method)
    };
    let (fill, outcome) = if let Err(reason) = usable {
        route.name_reason(reason);
        if request.is_read && only_if_cached(&request) {
            let response = StatusCode::GATEWAY_TIMEOUT.into_response();
            return Ok(bypass(route, response));
        }
        (None, None)
    } else {
        let at = route.address(&mut request, selected).await;
        let found = cache.lookup(&at).await;
        if let Ok(Some(entry)) = &found
            && let Some(response) = reuse(entry, &request, route)
        {
            return Ok(response);
        }
        // Without the store the handler runs as if there were no cache.
        let outcome = found.map_or(Outcome::Bypass, |_| Outcome::Miss);
        if only_if_cached(&request) {
            let response = StatusCode::GATEWAY_TIMEOUT.into_response();
            return Ok(outcome.label(response));
        }
        let fill = match outcome {
            Outcome::Miss => Fill::begin(cache.clone(), route, at, Claim::IfFree).await,
            Outcome::Hit | Outcome::Bypass => None,
        };
        (fill, Some(outcome))
    };
    Err(Read {
        cache,
        route,
        request,
        fill,
        outcome,
    })
}

/// A run of the handler of a read.
pub struct Read {
    cache: Cache,
    route: &'static Route,
    request: RequestHead,
    fill: Option<Fill>,
    /// `None` when the request rules out the cache.
    outcome: Option<Outcome>,
}

impl Read {
    /// Answers with what the handler made, and stores it if it may be.
    pub fn finish(self, response: impl IntoResponse) -> BoxFuture<Response> {
        self.boxed(response.into_response())
    }

    fn boxed(self, response: Response) -> BoxFuture<Response> {
        Box::pin(async move {
            let Some(outcome) = self.outcome else {
                return bypass(self.route, response);
            };
            let (cache, route, request) = (&self.cache, self.route, self.request.map());
            respond(cache, route, request, response, self.fill, outcome).await
        })
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}

/// The client would rather have nothing than a response that is not stored.
fn only_if_cached(request: &RequestHead) -> bool {
    request
        .directives()
        .is_some_and(|directives| directives.only_if_cached)
}

/// The stored response, if it may be reused now.
fn reuse(entry: &Entry, request: &RequestHead, route: &Route) -> Option<Response> {
    let freshness = Freshness::at(clock::now(), entry.generated(), entry.lifetime());
    let reusable = match request.directives() {
        Some(directives) => freshness.allows(directives),
        None => freshness.is_fresh(),
    };
    if !reusable {
        return None;
    }
    let (stored, body) = entry.decode()?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.fields;
    let cache_control = cache_control(&route.client, &stored.grant, freshness.remaining());
    complete(&mut response, request.map(), cache_control, Outcome::Hit);
    Some(response)
}

/// Answers with what the handler made, and fills the cache with it if it is storable.
async fn respond(
    cache: &Cache,
    route: &'static Route,
    request: Option<&HeaderMap>,
    mut response: Response,
    fill: Option<Fill>,
    outcome: Outcome,
) -> Response {
    let grant = match route.check_response(&response, cache.ttl(route.lifetime())) {
        Ok(grant) => grant,
        Err(reason) => return not_stored(route, reason, response, fill).await,
    };
    let cache_control = cache_control(&route.client, &grant, grant.lifetime);
    add_vary(response.headers_mut(), route.store.vary);
    // What it says is in the lifetime now.
    response.headers_mut().remove(header::AGE);
    let (parts, body) = response.into_parts();
    let content_length = content_length(&parts.headers);
    match capture(body, content_length, cache.max_body_bytes()).await {
        Captured::Whole(body) => {
            let mut response = Response::from_parts(parts, Body::from(body.clone()));
            add_etag(response.status(), response.headers_mut(), &body).await;
            if let Some(fill) = fill {
                fill.store(stored_head(&response, grant), body).await;
            }
            complete(&mut response, request, cache_control, outcome);
            response
        }
        Captured::Streaming(body) => {
            let mut response = Response::from_parts(parts, Body::empty());
            let head = stored_head(&response, grant);
            complete(&mut response, request, cache_control, outcome);
            if response.status() == StatusCode::NOT_MODIFIED {
                return response;
            }
            let body = match fill {
                Some(fill) => {
                    let limit = cache.max_body_bytes();
                    Body::new(Tee::new(body, content_length, limit, fill, head))
                }
                None => body,
            };
            response.map(|_| body)
        }
        Captured::NotStorable(reason, body) => {
            not_stored(route, reason, Response::from_parts(parts, body), fill).await
        }
    }
}

async fn not_stored(
    route: &Route,
    reason: NotStorable,
    response: Response,
    fill: Option<Fill>,
) -> Response {
    route.name_reason(reason);
    if let Some(fill) = fill {
        fill.abandon().await;
    }
    bypass(route, response)
}

pub(super) fn stored_head(response: &Response, grant: Grant) -> StoredHead {
    StoredHead {
        status: response.status(),
        fields: stored_fields(response.headers()),
        grant,
        generated: clock::now(),
    }
}

/// The length that a handler declared for its body.
pub(super) fn content_length(fields: &HeaderMap) -> Option<u64> {
    fields
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
