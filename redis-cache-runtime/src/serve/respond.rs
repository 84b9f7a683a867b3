//! Answers with what the handler made, and fills the cache with it if it is storable.

use axum::body::Body;
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use super::body::{Captured, Tee, capture};
use super::fill::Fill;
use super::flight::Lead;
use super::search::Plan;
use super::{Outcome, bypass, complete};
use crate::cache::Cache;
use crate::clock;
use crate::entry::{Entry, StoredHead};
use crate::http::cache_control::cache_control;
use crate::http::conditional::add_etag;
use crate::http::fields::{add_vary, stored_fields};
use crate::http::freshness::{Freshness, Grant};
use crate::http::storable::NotStorable;
use crate::request::RequestHead;
use crate::route::Route;

/// A response, with what is known of it when its body has been read as far as it may be.
pub(super) enum Examined {
    Whole(Parts, Bytes, Grant),
    /// The length of the body is not known, so it must not be waited for.
    Streaming(Parts, Body, Grant),
    NotStorable(NotStorable, Response),
}

/// Finds out whether a response may be stored.
pub(super) async fn examine(cache: &Cache, route: &Route, mut response: Response) -> Examined {
    let grant = match route.check_response(&response, cache.lifetime(route)) {
        Ok(grant) => grant,
        Err(reason) => return Examined::NotStorable(reason, response),
    };
    add_vary(response.headers_mut(), route.store.vary);
    // What it says is in the lifetime now.
    response.headers_mut().remove(header::AGE);
    let (mut parts, body) = response.into_parts();
    let length = content_length(&parts.headers);
    match capture(body, length, cache.max_body_bytes()).await {
        Captured::Whole(body) => {
            add_etag(parts.status, &mut parts.headers, &body).await;
            Examined::Whole(parts, body, grant)
        }
        Captured::Streaming(body) => Examined::Streaming(parts, body, grant),
        Captured::NotStorable(reason, body) => {
            Examined::NotStorable(reason, Response::from_parts(parts, body))
        }
    }
}

pub(super) async fn respond(
    cache: &Cache,
    route: &'static Route,
    request: &RequestHead,
    examined: Examined,
    plan: Plan<Response>,
) -> Response {
    let (outcome, fill, lead) = match plan {
        Plan::Bypass => (Outcome::Bypass, None, None),
        Plan::Unstored(outcome) => (outcome, None, None),
        Plan::Fill(fill, lead) => (Outcome::Miss, Some(fill), lead),
        Plan::Refresh(fill, lead, _) => (Outcome::Miss, Some(fill), Some(lead)),
    };
    let told = |grant: &Grant| Told {
        cache_control: cache_control(&route.client, grant, Freshness::new(grant.lifetime)),
        request: request.map(),
        outcome,
    };
    match examined {
        Examined::Whole(parts, body, grant) => {
            let told = told(&grant);
            if let Some(fill) = fill {
                store(fill, route, &stored_head(&parts, grant), &body, lead).await;
            }
            told.complete(Response::from_parts(parts, Body::from(body)))
        }
        Examined::Streaming(parts, body, grant) => {
            let told = told(&grant);
            let head = stored_head(&parts, grant);
            let response = told.complete(Response::from_parts(parts, Body::empty()));
            // Nobody waits for a stream, which may have no end.
            if let Some(lead) = lead {
                lead.fail();
            }
            if response.status() == StatusCode::NOT_MODIFIED {
                return response;
            }
            let length = content_length(response.headers());
            let fill = match fill {
                Some(fill) => fill.unawaited().await,
                None => None,
            };
            let limit = cache.max_body_bytes();
            let body = match fill {
                Some(fill) => Body::new(Tee::new(body, length, limit, route, fill, head)),
                None => body,
            };
            response.map(|_| body)
        }
        Examined::NotStorable(reason, response) => {
            not_stored(route, reason, response, fill, lead).await
        }
    }
}

/// Fills the cache with a response.
pub(super) async fn store(
    fill: Fill,
    route: &Route,
    head: &StoredHead,
    body: &[u8],
    lead: Option<Lead>,
) {
    let entry = fill.stamps().and_then(|stamps| head.encode(stamps, body));
    let stale_for = route.windows().granted(&head.grant).longest();
    fill.store(entry.and_then(Entry::parse), stale_for, lead)
        .await;
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
