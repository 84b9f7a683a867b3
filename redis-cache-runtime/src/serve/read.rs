//! `#[cached]`: answer from the store, or run the handler and fill it.

use std::fmt;

use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::explain::explain;
use super::outcome::{Answer, CacheStatus, Outcome};
use super::respond::{examine, respond};
use super::reuse::{Reusable, reuse_on_error};
use super::run::{Step, Surviving, caught};
use super::search::{Plan, Search};
use super::{BoxFuture, pass_on};
use crate::cache::Cache;
use crate::http::storable::NotStorable;
use crate::key::Address;
use crate::observe::{Place, Writes};
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
    if request.wanted().is_some() {
        return Ok(explain_instead(cache, route, request, selected, usable).await);
    }
    if let Err(reason) = usable {
        route.refuse(reason, Writes::Fill, &cache);
        if request.is_read && request.only_if_cached() {
            let response = pass_on(route, StatusCode::GATEWAY_TIMEOUT.into_response());
            let status = CacheStatus::unanswered(Outcome::Bypass);
            return Ok(Answer { response, status }.tell(&cache, Some(route.name()), None));
        }
        let forwarded = Forwarded {
            groups: cache.told_groups(&selected.into_groups(route)),
            cache,
            route,
            request,
            at: None,
            status: CacheStatus::ruled_out(reason),
            plan: Plan::Bypass,
        };
        return Err(Read(Box::new(forwarded)));
    }
    let at = route.address(&mut request, selected).await;
    let mut search = Search::new(cache, at, Reusable { route, request });
    match search.run().await {
        Ok(mut answer) => {
            if search.collapsed {
                answer.status = answer.status.collapsed(search.forward);
            }
            let groups = search.cache.told_groups(&search.at.groups);
            Ok(answer.tell(&search.cache, Some(route.name()), groups))
        }
        Err(Plan::Unstored) if search.sought.request.only_if_cached() => {
            let response = StatusCode::GATEWAY_TIMEOUT.into_response();
            let status = CacheStatus::unanswered(search.forward.outcome());
            let answer = Answer { response, status };
            Ok(answer.tell(&search.cache, Some(route.name()), None))
        }
        Err(plan) => Err(Read(Box::new(Forwarded::new(search, plan)))),
    }
}

/// Gives who wants it an explanation, and an answer that says nothing.
fn explain_instead(
    cache: Cache,
    route: &'static Route,
    mut request: RequestHead,
    selected: Selected,
    usable: Result<(), NotStorable>,
) -> BoxFuture<Response> {
    Box::pin(async move {
        let wanted = request.wanted().cloned();
        let at = route.address(&mut request, selected).await;
        let explanation = explain(cache, at, Reusable { route, request }, usable).await;
        if let Some(wanted) = wanted {
            wanted.give(explanation);
        }
        StatusCode::NO_CONTENT.into_response()
    })
}

/// A run of the handler of a read. Boxed, so that a hit does not carry it along.
pub struct Read(Box<Forwarded>);

/// A request that the handler is to answer.
struct Forwarded {
    cache: Cache,
    route: &'static Route,
    request: RequestHead,
    /// If the stored response may be of use when the handler fails.
    at: Option<Address>,
    /// What caches are told of the groups of the response.
    groups: Option<HeaderValue>,
    /// As far as it is known before the handler runs.
    status: CacheStatus,
    plan: Plan<Answer>,
}

impl Step for Read {
    fn cache(&self) -> &Cache {
        &self.0.cache
    }

    fn run(self, handler: BoxFuture<Response>) -> BoxFuture<Response> {
        let mut this = *self.0;
        let (cache, route) = (this.cache.clone(), this.route);
        match this.plan {
            Plan::Bypass | Plan::Unstored => Box::pin(this.answer(handler)),
            Plan::Fill(..) => Box::pin(Surviving::new(cache, Vec::new(), this.answer(handler))),
            Plan::Refresh(fill, lead, stale) => {
                this.plan = Plan::Fill(fill, Some(lead));
                let groups = this.groups.take();
                let refresh = async move { drop(this.complete(handler).await) };
                let limit = cache.lease_ttl();
                cache.background().adopt(refresh, limit, Place::current());
                let stale = stale.tell(&cache, Some(route.name()), groups);
                Box::pin(std::future::ready(stale))
            }
        }
    }

    async fn run_in_place(self, handler: impl Future<Output = Response>) -> Response {
        let mut this = *self.0;
        let (cache, route) = (this.cache.clone(), this.route);
        let groups = this.groups.take();
        let mut stale = None;
        if let Plan::Refresh(fill, lead, answer) = this.plan {
            this.plan = Plan::Fill(fill, Some(lead));
            stale = Some(*answer);
        }
        let answer = this.complete(handler).await;
        let answer = match stale {
            Some(stale) if answer.response.status().is_server_error() => stale,
            _ => answer,
        };
        answer.tell(&cache, Some(route.name()), groups)
    }
}

impl Forwarded {
    fn new(search: Search<Reusable>, plan: Plan<Answer>) -> Self {
        let may_help = !search.sought.route.windows().if_error.is_zero();
        Self {
            groups: search.cache.told_groups(&search.at.groups),
            cache: search.cache,
            route: search.sought.route,
            request: search.sought.request,
            at: may_help.then_some(search.at),
            status: CacheStatus::forwarded(search.forward),
            plan,
        }
    }

    async fn answer(mut self, handler: impl Future<Output = Response>) -> Response {
        let (cache, route) = (self.cache.clone(), self.route);
        let groups = self.groups.take();
        let answer = self.complete(handler).await;
        answer.tell(&cache, Some(route.name()), groups)
    }

    /// Runs the handler, and answers with what it makes.
    async fn complete(mut self, handler: impl Future<Output = Response>) -> Answer {
        let status = self.status;
        if matches!(self.plan, Plan::Bypass) {
            let response = pass_on(self.route, handler.await);
            let made = Some(response.status());
            let status = CacheStatus { made, ..status };
            return Answer { response, status };
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
                    && let Some(mut stale) = reuse_on_error(&cache, route, &self.request, at).await
                {
                    if let Plan::Fill(_, Some(lead)) = self.plan {
                        lead.fail();
                    }
                    stale.status.forward = status.forward;
                    let made = failure.map(|response| response.status());
                    stale.status.made = Some(made.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
                    return stale;
                }
                let response = failure.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                examine(&cache, route, response).await
            }
        };
        respond(&cache, route, &self.request, examined, self.plan, status).await
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}
