//! The step that an attribute adds around the run of a handler.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::Response;
use futures_util::future::BoxFuture;

use crate::engine::Engine;
use crate::engine::background::Background;
use crate::observe::TraceContext;

/// The work of an attribute around a handler.
pub trait Step: Send + 'static {
    /// Returns the engine of the cache.
    fn engine(&self) -> &Engine;

    /// Runs the handler to completion, even if the client disconnects.
    fn run(self, handler: BoxFuture<'static, Response>) -> BoxFuture<'static, Response>;

    /// Runs the handler as long as its client waits.
    fn run_in_place(
        self,
        handler: impl Future<Output = Response>,
    ) -> impl Future<Output = Response>;
}

/// A run that continues in the background, for `lease_ttl` at most, if it is dropped before its
/// end. Until then it stays in the task of its client, so that task-local values are available and
/// a panic propagates as usual.
pub(super) struct Detachable<T: 'static> {
    run: Option<BoxFuture<'static, T>>,
    /// Unset if the run ends when it is dropped.
    goes_on: bool,
    engine: Engine,
    trace: TraceContext,
}

impl<T> Detachable<T> {
    pub(super) fn new(engine: Engine, run: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            run: Some(Box::pin(run)),
            goes_on: true,
            engine,
            trace: TraceContext::current(),
        }
    }

    /// Sets whether the run goes on if it is dropped before its end.
    pub(super) fn goes_on_if(mut self, goes_on: bool) -> Self {
        self.goes_on = goes_on;
        self
    }

    /// Returns the rest of the run; `None`: it has ended.
    pub(super) fn into_rest(mut self) -> Option<BoxFuture<'static, T>> {
        self.run.take()
    }
}

impl<T> Future for Detachable<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // The run is taken out while it is polled, so that it does not continue after a panic.
        let Some(mut run) = self.run.take() else {
            return Poll::Pending;
        };
        let polled = run.as_mut().poll(cx);
        if polled.is_pending() {
            self.run = Some(run);
        }
        polled
    }
}

impl<T> Drop for Detachable<T> {
    fn drop(&mut self) {
        let Some(run) = self.run.take() else { return };
        if !self.goes_on || Background::is_detached() {
            return;
        }
        let rest = async move { drop(run.await) };
        let limit = self.engine.lease_ttl();
        let background = self.engine.background();
        background.detach(rest, limit, self.trace.clone());
    }
}

/// The payload of a panic.
pub(super) type PanicPayload = Box<dyn Any + Send>;

/// Runs a handler and catches its panic.
pub(super) async fn catch_panic(
    handler: impl Future<Output = Response>,
) -> Result<Response, PanicPayload> {
    let mut handler = std::pin::pin!(handler);
    std::future::poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}
