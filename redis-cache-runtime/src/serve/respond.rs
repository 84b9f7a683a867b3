//! Answers with what the handler made, and fills the cache with it if it is storable.

use axum::body::Body;
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::body::{Captured, Tee, capture};
use super::fill::Fill;
use super::flight::Lead;
use super::read::Plan;
use super::{Outcome, bypass, complete};
use crate::cache::Cache;
use crate::clock;
use crate::entry::StoredHead;
use crate::http::conditional::add_etag;
use crate::http::fields::{add_vary, stored_fields};
use crate::http::freshness::{Freshness, Grant, cache_control};
use crate::http::storable::NotStorable;
use crate::request::RequestHead;
use crate::route::Route;

pub(super) async fn respond(
    cache: &Cache,
    route: &'static Route,
    request: &RequestHead,
    mut response: Response,
    plan: Plan,
) -> Response {
    let (outcome, fill, lead) = match plan {
        Plan::Bypass => return bypass(route, response),
        Plan::Unstored(outcome) => (outcome, None, None),
        Plan::Fill(fill, lead) => (Outcome::Miss, Some(fill), lead),
        Plan::Refresh(fill, lead, _) => (Outcome::Miss, Some(fill), Some(lead)),
    };
    let grant = match route.check_response(&response, cache.ttl(route)) {
        Ok(grant) => grant,
        Err(reason) => return not_stored(route, reason, response, fill, lead).await,
    };
    add_vary(response.headers_mut(), route.store.vary);
    // What it says is in the lifetime now.
    response.headers_mut().remove(header::AGE);
    let told = Told {
        cache_control: cache_control(&route.client, &grant, Freshness::new(grant.lifetime)),
        request: request.map(),
        outcome,
    };
    let (mut parts, body) = response.into_parts();
    let length = content_length(&parts.headers);
    match capture(body, length, cache.max_body_bytes()).await {
        Captured::Whole(body) => {
            add_etag(parts.status, &mut parts.headers, &body).await;
            if let Some(fill) = fill {
                let head = stored_head(&parts, grant);
                fill.store(head, body.clone(), lead).await;
            }
            told.complete(Response::from_parts(parts, Body::from(body)))
        }
        Captured::Streaming(body) => {
            // Nobody waits for a stream, which may have no end.
            if let Some(lead) = lead {
                lead.fail();
            }
            let head = stored_head(&parts, grant);
            let response = told.complete(Response::from_parts(parts, Body::empty()));
            if response.status() == StatusCode::NOT_MODIFIED {
                return response;
            }
            let fill = match fill {
                Some(fill) => fill.unawaited().await,
                None => None,
            };
            let limit = cache.max_body_bytes();
            let body = match fill {
                Some(fill) => Body::new(Tee::new(body, length, limit, fill, head)),
                None => body,
            };
            response.map(|_| body)
        }
        Captured::NotStorable(reason, body) => {
            let response = Response::from_parts(parts, body);
            not_stored(route, reason, response, fill, lead).await
        }
    }
}

/// What a client is told about a response.
struct Told<'a> {
    cache_control: HeaderValue,
    request: Option<&'a HeaderMap>,
    outcome: Outcome,
}

impl Told<'_> {
    fn complete(self, mut response: Response) -> Response {
        complete(
            &mut response,
            self.request,
            self.cache_control,
            self.outcome,
        );
        response
    }
}

async fn not_stored(
    route: &Route,
    reason: NotStorable,
    response: Response,
    fill: Option<Fill>,
    lead: Option<Lead>,
) -> Response {
    route.name_reason(reason);
    // They run the handler themselves, and the first of them may find the lease free.
    if let Some(fill) = fill {
        fill.abandon().await;
    }
    if let Some(lead) = lead {
        lead.fail();
    }
    bypass(route, response)
}

pub(super) fn stored_head(parts: &Parts, grant: Grant) -> StoredHead {
    StoredHead {
        status: parts.status,
        fields: stored_fields(&parts.headers),
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
