//! The step of `#[cached]`: it looks up a stored response, and reuses it or runs the handler.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;

use super::explain::explain;
use super::read_run::Read;
use super::reply::{Reply, cache_groups, pass_on};
use super::request::{CacheRequest, MethodKind};
use super::route::Route;
use super::route::selected::Selected;
use super::stored::{ReadRequest, StoredResponse};
use crate::engine::Engine;
use crate::engine::plan::{Destination, Plan};
use crate::engine::search::{Search, Searched};
use crate::http::cache_status::{CacheStatus, Forward, Outcome};
use crate::http::storable::NotStorable;
use crate::key::{Address, Eviction};
use crate::observe::Writes;

/// A future that returns the reply to a read. If the handler must run first, the future returns an
/// error, which holds all that the run needs.
pub enum Lookup {
    /// The reply is known; `None` after it was returned.
    Found(Option<Response>),
    /// The reply may have to be waited for.
    Waiting(BoxFuture<'static, Result<Response, Read>>),
}

impl Future for Lookup {
    type Output = Result<Response, Read>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Found(reply) => reply.take().map_or(Poll::Pending, |it| Poll::Ready(Ok(it))),
            Self::Waiting(lookup) => lookup.as_mut().poll(cx),
        }
    }
}

/// Looks for a response to reuse. If there is none, returns the run of the handler.
///
/// This function is not generic, and its future is boxed. Otherwise the compiler would compile both
/// again for each handler.
pub fn read_through(request: CacheRequest, route: &'static Route, selected: Selected) -> Lookup {
    let CacheRequest { head, engine } = request;
    let usable = if !head.is_read() {
        Err(NotStorable::Method)
    } else if selected.is_duplicate(route) {
        Err(NotStorable::DuplicateName)
    } else {
        head.check(route)
    };
    let request = ReadRequest::new(route, head);
    if request.head.explanation_slot().is_some() {
        return explain_instead(engine, request, selected, usable);
    }
    match usable {
        Ok(()) => look_up(engine, request, selected),
        Err(_) if request.head.method == MethodKind::Unsafe => {
            Lookup::Waiting(Box::pin(invalidate(engine, request, selected)))
        }
        Err(reason) => Lookup::Waiting(Box::pin(ready(bypass(engine, request, selected, reason)))),
    }
}

/// Looks for a response to reuse in the cache.
///
/// This is not an `async fn`, because its future would hold the arguments twice.
fn look_up(engine: Engine, mut request: ReadRequest, selected: Selected) -> Lookup {
    let mut addressing = request.route.address(&engine, &mut request.head, selected);
    let mut begun = None;
    if let Some(at) = addressing.known() {
        match Search::new(&engine, at, &request).start() {
            Ok(stored) => {
                return Lookup::Found(Some(reply_with(stored, None, &engine, &request, at)));
            }
            Err(start) => begun = Some(start),
        }
    }
    request.begin_to_wait();
    Lookup::Waiting(Box::pin(async move {
        let at = addressing.complete(&request.head).await;
        let mut search = Search::new(&engine, at, &request);
        let search = search.run(begun);
        let searched = if request.may_be_slow() {
            Box::pin(request.unless_slow(&engine, at, search)).await
        } else {
            Ok(search.await)
        };
        let searched = searched.unwrap_or_else(|stale| Searched::Stored(stale, None));
        match searched {
            Searched::Stored(stored, collapsed) => {
                Ok(reply_with(stored, collapsed, &engine, &request, at))
            }
            Searched::Run(forward, Plan::Run(Destination::Nowhere))
                if request.head.only_if_cached() =>
            {
                let reply = Reply::not_cached(forward.outcome());
                Ok(reply.finish(&engine, request.route.name(), None))
            }
            Searched::Run(forward, plan) => {
                let at = addressing.into_address();
                Err(Read::planned(engine, request, at, forward, plan))
            }
        }
    }))
}

/// Renders a stored response. `collapsed`: the response was made by the run of another request, and this
/// is the reason why a run was needed.
fn reply_with(
    stored: StoredResponse,
    collapsed: Option<Forward>,
    engine: &Engine,
    request: &ReadRequest,
    at: &Address,
) -> Response {
    let mut reply = Reply::stored(stored, request.route, request.head.fields.as_deref());
    if let Some(forward) = collapsed {
        reply.status = reply.status.collapsed(forward);
    }
    let groups = cache_groups(engine, &at.groups);
    reply.finish(engine, request.route.name(), groups)
}

/// Forwards a request to the handler, because the request is not allowed to use the cache. A read with
/// `only-if-cached` gets a 504 instead.
fn bypass(
    engine: Engine,
    request: ReadRequest,
    selected: Selected,
    reason: NotStorable,
) -> Result<Response, Read> {
    let route = request.route;
    route.refuse(reason, Writes::Fill, &engine);
    if request.head.is_read() && request.head.only_if_cached() {
        let Reply { response, status } = Reply::not_cached(Outcome::Bypass);
        let response = pass_on(route, response);
        return Ok(Reply { response, status }.finish(&engine, route.name(), None));
    }
    let groups = cache_groups(&engine, &selected.into_groups(route));
    let status = CacheStatus::ruled_out(reason);
    Err(Read::bypass(engine, request, groups, status, Vec::new()))
}

/// Forwards an unsafe request to the handler. If the handler succeeds, the entries of the same path
/// are evicted, whatever their query (RFC 9111 §4.4).
async fn invalidate(
    engine: Engine,
    mut request: ReadRequest,
    selected: Selected,
) -> Result<Response, Read> {
    let mut addressing = request.route.address(&engine, &mut request.head, selected);
    addressing.complete(&request.head).await;
    let key = addressing.into_address().key.into_base();
    let evictions = vec![Eviction::Key(key)];
    let status = CacheStatus::ruled_out(NotStorable::Method);
    Err(Read::bypass(engine, request, None, status, evictions))
}

/// Stores the explanation of a request in its slot, and returns a 204.
fn explain_instead(
    engine: Engine,
    mut request: ReadRequest,
    selected: Selected,
    usable: Result<(), NotStorable>,
) -> Lookup {
    let mut addressing = request.route.address(&engine, &mut request.head, selected);
    Lookup::Waiting(Box::pin(async move {
        let at = addressing.complete(&request.head).await;
        let explanation = explain(&engine, at, &request, usable).await;
        if let Some(explanation_slot) = request.head.explanation_slot() {
            explanation_slot.set(explanation);
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    }))
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}
