//! Answers a request with a stored response.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;

use super::complete;
use super::outcome::{Answer, CacheStatus};
use super::search::Sought;
use crate::cache::Cache;
use crate::clock;
use crate::entry::Entry;
use crate::http::cache_control::cache_control;
use crate::http::directives::RequestDirectives;
use crate::http::freshness::{Freshness, Grant, Reuse};
use crate::http::storable::NotStorable;
use crate::http::targeted;
use crate::key::Address;
use crate::observe::Writes;
use crate::request::RequestHead;
use crate::route::Route;
use crate::witnessed::Moment;

/// A stored response that a request may be answered with.
pub(super) struct Reusable {
    pub(super) route: &'static Route,
    pub(super) request: RequestHead,
}

impl Sought for Reusable {
    type Answer = Answer;

    fn reuse(&self, entry: &Entry) -> Option<(Reuse, Answer)> {
        answer(entry, &self.request, self.route, |freshness, grant| {
            freshness.reuse(self.directives(), grant, self.route.windows())
        })
    }

    fn kept_for(&self, cache: &Cache) -> Option<Duration> {
        cache.kept_for(self.route)
    }

    fn handler(&self) -> &'static str {
        self.route.name()
    }

    fn read_since(&self) -> Option<Moment> {
        self.request.since.filter(|_| self.route.reads_early)
    }

    fn read_too_early(&self, cache: &Cache) {
        self.route
            .refuse(NotStorable::ReadTooEarly, Writes::Fill, cache);
    }

    fn freshness(answer: &Answer) -> Option<Freshness> {
        answer.status.freshness
    }

    fn is_of_use_to_others(&self, entry: &Entry) -> bool {
        is_of_use(entry, self.route)
    }

    fn directives(&self) -> Option<&RequestDirectives> {
        self.request.directives()
    }

    async fn on_failure(&self, cache: &Cache, at: &Address) -> Option<Answer> {
        if self.route.windows().if_error.is_zero() {
            return None;
        }
        reuse_on_error(cache, self.route, &self.request, at).await
    }
}

pub(super) fn freshness(entry: &Entry) -> Freshness {
    Freshness::at(clock::now(), entry.generated(), entry.lifetime())
}

/// Whether the stored response answers requests that say nothing about it.
fn is_of_use(entry: &Entry, route: &Route) -> bool {
    let grants = || entry.decode().map(|(stored, _)| stored.grant);
    let freshness = freshness(entry);
    freshness.is_fresh()
        || grants().is_some_and(|grant| freshness.reuse(None, &grant, route.windows()) != Reuse::No)
}

/// The stored response, if it may be reused because the handler failed. It is looked up when that
/// is known, so that nothing is served that was evicted meanwhile.
pub(super) async fn reuse_on_error(
    cache: &Cache,
    route: &Route,
    request: &RequestHead,
    at: &Address,
) -> Option<Answer> {
    let entry = cache.look(at, false).await.ok()?.into_entry()?;
    let reused = answer(&entry, request, route, |freshness, grant| {
        if freshness.is_fresh() {
            Reuse::Fresh
        } else if freshness.is_of_use_on_error(grant, route.windows()) {
            Reuse::Stale
        } else {
            Reuse::No
        }
    });
    reused.map(|(_, answer)| answer)
}

fn answer(
    entry: &Entry,
    request: &RequestHead,
    route: &Route,
    judge: impl FnOnce(Freshness, &Grant) -> Reuse,
) -> Option<(Reuse, Answer)> {
    let freshness = freshness(entry);
    let (stored, body) = entry.decode()?;
    let reuse = judge(freshness, &stored.grant);
    if reuse == Reuse::No {
        return None;
    }
    let status = CacheStatus::reused(freshness, stored.status);
    let cache_control = cache_control(&route.client, &stored.grant, freshness);
    let length = u64::try_from(body.len()).ok();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.fields;
    if stored.grant.is_targeted {
        targeted::count_down(response.headers_mut(), freshness.age());
    }
    // nginx keeps its copy as long as once more if a 304 grants no time of its own.
    let grants_time = freshness.remaining().is_none_or(|left| left.as_secs() > 0);
    let request = request.fields.as_deref().filter(|_| grants_time);
    complete(&mut response, length, request, cache_control);
    Some((reuse, Answer { response, status }))
}
