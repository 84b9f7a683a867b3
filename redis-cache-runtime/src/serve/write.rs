//! `#[cache_put]`: runs the handler, and stores its response for the next read. If nothing can be
//! stored, the write evicts.

use std::fmt;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::body::{Captured, capture};
use super::reply::{WriteOutcome, pass_on};
use super::request::{CacheRequest, RequestHead};
use super::route::Route;
use super::route::selected::Selected;
use super::step::{Detachable, Step};
use super::store_response::{ToStore, content_length, take_age};
use super::writer::Writer;
use crate::engine::Engine;
use crate::engine::client::Evicted;
use crate::engine::due_eviction::DueEviction;
use crate::engine::fill::{Begun, Fill};
use crate::http::conditional::add_etag;
use crate::http::fields::{CACHE_STATUS, add_vary};
use crate::http::storable::{NotStorable, is_non_error};
use crate::key::{Address, Eviction};
use crate::observe::{Writes, Written};
use crate::store::Claim;

/// Takes the lease of the entry that the write replaces, before the handler runs.
pub fn write_through(
    request: CacheRequest,
    route: &'static Route,
    writer: &'static Writer,
    selected: Selected,
) -> BoxFuture<'static, Write> {
    Box::pin(Write::begin(
        request,
        route,
        Declaration { writer, selected },
    ))
}

/// The declarations of a write, for one request.
struct Declaration {
    writer: &'static Writer,
    selected: Selected,
}

/// Returns the evictions of the write, which it needs if it stores nothing, and its address;
/// `None`: the entry that it replaces is unknown.
async fn resolve_targets(
    engine: &Engine,
    request: &RequestHead,
    route: &'static Route,
    Declaration { writer, selected }: Declaration,
) -> (Vec<Eviction>, Option<Address>) {
    let all = match selected.selected_key() {
        Some(key) => Ok(key.clone().into_base()),
        None => route.key_named_by(request),
    };
    let all = match all {
        Ok(key) => vec![engine.eviction_of_key(key)],
        Err(_) if route.has_function_for(request) => vec![route.everything()],
        Err(unidentified) => {
            writer.log_unidentified(route, unidentified);
            return (vec![route.everything()], None);
        }
    };
    let Some(mut addressing) = route.write_address(engine, request, selected) else {
        return (all, None);
    };
    addressing.complete(request).await;
    (all, Some(addressing.into_address()))
}

/// A write under way.
pub struct Write {
    engine: Engine,
    route: &'static Route,
    request: RequestHead,
    /// The address of the response, if it is known.
    at: Option<Address>,
    fill: Option<Box<Fill>>,
    /// The evictions that are due when the write has succeeded, if nothing can be stored.
    pending: DueEviction,
}

impl Write {
    async fn begin(request: CacheRequest, route: &'static Route, declaration: Declaration) -> Self {
        let CacheRequest {
            head: request,
            engine,
        } = request;
        let (evictions, at) = resolve_targets(&engine, &request, route, declaration).await;
        let written = at.clone();
        let kept_for = route.kept_for(&engine);
        let client = engine.client();
        let fill = match at {
            None => None,
            Some(at) => {
                let (name, claim) = (route.name(), Claim::Override);
                match Fill::begin(
                    client.clone(),
                    at,
                    name,
                    claim,
                    kept_for,
                    request.read_since,
                )
                .await
                {
                    Begun::Fill(fill, _) => Some(fill),
                    Begun::ReadTooEarly(_) => {
                        route.refuse(NotStorable::ReadTooEarly, Writes::Through, &engine);
                        None
                    }
                    Begun::Held(_) | Begun::Fault => None,
                }
            }
        };
        let pending = if fill.is_none() {
            evictions
        } else {
            Vec::new()
        };
        Self {
            pending: DueEviction::new(client.clone(), pending),
            engine,
            route,
            request,
            at: written,
            fill,
        }
    }

    /// Stores the response of the handler or evicts, then finishes the response.
    async fn end(self, response: Response) -> Response {
        let (engine, route) = (self.engine.clone(), self.route);
        let (response, outcome) = self.store_or_evict(response).await;
        outcome.finish(pass_on(route, response), &engine)
    }

    /// Stores the response of the handler for the next read, or evicts the old one.
    async fn store_or_evict(self, response: Response) -> (Response, WriteOutcome) {
        let Self {
            engine,
            route,
            request,
            at,
            fill,
            pending,
        } = self;
        if !is_non_error(response.status()) {
            pending.cancel();
            if let Some(fill) = fill {
                fill.abandon().await;
            }
            return (response, WriteOutcome::Bypass);
        }
        let (response, stored) = representation(&engine, route, &request, response).await;
        if let Err(reason) = &stored {
            route.refuse(*reason, Writes::Through, &engine);
        }
        let is_stored = match (fill, stored) {
            (Some(fill), Ok((response, body))) => {
                response.store(fill, route, &body).await == Written::Stored
            }
            (Some(fill), Err(_)) => {
                fill.give_up().await;
                false
            }
            (None, _) => false,
        };
        let evicted = pending.run().await;
        let outcome = if at.is_some_and(|at| engine.client().is_evicted(&at)) {
            WriteOutcome::Pending
        } else if is_stored {
            WriteOutcome::Stored
        } else {
            WriteOutcome::of(Some(evicted.unwrap_or(Evicted::Everywhere)))
        };
        (response, outcome)
    }
}

impl Step for Write {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn run(self, handler: BoxFuture<'static, Response>) -> BoxFuture<'static, Response> {
        let engine = self.engine.clone();
        let run = async move { self.end(handler.await).await };
        Box::pin(Detachable::new(engine, run))
    }

    async fn run_in_place(self, handler: impl Future<Output = Response>) -> Response {
        let response = handler.await;
        self.end(response).await
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Write")
    }
}

/// Returns the response, and what to store with its body. The stored status is 200, whatever the
/// status of the write is.
async fn representation(
    engine: &Engine,
    route: &Route,
    request: &RequestHead,
    response: Response,
) -> (Response, Result<(ToStore, Bytes), NotStorable>) {
    let storable = request
        .check(route)
        .and_then(|()| route.check_written(&response, engine));
    let grant = match storable {
        Ok(grant) => grant,
        Err(reason) => return (response, Err(reason)),
    };
    let (parts, body) = response.into_parts();
    let length = content_length(&parts.headers);
    match capture(body, length, engine.max_body_bytes(), engine.copies()) {
        Captured::Whole(body) if body.is_empty() => {
            let reason = NotStorable::Status(parts.status);
            (Response::from_parts(parts, Body::empty()), Err(reason))
        }
        Captured::Whole(body) => {
            let (mut stored, ()) = Response::new(()).into_parts();
            stored.headers = parts.headers.clone();
            stored.extensions = parts.extensions.clone();
            // The field describes how the write was handled.
            stored.headers.remove(CACHE_STATUS);
            // The field names the URL of the new resource, and the stored response is that
            // resource.
            if parts.status != StatusCode::OK {
                stored.headers.remove(header::LOCATION);
            }
            add_vary(&mut stored.headers, route.store.vary);
            take_age(&mut stored.headers, &grant);
            add_etag(StatusCode::OK, &mut stored.headers, &body).await;
            let to_store = ToStore::new(engine, route, &stored, grant);
            (
                Response::from_parts(parts, Body::from(body.clone())),
                Ok((to_store, body)),
            )
        }
        Captured::Streaming(body) => (Response::from_parts(parts, body), Err(NotStorable::Endless)),
        Captured::NotStorable(reason, body) => (Response::from_parts(parts, body), Err(reason)),
    }
}
