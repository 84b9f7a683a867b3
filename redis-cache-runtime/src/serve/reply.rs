//! Replies to clients. This file writes the fields that describe a reply. Only `ETag` and `Vary`, which are
//! stored with a response, are written by `handler_response` and `write`.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::request::RequestFields;
use super::route::Route;
use super::stored::StoredResponse;
use crate::engine::Engine;
use crate::engine::client::Evicted;
use crate::http::cache_control::Told;
use crate::http::cache_status::{CacheStatus, Outcome};
use crate::http::conditional::is_not_modified;
use crate::http::fields::{
    CACHE_GROUP_INVALIDATION, CACHE_GROUPS, CACHE_STATUS, CDN_CACHE_CONTROL, X_REDIS_CACHE,
    add_vary, retain_for_not_modified,
};
use crate::http::freshness::{Freshness, Grant};
use crate::http::structured::list_of_strings;
use crate::http::targeted;
use crate::key::{DeclaredGroups, Eviction, is_hashed, unscoped};
use crate::observe::Measured;

/// A response to a read, and its cache status.
pub(super) struct Reply {
    pub(super) response: Response,
    pub(super) status: CacheStatus,
}

impl Reply {
    /// Renders a stored response.
    pub(super) fn stored(
        stored: StoredResponse,
        route: &Route,
        request: Option<&RequestFields>,
    ) -> Self {
        let StoredResponse {
            head,
            body,
            freshness,
        } = stored;
        let status = CacheStatus::reused(freshness, head.status);
        let told = Told::of(&route.client, &head.grant, freshness);
        let length = u64::try_from(body.len()).ok();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = head.status;
        let is_targeted = head.grant.is_targeted;
        *response.headers_mut() = head.into_fields();
        if is_targeted {
            targeted::count_down(response.headers_mut(), freshness.age());
        }
        // If a 304 grants no new lifetime, nginx keeps its copy for the old lifetime again. So the
        // client then gets the full response.
        let grants_time = freshness.remaining().is_none_or(|left| left.as_secs() > 0);
        let request = request.filter(|_| grants_time);
        complete(&mut response, length, request, told);
        Self { response, status }
    }

    /// Renders the reply to `only-if-cached` when there is no stored response (RFC 9111 §5.2.1.7).
    pub(super) fn not_cached(outcome: Outcome) -> Self {
        Self {
            response: StatusCode::GATEWAY_TIMEOUT.into_response(),
            status: CacheStatus::unanswered(outcome),
        }
    }

    /// Counts the request under the name of its handler, and writes the fields that describe how
    /// the cache handled it.
    pub(super) fn finish(
        mut self,
        engine: &Engine,
        handler: &'static str,
        groups: Option<HeaderValue>,
    ) -> Response {
        let status = self.status;
        let result = status.outcome.name(status.collapsed);
        let observer = engine.observer();
        observer.record(Measured::Request { handler, result });
        let fields = self.response.headers_mut();
        fields.insert(X_REDIS_CACHE, status.outcome.value());
        if let Some(groups) = groups {
            fields.append(CACHE_GROUPS, groups);
        }
        add_cache_status(&mut self.response, status, engine);
        self.response
    }
}

/// The effect of a write on the cache, as `X-Redis-Cache` names it. If a handler has several
/// attributes, the response has the outcome that comes last in this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WriteOutcome {
    /// The write changed nothing.
    Bypass,
    /// The write stored its response for the next read.
    Stored,
    /// The write evicted.
    Evicted,
    /// The write evicted, but the eviction has not reached the store yet.
    Pending,
}

impl WriteOutcome {
    /// Returns the outcome of evictions; `None`: there was nothing to evict.
    pub(super) fn of(evicted: Option<Evicted>) -> Self {
        match evicted {
            None => Self::Bypass,
            Some(Evicted::Everywhere) => Self::Evicted,
            Some(Evicted::Pending) => Self::Pending,
        }
    }

    fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Bypass => "BYPASS",
            Self::Stored => "STORED",
            Self::Evicted => "EVICTED",
            Self::Pending => "PENDING",
        })
    }

    /// Writes the outcome into a response, in place of an earlier one.
    pub(super) fn overwrite(self, response: &mut Response) {
        let fields = response.headers_mut();
        fields.insert(X_REDIS_CACHE, self.value());
    }

    /// Writes the outcome into a response of `#[cache_evict]` or `#[cache_put]`.
    pub(super) fn finish(self, mut response: Response, engine: &Engine) -> Response {
        let extensions = response.extensions_mut();
        let earlier = extensions.get::<Self>().copied();
        let outcome = earlier.map_or(self, |earlier| earlier.max(self));
        extensions.insert(outcome);
        outcome.overwrite(&mut response);
        // All attributes of one handler count as one cache, which has one member in `Cache-Status`.
        if earlier.is_none() {
            add_cache_status(&mut response, CacheStatus::BYPASS, engine);
        }
        response
    }
}

/// Completes a response that clients may store, and turns it into a 304 if the client has a current
/// copy.
///
/// The body of a 304 is empty and has a known length, so that no layer compresses it. The
/// `Content-Length` of a 304 is the length of the body that a 200 would have, if that length is
/// known and the field may be sent (RFC 9110 §8.6).
pub(super) fn complete(
    response: &mut Response,
    length: Option<u64>,
    request: Option<&RequestFields>,
    told: Told,
) {
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, told.cache_control);
    if let Some(cdn_cache_control) = told.cdn_cache_control {
        // The handler's own field counts.
        fields.entry(CDN_CACHE_CONTROL).or_insert(cdn_cache_control);
    }
    let (status, fields) = (response.status(), response.headers());
    let Some(request) = request.filter(|it| is_not_modified(&it.map, status, fields)) else {
        return;
    };
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let fields = std::mem::take(response.headers_mut());
    *response.headers_mut() = retain_for_not_modified(fields);
    *response.body_mut() = Body::empty();
    if let Some(length) = length.filter(|_| request.receives_length) {
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_LENGTH, length.into());
    }
}

/// Returns the lifetime fields of a response that was made just now.
pub(super) fn told_of_fresh(route: &Route, grant: &Grant) -> Told {
    Told::of(&route.client, grant, Freshness::new(grant.lifetime))
}

/// Completes a response that is not stored. The restrictions of the route for clients apply to this
/// response, too, unless the handler sets a `Cache-Control` itself.
pub(super) fn pass_on(route: &Route, mut response: Response) -> Response {
    let fields = response.headers_mut();
    add_vary(fields, route.store.vary);
    if !fields.contains_key(header::CACHE_CONTROL)
        && let Some(directive) = route.client.restriction()
    {
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(directive));
    }
    response
}

/// Appends the member of this cache to `Cache-Status`, after the members of caches behind the
/// handler.
fn add_cache_status(response: &mut Response, status: CacheStatus, engine: &Engine) {
    if !engine.sends_cache_status() {
        return;
    }
    if let Some(member) = status.member(response.status()) {
        response.headers_mut().append(CACHE_STATUS, member);
    }
}

/// Returns the `Cache-Groups` of a response (RFC 9875 §2), if they are sent.
pub(super) fn cache_groups(engine: &Engine, groups: &DeclaredGroups) -> Option<HeaderValue> {
    if engine.sends_cache_groups() {
        list_of_groups(groups.iter())
    } else {
        None
    }
}

/// Appends the `Cache-Group-Invalidation` of evictions (RFC 9875 §3), if it is sent.
pub(super) fn add_invalidated_groups(
    fields: &mut HeaderMap,
    engine: &Engine,
    evictions: &[Eviction],
) {
    if !engine.sends_cache_groups() {
        return;
    }
    let groups = evictions.iter().filter_map(|eviction| match eviction {
        Eviction::Group(group) => Some(group.as_ref()),
        Eviction::Key(_) | Eviction::Handler(_) | Eviction::All => None,
    });
    if let Some(groups) = list_of_groups(groups) {
        fields.append(CACHE_GROUP_INVALIDATION, groups);
    }
}

/// Lists groups by their names, without scopes. Long names, which are hashed, are left out.
fn list_of_groups<'a>(groups: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let names = groups.filter_map(unscoped);
    list_of_strings(names.filter(|group| !is_hashed(group)))
}
