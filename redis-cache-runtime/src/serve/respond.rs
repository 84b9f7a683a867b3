//! Answers with what the handler made, and fills the cache with it if it is storable.

use axum::body::{Body, HttpBody};
use axum::http::response::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use super::body::{Captured, Tee, capture};
use super::fill::Fill;
use super::flight::Lead;
use super::outcome::{Answer, CacheStatus};
use super::search::Plan;
use super::{complete, pass_on};
use crate::cache::Cache;
use crate::clock;
use crate::entry::{Entry, StoredHead};
use crate::http::cache_control::cache_control;
use crate::http::conditional::add_etag;
use crate::http::fields::{add_vary, stored_fields};
use crate::http::freshness::{Freshness, Grant};
use crate::http::storable::{NotStorable, age};
use crate::http::targeted;
use crate::observe::{Writes, Written};
use crate::request::RequestHead;
use crate::route::Route;
use crate::store::Stamps;

/// A response, with what is known of it when its body has been read as far as it may be.
pub(super) enum Examined {
    Whole(Parts, Bytes, Grant),
    /// The body is not all there, or its length is not known: it must not be waited for.
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
    let (mut parts, body) = response.into_parts();
    let length = content_length(&parts.headers);
    match capture(body, length, cache.max_body_bytes(), cache.copies()) {
        Captured::Whole(body) => {
            take_age(&mut parts.headers, &grant);
            add_etag(parts.status, &mut parts.headers, &body).await;
            Examined::Whole(parts, body, grant)
        }
        Captured::Streaming(body) => {
            take_age(&mut parts.headers, &grant);
            Examined::Streaming(parts, body, grant)
        }
        Captured::NotStorable(reason, body) => {
            Examined::NotStorable(reason, Response::from_parts(parts, body))
        }
    }
}

/// Takes out of the fields how old the response is: the lifetime says it now.
pub(super) fn take_age(fields: &mut HeaderMap, grant: &Grant) {
    if grant.is_targeted {
        let age = age(fields, clock::time());
        targeted::count_down(fields, age);
    }
    fields.remove(header::AGE);
    fields.remove(header::DATE);
}

pub(super) async fn respond(
    cache: &Cache,
    route: &'static Route,
    request: &RequestHead,
    examined: Examined,
    plan: Plan<Answer>,
    mut status: CacheStatus,
) -> Answer {
    let (fill, lead, turn) = match plan {
        Plan::Bypass | Plan::Unstored => (None, None, None),
        Plan::InTurn(turn) => (None, None, Some(*turn)),
        Plan::Fill(fill, lead) => (Some(fill), lead, None),
        Plan::Refresh(fill, lead, _) => (Some(fill), Some(lead), None),
    };
    if let Examined::Whole(parts, _, grant) | Examined::Streaming(parts, _, grant) = &examined {
        status.made = Some(parts.status);
        status.freshness = Some(Freshness::new(grant.lifetime));
    }
    let fields = request.fields.as_deref();
    let told = |grant: &Grant| cache_control(&route.client, grant, Freshness::new(grant.lifetime));
    let response = match examined {
        Examined::Whole(parts, body, grant) => {
            let cache_control = told(&grant);
            if let Some(turn) = turn {
                let head = stored_head(&parts, grant);
                turn.share(|| {
                    head.encode(&Stamps::default(), &body)
                        .and_then(Entry::parse)
                });
            } else if let Some(fill) = fill {
                let head = stored_head(&parts, grant);
                let written = store(fill, route, &head, &body, lead).await;
                status.stored = written == Written::Stored;
            }
            let length = u64::try_from(body.len()).ok();
            let mut response = Response::from_parts(parts, Body::from(body));
            complete(&mut response, length, fields, cache_control);
            response
        }
        Examined::Streaming(parts, body, grant) => {
            let cache_control = told(&grant);
            let head = stored_head(&parts, grant);
            let mut response = Response::from_parts(parts, Body::empty());
            // Nobody reads beyond the length that a body has.
            let length = content_length(response.headers()).or(body.size_hint().exact());
            complete(&mut response, length, fields, cache_control);
            // Nobody waits for a stream, which may have no end.
            if let Some(lead) = lead {
                lead.fail_to_share();
            }
            if let Some(turn) = turn {
                turn.fail();
            }
            let fill = match fill {
                Some(fill) => fill.unawaited().await,
                None => None,
            };
            let limit = cache.max_body_bytes();
            let body = match fill {
                Some(fill) => Body::new(Tee::new(body, length, limit, route, fill, head)),
                None => body,
            };
            // The body of a 304 is dropped here: what it is a copy of may be stored all the same.
            if response.status() == StatusCode::NOT_MODIFIED {
                return Answer { response, status };
            }
            response.map(|_| body)
        }
        Examined::NotStorable(reason, response) => {
            status = status.past_the_cache();
            (status.made, status.not_storable) = (Some(response.status()), Some(reason));
            route.refuse(reason, Writes::Fill, cache);
            // They run the handler themselves, and the first of them may find the lease free.
            if let Some(fill) = fill {
                fill.abandon().await;
            }
            match lead {
                // A server in trouble is not asked by all of them at once.
                Some(lead) if response.status().is_server_error() => lead.fail(),
                Some(lead) => lead.fail_to_share(),
                None => {}
            }
            if let Some(turn) = turn {
                turn.fail();
            }
            pass_on(route, response)
        }
    };
    Answer { response, status }
}

/// Fills the cache with a response, and tells what became of it.
pub(super) async fn store(
    fill: Fill,
    route: &Route,
    head: &StoredHead,
    body: &[u8],
    lead: Option<Lead>,
) -> Written {
    let entry = fill.stamps().and_then(|stamps| head.encode(stamps, body));
    let stale_for = route.windows().granted(&head.grant).longest();
    fill.store(entry.and_then(Entry::parse), stale_for, lead)
        .await
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
