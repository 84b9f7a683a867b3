//! Stored responses: how they are found, and when they may be reused.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::request::RequestHead;
use super::route::Route;
use crate::engine::Engine;
use crate::engine::clock;
use crate::engine::search::Sought;
use crate::engine::seen_nonces::Tick;
use crate::http::directives::RequestDirectives;
use crate::http::freshness::{Freshness, Grant, Reuse};
use crate::http::storable::NotStorable;
use crate::key::Address;
use crate::observe::Writes;
use crate::store::entry::{Entry, StoredHead};

/// A read of a handler's response.
#[derive(Clone)]
pub(super) struct ReadRequest {
    pub(super) route: &'static Route,
    pub(super) head: RequestHead,
    /// The time from which a stale response is served although the handler still runs; `None`: never.
    slow_from: Option<Instant>,
}

/// A stored response that may be reused.
pub(super) struct StoredResponse {
    pub(super) head: Arc<StoredHead>,
    pub(super) body: Bytes,
    pub(super) freshness: Freshness,
}

impl Sought for ReadRequest {
    type Stored = StoredResponse;

    fn reuse(&self, entry: &Entry) -> Option<(Reuse, StoredResponse)> {
        decode(entry, |freshness, grant| {
            freshness.reuse(self.directives(), grant, self.route.windows())
        })
    }

    fn kept_for(&self, engine: &Engine) -> Option<Duration> {
        self.route.kept_for(engine)
    }

    fn handler(&self) -> &'static str {
        self.route.name()
    }

    fn read_since(&self) -> Option<Tick> {
        self.head.read_since.filter(|_| self.route.reads_early)
    }

    fn read_too_early(&self, engine: &Engine) {
        self.route
            .refuse(NotStorable::ReadTooEarly, Writes::Fill, engine);
    }

    fn freshness(stored: &StoredResponse) -> Option<Freshness> {
        Some(stored.freshness)
    }

    fn is_valid_for_others(&self, entry: &Entry) -> bool {
        let freshness = entry.freshness(clock::now());
        let reuse = |grant: &Grant| freshness.reuse(None, grant, self.route.windows());
        let is_reusable = |(head, _): (Arc<StoredHead>, _)| reuse(&head.grant) != Reuse::No;
        freshness.is_fresh() || entry.decode().is_some_and(is_reusable)
    }

    fn directives(&self) -> Option<&RequestDirectives> {
        self.head.directives()
    }

    async fn on_failure(&self, engine: &Engine, at: &Address) -> Option<StoredResponse> {
        if self.route.windows().if_error.is_zero() {
            return None;
        }
        self.reuse_on_error(engine, at).await
    }
}

impl ReadRequest {
    pub(super) fn new(route: &'static Route, head: RequestHead) -> Self {
        let slow_from = None;
        Self {
            route,
            head,
            slow_from,
        }
    }

    /// Starts the time for which the request waits before a stale response is served.
    pub(super) fn begin_to_wait(&mut self) {
        let patience = self.route.patience().filter(|patience| !patience.is_zero());
        // Without a Tokio runtime, there is no timer.
        let patience = patience.filter(|_| Handle::try_current().is_ok());
        self.slow_from = patience.and_then(|patience| Instant::now().checked_add(patience));
    }

    /// Awaits `work`. If it takes too long and there is a stale response to serve, drops `work` and
    /// returns the stale response as the error.
    pub(super) async fn unless_slow<T>(
        &self,
        engine: &Engine,
        at: &Address,
        work: impl Future<Output = T>,
    ) -> Result<T, StoredResponse> {
        let mut work = pin!(work);
        let Some(slow_from) = self.slow_from else {
            return Ok(work.await);
        };
        if let Ok(done) = timeout_at(slow_from, work.as_mut()).await {
            return Ok(done);
        }
        let stale = pin!(self.reuse_when_slow(engine, at));
        match select(work.as_mut(), stale).await {
            Either::Left((done, _)) => Ok(done),
            Either::Right((Some(stale), _)) => Err(stale),
            Either::Right((None, _)) => Ok(work.await),
        }
    }

    /// Returns whether a stale response may be served if the work for this request takes too long.
    pub(super) fn may_be_slow(&self) -> bool {
        self.slow_from.is_some()
    }

    /// Looks up a stored response that may be reused because the handler failed (RFC 5861 §4). The
    /// lookup comes after the failure, so that a response that was evicted meanwhile is not reused.
    pub(super) async fn reuse_on_error(
        &self,
        engine: &Engine,
        at: &Address,
    ) -> Option<StoredResponse> {
        let is_of_use = |freshness: Freshness, grant: &Grant| {
            freshness.is_of_use_on_error(grant, self.route.windows())
        };
        self.reuse_if(engine, at, is_of_use).await
    }

    /// Looks up a stored response that may be reused because the handler takes too long. The lookup comes
    /// at the end of the wait, so that a response that was evicted meanwhile is not reused.
    async fn reuse_when_slow(&self, engine: &Engine, at: &Address) -> Option<StoredResponse> {
        let is_of_use = |freshness: Freshness, grant: &Grant| {
            freshness.is_of_use_when_slow(self.directives(), grant, self.route.windows())
        };
        self.reuse_if(engine, at, is_of_use).await
    }

    async fn reuse_if(
        &self,
        engine: &Engine,
        at: &Address,
        is_of_use: impl FnOnce(Freshness, &Grant) -> bool,
    ) -> Option<StoredResponse> {
        let found = engine.client().lookup(at, false).await.ok()?;
        let decoded = decode(&found.into_entry()?, |freshness, grant| {
            if !is_of_use(freshness, grant) {
                Reuse::No
            } else if freshness.is_fresh() {
                Reuse::Fresh
            } else {
                Reuse::Stale
            }
        });
        decoded.map(|(_, stored)| stored)
    }
}

/// Decodes an entry, if the response may be reused.
fn decode(
    entry: &Entry,
    judge: impl FnOnce(Freshness, &Grant) -> Reuse,
) -> Option<(Reuse, StoredResponse)> {
    let freshness = entry.freshness(clock::now());
    let (head, body) = entry.decode()?;
    let reuse = judge(freshness, &head.grant);
    let stored = StoredResponse {
        head,
        body,
        freshness,
    };
    (reuse != Reuse::No).then_some((reuse, stored))
}
