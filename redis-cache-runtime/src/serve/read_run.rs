//! The run of the handler for a read, and what happens to its response.

use std::fmt;
use std::future::ready;

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use super::handler_response::{examine, respond};
use super::reply::{Reply, WriteOutcome, cache_groups, pass_on};
use super::step::{Detachable, Step, catch_panic};
use super::stored::{ReadRequest, StoredResponse};
use crate::engine::Engine;
use crate::engine::due_eviction::DueEviction;
use crate::engine::plan::{Destination, Plan};
use crate::http::cache_status::{CacheStatus, Forward};
use crate::http::storable::is_non_error;
use crate::key::{Address, Eviction};

/// The run of the handler for a read. It is boxed, so that the future of a hit stays small.
pub struct Read(Box<HandlerRun>);

/// A request that is forwarded to the handler.
struct HandlerRun {
    engine: Engine,
    request: ReadRequest,
    /// The `Cache-Groups` of the response.
    groups: Option<HeaderValue>,
    kind: RunKind,
}

enum RunKind {
    /// The request bypasses the cache. The evictions are run if the handler succeeds.
    Bypass(CacheStatus, Vec<Eviction>),
    /// A search found nothing to reuse.
    Planned(Planned, Plan<StoredResponse>),
}

/// The results of a search that found nothing to reuse.
struct Planned {
    forward: Forward,
    /// The address, if a stored response may be reused when the handler fails.
    at: Option<Address>,
}

impl Read {
    /// Returns the name of the handler.
    pub(super) fn handler(&self) -> &'static str {
        self.0.request.route.name()
    }

    pub(super) fn bypass(
        engine: Engine,
        request: ReadRequest,
        groups: Option<HeaderValue>,
        status: CacheStatus,
        evictions: Vec<Eviction>,
    ) -> Self {
        Self(Box::new(HandlerRun {
            engine,
            request,
            groups,
            kind: RunKind::Bypass(status, evictions),
        }))
    }

    pub(super) fn planned(
        engine: Engine,
        request: ReadRequest,
        at: Address,
        forward: Forward,
        plan: Plan<StoredResponse>,
    ) -> Self {
        let groups = cache_groups(&engine, &at.groups);
        let reuses_on_error = !request.route.windows().if_error.is_zero();
        let at = reuses_on_error.then_some(at);
        Self(Box::new(HandlerRun {
            engine,
            request,
            groups,
            kind: RunKind::Planned(Planned { forward, at }, plan),
        }))
    }
}

