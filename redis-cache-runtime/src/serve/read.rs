//! `#[cached]`: answer from the store, or run the handler and fill it.

use std::fmt;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::fill::Fill;
use super::flight::Lead;
use super::respond::respond;
use super::reuse::reuse_on_error;
use super::run::{Panic, Step, Surviving, caught};
use super::search::Search;
use super::{BoxFuture, Outcome, bypass};
use crate::cache::Cache;
use crate::http::storable::NotStorable;
use crate::key::Address;
use crate::request::{CacheRequest, RequestHead};
use crate::route::{Route, Selected};

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
    if let Err(reason) = usable {
        route.name_reason(reason);
        if request.is_read && request.only_if_cached() {
            return Ok(bypass(route, StatusCode::GATEWAY_TIMEOUT.into_response()));
        }
        return Err(Read {
            cache,
            route,
            request,
            at: None,
            plan: Plan::Bypass,
        });
    }
    let at = route.address(&mut request, selected).await;
    let search = Search {
        cache,
        route,
        request,
        at,
    };
    let found = search.run().await;
    found.map_err(|plan| Read::new(search, plan))
}

/// What becomes of what the handler makes.
pub(super) enum Plan {
    /// The request rules out the cache.
    Bypass,
    /// It is not stored.
    Unstored(Outcome),
    /// It is stored, and others may wait for it.
    Fill(Fill, Option<Lead>),
    /// It is stored, and meanwhile the client gets the stale response.
    Refresh(Fill, Lead, Box<Response>),
}

/// A run of the handler of a read.
pub struct Read {
    cache: Cache,
    route: &'static Route,
    request: RequestHead,
    /// If the stored response may be of use when the handler fails.
    at: Option<Address>,
    plan: Plan,
}

impl Step for Read {
    fn run(mut self, handler: BoxFuture<Response>) -> BoxFuture<Response> {
        let cache = self.cache.clone();
        match self.plan {
            Plan::Bypass | Plan::Unstored(_) => Box::pin(self.complete(handler)),
            Plan::Fill(..) => Box::pin(Surviving::new(cache, Vec::new(), self.complete(handler))),
            Plan::Refresh(fill, lead, stale) => {
                self.plan = Plan::Fill(fill, Some(lead));
                let refresh = async move { drop(self.complete(handler).await) };
                let limit = cache.lease_ttl();
                let span = tracing::Span::current();
                cache.background().adopt(refresh, limit, span);
                Box::pin(std::future::ready(*stale))
            }
        }
    }

    fn finish(mut self, response: Response) -> BoxFuture<Response> {
        if let Plan::Refresh(fill, lead, _) = self.plan {
            self.plan = Plan::Fill(fill, Some(lead));
        }
        Box::pin(self.settle(Ok(response)))
    }
}

impl Read {
    fn new(search: Search, plan: Plan) -> Self {
        let Search {
            cache,
            route,
            request,
            at,
        } = search;
        let may_help = !route.windows().if_error.is_zero();
        Self {
            cache,
            route,
            request,
            at: may_help.then_some(at),
            plan,
        }
    }

    /// Runs the handler.
    async fn complete(mut self, handler: BoxFuture<Response>) -> Response {
        let catches = self.at.is_some();
        let handler = async move {
            if catches {
                caught(handler).await
            } else {
                Ok(handler.await)
            }
        };
        let made = match &mut self.plan {
            Plan::Fill(fill, Some(lead)) => lead.run(fill, handler).await,
            _ => handler.await,
        };
        self.settle(made).await
    }

    /// Answers with what the handler made, and stores it if it may be.
    async fn settle(self, made: Result<Response, Panic>) -> Response {
        let failed = made
            .as_ref()
            .map_or(true, |response| response.status().is_server_error());
        if let Some(at) = self.at.as_ref().filter(|_| failed)
            && let Some(stale) = reuse_on_error(&self.cache, self.route, &self.request, at).await
        {
            return stale;
        }
        let response = made.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        respond(&self.cache, self.route, &self.request, response, self.plan).await
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}
