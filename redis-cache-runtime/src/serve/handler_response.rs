//! Replies to a read with the handler's response, and stores the response if it is storable.

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use axum::http::response::Parts;
use axum::response::Response;
use bytes::Bytes;

use super::body::{Captured, Tee, capture};
use super::reply::{Reply, complete, pass_on, told_of_fresh};
use super::route::Route;
use super::store_response::{ToStore, content_length, take_age};
use super::stored::ReadRequest;
use crate::engine::Engine;
use crate::engine::plan::Destination;
use crate::http::cache_status::CacheStatus;
use crate::http::conditional::add_etag;
use crate::http::fields::add_vary;
use crate::http::freshness::{Freshness, Grant};
use crate::http::storable::NotStorable;
use crate::observe::{Writes, Written};
use crate::store::EntryStamps;
use crate::store::entry::Entry;

/// A handler's response, with the part of its body that is ready.
pub(super) enum Examined {
    Whole(Parts, Bytes, Grant),
    /// Not all of the body is ready, or its length is unknown: the reply must not wait for it.
    Streaming(Parts, Body, Grant),
    NotStorable(NotStorable, Response),
}

/// Checks whether a response may be stored, and reads the part of its body that is ready.
pub(super) async fn examine(engine: &Engine, route: &Route, mut response: Response) -> Examined {
    let grant = match route.check_response(&response, engine) {
        Ok(grant) => grant,
        Err(reason) => return Examined::NotStorable(reason, response),
    };
    add_vary(response.headers_mut(), route.store.vary);
    let (mut parts, body) = response.into_parts();
    let length = content_length(&parts.headers);
    match capture(body, length, engine.max_body_bytes(), engine.copies()) {
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

/// Sends a handler's response to its destination, then renders the reply.
pub(super) async fn respond(
    engine: &Engine,
    request: &ReadRequest,
    examined: Examined,
    destination: Destination,
    status: CacheStatus,
) -> Reply {
    match examined {
        Examined::Whole(parts, body, grant) => {
            let status = made(status, parts.status, &grant);
            respond_whole(engine, request, parts, body, grant, destination, status).await
        }
        Examined::Streaming(parts, body, grant) => {
            let status = made(status, parts.status, &grant);
            let response = stream(engine, request, parts, body, grant, destination).await;
            Reply { response, status }
        }
        Examined::NotStorable(reason, response) => {
            let mut status = status.past_the_cache();
            (status.made, status.not_storable) = (Some(response.status()), Some(reason));
            request.route.refuse(reason, Writes::Fill, engine);
            refuse(destination, response.status()).await;
            let response = pass_on(request.route, response);
            Reply { response, status }
        }
    }
}

fn made(status: CacheStatus, made: StatusCode, grant: &Grant) -> CacheStatus {
    CacheStatus {
        made: Some(made),
        freshness: Some(Freshness::new(grant.lifetime)),
        ..status
    }
}

async fn respond_whole(
    engine: &Engine,
    request: &ReadRequest,
    parts: Parts,
    body: Bytes,
    grant: Grant,
    destination: Destination,
    mut status: CacheStatus,
) -> Reply {
    let told = told_of_fresh(request.route, &grant);
    let to_store = ToStore::new(engine, request.route, &parts, grant);
    match destination {
        Destination::Nowhere => {}
        Destination::Followers(turn) => turn.share(|| {
            let entry = to_store.encode(&EntryStamps::default(), &body);
            entry.and_then(Entry::parse)
        }),
        Destination::Store(fill) => {
            let written = to_store.store(fill, request.route, &body).await;
            status.stored = written == Written::Stored;
        }
    }
    let length = u64::try_from(body.len()).ok();
    let mut response = Response::from_parts(parts, Body::from(body));
    let fields = request.head.fields.as_deref();
    complete(&mut response, length, fields, told);
    Reply { response, status }
}

/// Passes a body through while a copy of it is made for the store. No request waits for a stream,
/// which may have no end.
async fn stream(
    engine: &Engine,
    request: &ReadRequest,
    parts: Parts,
    body: Body,
    grant: Grant,
    destination: Destination,
) -> Response {
    let told = told_of_fresh(request.route, &grant);
    let to_store = ToStore::new(engine, request.route, &parts, grant);
    let mut response = Response::from_parts(parts, Body::empty());
    // The server reads no more of a body than its length.
    let length = content_length(response.headers()).or(body.size_hint().exact());
    let fields = request.head.fields.as_deref();
    complete(&mut response, length, fields, told);
    let fill = match destination {
        Destination::Nowhere => None,
        Destination::Followers(turn) => {
            turn.fail();
            None
        }
        Destination::Store(fill) => fill.unawaited().await,
    };
    let body = match fill {
        Some(fill) => Body::new(Tee::new(
            body,
            length,
            engine,
            request.route,
            fill,
            to_store,
        )),
        None => body,
    };
    // The body of a 304 is dropped here. Its copy may still be stored.
    if response.status() == StatusCode::NOT_MODIFIED {
        return response;
    }
    response.map(|_| body)
}

/// Lets the followers run the handler themselves, because the response is not storable.
async fn refuse(destination: Destination, status: StatusCode) {
    match destination {
        Destination::Nowhere => {}
        Destination::Followers(turn) => turn.fail(),
        // After a server error, the followers do not run the handler all at once.
        Destination::Store(fill) if status.is_server_error() => fill.abandon().await,
        Destination::Store(fill) => fill.abandon_unshared().await,
    }
}
