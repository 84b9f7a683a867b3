//! `#[cached]`: answer from the store, or run the handler and fill it.

use std::fmt;
use std::future::ready;

use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::evict::succeeded;
use super::explain::explain;
use super::outcome::{Answer, CacheStatus, Forward, Outcome};
use super::pending::PendingEviction;
use super::respond::{examine, respond};
use super::reuse::{Reusable, reuse_on_error};
use super::run::{Lookup, Step, Surviving, caught};
use super::search::{Plan, Search};
use super::{BoxFuture, pass_on};
use crate::cache::Cache;
use crate::http::storable::NotStorable;
use crate::key::{Address, Eviction};
use crate::observe::Writes;
use crate::request::{CacheRequest, MethodKind, RequestHead};
use crate::route::{Route, Selected};

/// Looks for a response to reuse; where there is none, the handler has to run.
///
/// Neither is this generic nor does its future name what is in it: both would be compiled anew for
/// each handler.
pub fn read_through(request: CacheRequest, route: &'static Route, selected: Selected) -> Lookup {
    let CacheRequest {
        head: request,
        cache,
    } = request;
    let usable = if !request.is_read() {
        Err(NotStorable::Method)
    } else if selected.is_duplicate(route) {
        Err(NotStorable::DuplicateName)
    } else {
        route.check_request(&request)
    };
    let sought = Reusable { route, request };
    if sought.request.wanted().is_some() {
        return explain_instead(cache, sought, selected, usable);
    }
    match usable {
        Ok(()) => find(cache, sought, selected),
        Err(_) if sought.request.method == MethodKind::Unsafe => {
            Box::pin(invalidate(cache, sought, selected))
        }
        Err(reason) => Box::pin(ready(past_the_cache(cache, sought, selected, reason))),
    }
}

/// Leaves an unsafe request to the handler. If it succeeds, what is stored for the same URL is
/// evicted (RFC 9111 §4.4).
async fn invalidate(
    cache: Cache,
    mut sought: Reusable,
    selected: Selected,
) -> Result<Response, Read> {
    let mut addressing = sought.route.address(&cache, &mut sought.request, selected);
    addressing.complete(&sought.request).await;
    let key = addressing.into_address().key.into_base();
    let evictions = vec![Eviction::Key(key)];
    let (route, request) = (sought.route, sought.request);
    Err(Read(Box::new(Forwarded {
        groups: None,
        cache,
        route,
        request,
        at: None,
        status: CacheStatus::ruled_out(NotStorable::Method),
        plan: Plan::Bypass,
        evictions,
    })))
}

/// Looks for a response to reuse in the cache.
///
/// No `async fn`: the arguments that it used after having waited would be in its future twice.
fn find(
    cache: Cache,
    mut sought: Reusable,
    selected: Selected,
) -> BoxFuture<Result<Response, Read>> {
    let route = sought.route;
    let mut addressing = route.address(&cache, &mut sought.request, selected);
    Box::pin(async move {
        let at = addressing.complete(&sought.request).await;
        let mut search = Search::new(&cache, at, &sought);
        let found = search.run().await;
        let (forward, collapsed) = (search.forward, search.collapsed);
        match found {
            Ok(mut answer) => {
                if collapsed {
                    answer.status = answer.status.collapsed(forward);
                }
                let groups = cache.told_groups(&at.groups);
                Ok(answer.tell(&cache, route.name(), groups))
            }
            Err(Plan::Unstored) if sought.request.only_if_cached() => {
                let response = StatusCode::GATEWAY_TIMEOUT.into_response();
                let status = CacheStatus::unanswered(forward.outcome());
                Ok(Answer { response, status }.tell(&cache, route.name(), None))
            }
            Err(plan) => {
                let at = addressing.into_address();
                Err(Read::forward(cache, at, sought, forward, plan))
            }
        }
    })
}

