//! `#[cache_evict]`: run the handler, then evict before its response starts.

use std::fmt;

use axum::http::StatusCode;
use axum::response::Response;

use super::BoxFuture;
use super::outcome::WriteOutcome;
use super::pending::PendingEviction;
use super::run::{Step, Surviving};
use super::writer::Writer;
use crate::cache::Cache;
use crate::http::fields::CACHE_GROUP_INVALIDATION;
use crate::key::{CacheKey, Eviction, Group};
use crate::key_part::Text;
use crate::request::{CacheRequest, RequestHead};
use crate::route::Route;

/// What `#[cache_evict]` declared, for one request.
#[derive(Debug)]
pub struct Evictions {
    writer: &'static Writer,
    targets: Vec<Target>,
    always: bool,
}

#[derive(Debug)]
enum Target {
    /// Everything that a handler stored for the values of the path.
    Route(&'static Route),
    Key(CacheKey),
    Group(Group),
    All,
}

impl Evictions {
    /// No targets yet, of the write of that name.
    pub fn of(writer: &'static Writer) -> Self {
        Self {
            writer,
            targets: Vec::new(),
            always: false,
        }
    }

    /// Evicts what a handler stored for the values of the path of this request.
    #[must_use]
    pub fn route(self, route: &'static Route) -> Self {
        self.target(Target::Route(route))
    }

    /// Evicts a key.
    #[must_use]
    pub fn key(self, key: CacheKey) -> Self {
        self.target(Target::Key(key))
    }

    /// Evicts every entry of a group.
    #[must_use]
    pub fn group(self, group: Text) -> Self {
        self.target(Target::Group(group.into_group()))
    }

    /// Evicts everything.
    #[must_use]
    pub fn all(self) -> Self {
        self.target(Target::All)
    }

    /// Evicts whatever the handler answers.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    fn for_request(self, request: &RequestHead, cache: &Cache) -> Vec<Eviction> {
        let mut evictions = Vec::with_capacity(self.targets.len());
        for target in self.targets {
            evictions.push(match target {
                Target::Key(key) => cache.eviction_of_key(key),
                Target::Group(group) => cache.eviction_of_group(&group),
                Target::All => cache.eviction_of_all(),
                Target::Route(route) => match route.named_by(request) {
                    Ok(key) => cache.eviction_of_key(key),
                    Err(unread) => {
                        self.writer.cannot_name(route, unread);
                        route.everything()
                    }
                },
            });
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
    writer: &'static Writer,
    always: bool,
}

impl Evict {
    async fn begin(request: CacheRequest, evictions: Evictions) -> Self {
        let (writer, always) = (evictions.writer, evictions.always);
        let evictions = evictions.for_request(&request.head, &request.cache);
        Self {
            pending: PendingEviction::new(request.cache, evictions),
            writer,
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
            self.writer.evicts(self.pending.evictions());
            let outcome = self.pending.run().await;
            outcome
                .unwrap_or(WriteOutcome::Bypass)
                .tell(response, &cache)
        } else {
            self.pending.cancel();
            WriteOutcome::Bypass.tell(response, &cache)
        }
    }
}

impl Step for Evict {
    fn cache(&self) -> &Cache {
        self.pending.cache()
    }

    fn run(self, handler: BoxFuture<Response>) -> BoxFuture<Response> {
        let cache = self.pending.cache().clone();
        let run = async move { self.end(handler.await).await };
        Box::pin(Surviving::new(cache, run))
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