impl Step for Read {
    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn run(self, handler: BoxFuture<'static, Response>) -> BoxFuture<'static, Response> {
        let HandlerRun {
            engine,
            request,
            groups,
            kind,
        } = *self.0;
        let detached_by = engine.clone();
        match kind {
            RunKind::Bypass(status, evictions) => {
                let is_write = !evictions.is_empty();
                let run = run_bypass(engine, request, groups, status, evictions, handler);
                Box::pin(Detachable::new(detached_by, run).goes_on_if(is_write))
            }
            RunKind::Planned(planned, Plan::Run(destination)) => {
                let is_stored = matches!(destination, Destination::Store(_));
                if request.may_be_slow() {
                    let run =
                        run_until_slow(engine, request, groups, planned, destination, handler);
                    return Box::pin(run);
                }
                let run = run_planned(engine, request, groups, planned, destination, handler);
                Box::pin(Detachable::new(detached_by, run).goes_on_if(is_stored))
            }
            RunKind::Planned(planned, Plan::Refresh(fill, stale)) => {
                let stale = finish_stale(&engine, &request, *stale, groups);
                let limit = engine.lease_ttl();
                let refresh = async move {
                    let destination = Destination::Store(fill);
                    let fresh = run_or_reuse(&engine, &request, planned, destination, handler);
                    drain(fresh.await.response).await;
                };
                detached_by.background().refresh(refresh, limit);
                Box::pin(ready(stale))
            }
        }
    }

    async fn run_in_place(self, handler: impl Future<Output = Response>) -> Response {
        let HandlerRun {
            engine,
            request,
            groups,
            kind,
        } = *self.0;
        match kind {
            RunKind::Bypass(status, evictions) => {
                run_bypass(engine, request, groups, status, evictions, handler).await
            }
            RunKind::Planned(planned, Plan::Run(destination)) => {
                run_planned(engine, request, groups, planned, destination, handler).await
            }
            RunKind::Planned(planned, Plan::Refresh(fill, stale)) => {
                let destination = Destination::Store(fill);
                let fresh = run_or_reuse(&engine, &request, planned, destination, handler).await;
                if fresh.response.status().is_server_error() {
                    return finish_stale(&engine, &request, *stale, groups);
                }
                fresh.finish(&engine, request.route.name(), groups)
            }
        }
    }
}

/// Runs the handler without the cache, and evicts if it succeeds.
async fn run_bypass(
    engine: Engine,
    request: ReadRequest,
    groups: Option<HeaderValue>,
    status: CacheStatus,
    evictions: Vec<Eviction>,
    handler: impl Future<Output = Response>,
) -> Response {
    let pending = DueEviction::new(engine.client().clone(), evictions);
    let response = pass_on(request.route, handler.await);
    let wrote = if is_non_error(response.status()) {
        pending
            .run()
            .await
            .map(|evicted| WriteOutcome::of(Some(evicted)))
    } else {
        pending.cancel();
        None
    };
    let status = CacheStatus {
        made: Some(response.status()),
        ..status
    };
    let reply = Reply { response, status };
    let mut response = reply.finish(&engine, request.route.name(), groups);
    if let Some(outcome) = wrote {
        outcome.overwrite(&mut response);
    }
    response
}

/// Runs the handler, delivers its response to the destination, and returns the finished response.
async fn run_planned(
    engine: Engine,
    request: ReadRequest,
    groups: Option<HeaderValue>,
    planned: Planned,
    destination: Destination,
    handler: impl Future<Output = Response>,
) -> Response {
    let reply = run_or_reuse(&engine, &request, planned, destination, handler).await;
    reply.finish(&engine, request.route.name(), groups)
}

/// Runs the handler. If it takes too long and there is a stale response, serves the stale response. A run
/// whose response is to be stored then goes on in the background.
async fn run_until_slow(
    engine: Engine,
    request: ReadRequest,
    groups: Option<HeaderValue>,
    planned: Planned,
    destination: Destination,
    handler: BoxFuture<'static, Response>,
) -> Response {
    let at = planned.at.clone();
    let is_stored = matches!(destination, Destination::Store(_));
    let is_awaited = !matches!(destination, Destination::Nowhere);
    let (runs_on, runs_for) = (engine.clone(), request.clone());
    let run = async move { run_or_reuse(&runs_on, &runs_for, planned, destination, handler).await };
    let mut run = Detachable::new(engine.clone(), run).goes_on_if(is_stored);
    let reply = match &at {
        Some(at) => request.unless_slow(&engine, at, &mut run).await,
        None => Ok((&mut run).await),
    };
    let background = engine.background();
    let reply = match reply {
        Ok(reply) => reply,
        Err(_) if is_awaited && !background.may_refresh() => run.await,
        Err(stale) => {
            if let Some(rest) = run.into_rest().filter(|_| is_awaited) {
                let rest = async move { drain(rest.await.response).await };
                background.refresh(rest, engine.lease_ttl());
            }
            return finish_stale(&engine, &request, stale, groups);
        }
    };
    reply.finish(&engine, request.route.name(), groups)
}

/// Reads the body of a response that nobody receives, so that its copy is stored.
async fn drain(response: Response) {
    let mut body = response.into_body().into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
}

/// Runs the handler. If the handler fails and the route allows it, reuses a stored response.
async fn run_or_reuse(
    engine: &Engine,
    request: &ReadRequest,
    Planned { forward, at }: Planned,
    destination: Destination,
    handler: impl Future<Output = Response>,
) -> Reply {
    let status = CacheStatus::forwarded(forward);
    let route = request.route;
    let Some(at) = at else {
        let run = async { examine(engine, route, handler.await).await };
        let examined = destination.run(run).await;
        return respond(engine, request, examined, destination, status).await;
    };
    let run = async {
        match catch_panic(handler).await {
            Ok(response) if !response.status().is_server_error() => {
                Ok(examine(engine, route, response).await)
            }
            failure => Err(failure),
        }
    };
    let failure = match destination.run(run).await {
        Ok(examined) => return respond(engine, request, examined, destination, status).await,
        Err(failure) => failure,
    };
    if let Some(stored) = request.reuse_on_error(engine, &at).await {
        if let Destination::Store(fill) = destination {
            fill.fail();
        }
        let mut stale = Reply::stored(stored, route, request.head.fields.as_deref());
        stale.status.forward = Some(forward);
        let made = failure.map(|response| response.status());
        stale.status.made = Some(made.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        return stale;
    }
    let response = failure.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let examined = examine(engine, route, response).await;
    respond(engine, request, examined, destination, status).await
}

fn finish_stale(
    engine: &Engine,
    request: &ReadRequest,
    stale: StoredResponse,
    groups: Option<HeaderValue>,
) -> Response {
    let reply = Reply::stored(stale, request.route, request.head.fields.as_deref());
    reply.finish(engine, request.route.name(), groups)
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}