/// Leaves a request that rules out the cache to the handler.
fn past_the_cache(
    cache: Cache,
    sought: Reusable,
    selected: Selected,
    reason: NotStorable,
) -> Result<Response, Read> {
    let Reusable { route, request } = sought;
    route.refuse(reason, Writes::Fill, &cache);
    if request.is_read() && request.only_if_cached() {
        let response = pass_on(route, StatusCode::GATEWAY_TIMEOUT.into_response());
        let status = CacheStatus::unanswered(Outcome::Bypass);
        return Ok(Answer { response, status }.tell(&cache, route.name(), None));
    }
    Err(Read(Box::new(Forwarded {
        groups: cache.told_groups(&selected.into_groups(route)),
        cache,
        route,
        request,
        at: None,
        status: CacheStatus::ruled_out(reason),
        plan: Plan::Bypass,
        evictions: Vec::new(),
    })))
}

/// Gives who wants it an explanation, and an answer that says nothing.
fn explain_instead(
    cache: Cache,
    mut sought: Reusable,
    selected: Selected,
    usable: Result<(), NotStorable>,
) -> BoxFuture<Result<Response, Read>> {
    let mut addressing = sought.route.address(&cache, &mut sought.request, selected);
    Box::pin(async move {
        let at = addressing.complete(&sought.request).await;
        let explanation = explain(&cache, at, &sought, usable).await;
        if let Some(wanted) = sought.request.wanted() {
            wanted.give(explanation);
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

/// A run of the handler of a read. Boxed, so that a hit does not carry it along.
pub struct Read(Box<Forwarded>);

impl Read {
    /// The name of the handler.
    pub(super) fn handler(&self) -> &'static str {
        self.0.route.name()
    }

    /// What comes of a search that found nothing to reuse.
    fn forward(
        cache: Cache,
        at: Address,
        sought: Reusable,
        forward: Forward,
        plan: Plan<Answer>,
    ) -> Self {
        let Reusable { route, request } = sought;
        let may_help = !route.windows().if_error.is_zero();
        Self(Box::new(Forwarded {
            groups: cache.told_groups(&at.groups),
            cache,
            route,
            request,
            at: may_help.then_some(at),
            status: CacheStatus::forwarded(forward),
            plan,
            evictions: Vec::new(),
        }))
    }
}

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
    /// Evicted if the handler succeeds.
    evictions: Vec<Eviction>,
}

impl Step for Read {
    fn cache(&self) -> &Cache {
        &self.0.cache
    }

    fn run(self, handler: BoxFuture<Response>) -> BoxFuture<Response> {
        let mut this = *self.0;
        let (cache, route) = (this.cache.clone(), this.route);
        match this.plan {
            Plan::Bypass if !this.evictions.is_empty() => {
                Box::pin(Surviving::new(cache, this.answer(handler)))
            }
            Plan::Bypass | Plan::Unstored | Plan::InTurn(_) => Box::pin(this.answer(handler)),
            Plan::Fill(..) => Box::pin(Surviving::new(cache, this.answer(handler))),
            Plan::Refresh(fill, lead, stale) => {
                this.plan = Plan::Fill(fill, Some(lead));
                let groups = this.groups.take();
                let refresh = async move { drop(this.complete(handler).await) };
                let limit = cache.lease_ttl();
                cache.background().refresh(refresh, limit);
                let stale = stale.tell(&cache, route.name(), groups);
                Box::pin(ready(stale))
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
        answer.tell(&cache, route.name(), groups)
    }
}

impl Forwarded {
    async fn answer(mut self, handler: impl Future<Output = Response>) -> Response {
        let (cache, route) = (self.cache.clone(), self.route);
        let groups = self.groups.take();
        let answer = self.complete(handler).await;
        answer.tell(&cache, route.name(), groups)
    }

    /// Runs the handler, and answers with what it makes.
    async fn complete(mut self, handler: impl Future<Output = Response>) -> Answer {
        let status = self.status;
        if matches!(self.plan, Plan::Bypass) {
            let pending =
                PendingEviction::new(self.cache.clone(), std::mem::take(&mut self.evictions));
            let response = pass_on(self.route, handler.await);
            let wrote = if succeeded(response.status()) {
                pending.run().await
            } else {
                pending.cancel();
                None
            };
            let made = Some(response.status());
            let status = CacheStatus {
                made,
                wrote,
                ..status
            };
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
            Plan::InTurn(turn) => turn.run(run).await,
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
