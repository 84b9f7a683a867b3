//! `#[cache_evict]`: run the handler, then evict before its response starts.

use std::fmt;

use axum::http::StatusCode;
use axum::response::Response;

use super::BoxFuture;
use super::outcome::{Answer, CacheStatus};
use super::pending::PendingEviction;
use super::run::{Step, Surviving};
use crate::cache::Cache;
use crate::http::fields::CACHE_GROUP_INVALIDATION;
use crate::key::{CacheKey, Eviction};
use crate::key_part::Text;
use crate::request::{CacheRequest, RequestHead};
use crate::route::{Route, default_key};
use crate::uri::QueryRule;

/// What `#[cache_evict]` declared, for one request.
#[derive(Debug, Default)]
pub struct Evictions {
    targets: Vec<Target>,
    always: bool,
}

#[derive(Debug)]
enum Target {
    /// The key that a handler has for this request.
    Route(&'static Route),
    RequestKey,
    Fixed(Eviction),
}

impl Evictions {
    /// No targets yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Evicts the key that a handler has for this request.
    #[must_use]
    pub fn route(mut self, route: &'static Route) -> Self {
        self.targets.push(Target::Route(route));
        self
    }

    /// Evicts the default keys of the request, with and without its query.
    #[must_use]
    pub fn request_key(mut self) -> Self {
        self.targets.push(Target::RequestKey);
        self
    }

    /// Evicts a key.
    #[must_use]
    pub fn key(self, key: CacheKey) -> Self {
        self.fixed(Eviction::Key(key))
    }

    /// Evicts the default key of a path and query.
    #[must_use]
    pub fn target(self, target: &str) -> Self {
        self.key(default_key(target, QueryRule::All))
    }

    /// Evicts every entry of a group.
    #[must_use]
    pub fn group(self, group: Text) -> Self {
        self.fixed(Eviction::Group(group.into_group()))
    }

    /// Evicts everything.
    #[must_use]
    pub fn all(self) -> Self {
        self.fixed(Eviction::All)
    }

    /// Evicts whatever the handler answers.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    pub(crate) fn fixed(mut self, eviction: Eviction) -> Self {
        self.targets.push(Target::Fixed(eviction));
        self
    }

    async fn of(self, request: &RequestHead) -> Vec<Eviction> {
        let mut evictions = Vec::with_capacity(self.targets.len());
        for target in self.targets {
            match target {
                Target::Fixed(eviction) => evictions.push(eviction),
                Target::Route(route) => {
                    evictions.push(Eviction::Key(route.key(request).await));
                }
                Target::RequestKey => {
                    let key = |rule| Eviction::Key(request.target.clone().into_key(rule));
                    let rules = [QueryRule::None, QueryRule::All, QueryRule::Exact];
                    evictions.extend(rules.map(key));
                }
            }
        }
        evictions
    }
}

/// Decides what to evict before the handler runs.
pub fn evict(request: CacheRequest, evictions: Evictions) -> BoxFuture<Evict> {
    Box::pin(Evict::begin(request, evictions))
}

/// An eviction that is due when the handler has run.
pub struct Evict {
    pending: PendingEviction,
    always: bool,
}

impl Evict {
    async fn begin(request: CacheRequest, evictions: Evictions) -> Self {
        let always = evictions.always;
        let evictions = evictions.of(&request.head).await;
        Self {
            pending: PendingEviction::new(request.cache, evictions),
            always,
        }
    }

    /// Evicts, if the handler changed something.
    async fn end(self, mut response: Response) -> Response {
        let cache = self.pending.cache().clone();
        if self.always || succeeded(response.status()) {
            if let Some(evicted) = cache.told_evictions(self.pending.evictions()) {
                let fields = response.headers_mut();
                fields.append(CACHE_GROUP_INVALIDATION, evicted);
            }
            self.pending.run().await;
        } else {
            self.pending.cancel();
        }
        let status = CacheStatus::BYPASS;
        Answer { response, status }.tell(&cache, None, None)
    }
}

impl Step for Evict {
    fn cache(&self) -> &Cache {
        self.pending.cache()
    }

    fn run(self, handler: BoxFuture<Response>) -> BoxFuture<Response> {
        let (cache, evictions) = (
            self.pending.cache().clone(),
            self.pending.evictions().to_vec(),
        );
        let run = async move { self.end(handler.await).await };
        Box::pin(Surviving::new(cache, evictions, run))
    }

    async fn run_in_place(self, handler: impl Future<Output = Response>) -> Response {
        let response = handler.await;
        self.end(response).await
    }
}

impl fmt::Debug for Evict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Evict")
    }
}

/// Whether the handler changed what it was asked to change.
pub(super) fn succeeded(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}
