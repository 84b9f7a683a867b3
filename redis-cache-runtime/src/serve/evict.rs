//! `#[cache_evict]`: runs the handler, then evicts before the response starts.

use std::fmt;

use axum::response::Response;
use futures_util::future::BoxFuture;

use super::reply::{WriteOutcome, add_invalidated_groups};
use super::request::{CacheRequest, RequestHead};
use super::route::Route;
use super::step::{Detachable, Step};
use super::writer::Writer;
use crate::engine::Engine;
use crate::engine::due_eviction::DueEviction;
use crate::http::storable::is_non_error;
use crate::key::part::Text;
use crate::key::{CacheKey, Eviction, Group};

/// The declarations of `#[cache_evict]`, for one request.
#[derive(Debug)]
pub struct Evictions {
    writer: &'static Writer,
    targets: Vec<EvictionTarget>,
    always: bool,
}

#[derive(Debug)]
enum EvictionTarget {
    /// All entries of a handler for the values of the path.
    Route(&'static Route),
    Key(CacheKey),
    Group(Group),
    All,
}

impl Evictions {
    /// Creates the evictions of a writer, without targets.
    pub fn of(writer: &'static Writer) -> Self {
        Self {
            writer,
            targets: Vec::new(),
            always: false,
        }
    }

    /// Evicts the entries that a handler stored for the values of the path of this request.
    #[must_use]
    pub fn route(self, route: &'static Route) -> Self {
        self.target(EvictionTarget::Route(route))
    }

    /// Evicts a key.
    #[must_use]
    pub fn key(self, key: CacheKey) -> Self {
        self.target(EvictionTarget::Key(key))
    }

    /// Evicts every entry of a group.
    #[must_use]
    pub fn group(self, group: Text) -> Self {
        self.target(EvictionTarget::Group(group.into_group()))
    }

    /// Evicts everything.
    #[must_use]
    pub fn all(self) -> Self {
        self.target(EvictionTarget::All)
    }

    /// Evicts whatever the status of the handler's response is.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    fn target(mut self, target: EvictionTarget) -> Self {
        self.targets.push(target);
        self
    }

    fn for_request(self, request: &RequestHead, engine: &Engine) -> Vec<Eviction> {
        let mut evictions = Vec::with_capacity(self.targets.len());
        for target in self.targets {
            evictions.push(match target {
                EvictionTarget::Key(key) => engine.eviction_of_key(key),
                EvictionTarget::Group(group) => engine.eviction_of_group(&group),
                EvictionTarget::All => engine.eviction_of_all(),
                EvictionTarget::Route(route) => match route.key_named_by(request) {
                    Ok(key) => engine.eviction_of_key(key),
                    Err(unidentified) => {
                        self.writer.log_unidentified(route, unidentified);
                        route.everything()
                    }
                },
            });
        }
        evictions
    }
}

/// Resolves the targets of the evictions before the handler runs.
pub fn evict(request: CacheRequest, evictions: Evictions) -> BoxFuture<'static, Evict> {
    Box::pin(Evict::begin(request, evictions))
}

/// Evictions that follow the run of a handler.
pub struct Evict {
    engine: Engine,
    pending: DueEviction,
    writer: &'static Writer,
    always: bool,
}

impl Evict {
    async fn begin(request: CacheRequest, evictions: Evictions) -> Self {
        let (writer, always) = (evictions.writer, evictions.always);
        let CacheRequest { head, engine } = request;
        let evictions = evictions.for_request(&head, &engine);
        Self {
            pending: DueEviction::new(engine.client().clone(), evictions),
            engine,
            writer,
            always,
        }
    }

    /// Evicts if the handler has succeeded, or always if declared so, and finishes the response.
    async fn end(self, mut response: Response) -> Response {
        let outcome = if self.always || is_non_error(response.status()) {
            let evictions = self.pending.evictions();
            add_invalidated_groups(response.headers_mut(), &self.engine, evictions);
            self.writer.evicts(evictions);
            WriteOutcome::of(self.pending.run().await)
        } else {
            self.pending.cancel();
            WriteOutcome::Bypass
        };
        outcome.finish(response, &self.engine)
    }
}

impl Step for Evict {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn run(self, handler: BoxFuture<'static, Response>) -> BoxFuture<'static, Response> {
        let engine = self.engine.clone();
        let run = async move { self.end(handler.await).await };
        Box::pin(Detachable::new(engine, run))
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
