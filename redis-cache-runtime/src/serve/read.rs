//! `#[cached]`: answer from the store, or run the handler and fill it.

use std::fmt;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::respond::{examine, respond};
use super::reuse::{Reusable, reuse_on_error};
use super::run::{Step, Surviving, caught};
use super::search::{Plan, Search};
use super::{BoxFuture, bypass};
use crate::cache::Cache;
use crate::http::storable::NotStorable;
use crate::key::Address;
use crate::observe::Place;
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
        at,
        sought: Reusable { route, request },
    };
    match search.run().await {
        Err(Plan::Unstored(outcome)) if search.sought.request.only_if_cached() => {
            Ok(outcome.label(StatusCode::GATEWAY_TIMEOUT.into_response()))
        }
        found => found.map_err(|plan| Read::new(search, plan)),
    }
}

/// A run of the handler of a read.
pub struct Read {
    cache: Cache,
    route: &'static Route,
    request: RequestHead,
    /// If the stored response may be of use when the handler fails.
    at: Option<Box<Address>>,
    plan: Plan<Response>,
}

impl Step for Read {
    fn cache(&self) -> &Cache {
        &self.cache
    }

    fn run(mut self, handler: BoxFuture<Response>) -> BoxFuture<Response> {
        let cache = self.cache.clone();
        match self.plan {
            Plan::Bypass | Plan::Unstored(_) => Box::pin(self.complete(handler)),
            Plan::Fill(..) => Box::pin(Surviving::new(cache, Vec::new(), self.complete(handler))),
            Plan::Refresh(fill, lead, stale) => {
                self.plan = Plan::Fill(fill, Some(lead));
                let refresh = async move { drop(self.complete(handler).await) };
                let limit = cache.lease_ttl();
                cache.background().adopt(refresh, limit, Place::current());
                Box::pin(std::future::ready(*stale))
            }
        }
    }

    async fn run_in_place(mut self, handler: impl Future<Output = Response>) -> Response {
        let mut stale = None;
        if let Plan::Refresh(fill, lead, response) = self.plan {
            self.plan = Plan::Fill(fill, Some(lead));
            stale = Some(*response);
        }
        let response = self.complete(handler).await;
        match stale {
            Some(stale) if response.status().is_server_error() => stale,
            _ => response,
        }
    }
}

impl Read {
    fn new(search: Search<Reusable>, plan: Plan<Response>) -> Self {
        let Search { cache, at, sought } = search;
        let Reusable { route, request } = sought;
        let may_help = !route.windows().if_error.is_zero();
        Self {
            cache,
            route,
            request,
            at: may_help.then(|| Box::new(at)),
            plan,
        }
    }

    /// Runs the handler, and answers with what it makes.
    async fn complete(mut self, handler: impl Future<Output = Response>) -> Response {
        if matches!(self.plan, Plan::Bypass) {
            return bypass(self.route, handler.await);
        }
        let (cache, route, may_help) = (self.cache.clone(), self.route, self.at.is_some());
        let run = async {
            let made = if may_help {
                caught(handler).await
            } else {
                Ok(handler.await)
            };
            match made {
                Ok(response) if !(may_help && response.status().is_server_error()) => {
                    Ok(examine(&cache, route, response).await)
                }
                failure => Err(failure),
            }
        };
        let made = match &mut self.plan {
            Plan::Fill(fill, Some(lead)) => lead.run(fill, run).await,
            _ => run.await,
        };
        let examined = match made {
            Ok(examined) => examined,
            Err(failure) => {
                if let Some(at) = &self.at
                    && let Some(stale) = reuse_on_error(&cache, route, &self.request, at).await
                {
                    if let Plan::Fill(_, Some(lead)) = self.plan {
                        lead.fail();
                    }
                    return stale;
                }
                let response = failure.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                examine(&cache, route, response).await
            }
        };
        respond(&self.cache, route, &self.request, examined, self.plan).await
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}
