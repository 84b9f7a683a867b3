//! The run of a handler. It can continue without its client if the compiler knows that its future
//! may move to another task.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;

use super::read::Lookup;
use super::step::Step;
use crate::observe::{Measured, Observer};

/// The future of a handler. The inherent methods are for futures that can move to another task. If
/// the compiler does not know that, as in a generic handler, method lookup finds those of
/// [`InPlace`].
///
/// Code that names `F` is compiled again for each handler, so it is short.
pub struct Run<F: Future> {
    handler: F,
    // Resolved once, so that a handler which returns no response causes one compiler error.
    into_response: fn(F::Output) -> Response,
    /// The name of the handler of a write; `None` for a run inside that of another attribute.
    name: Option<&'static str>,
}

impl<F: Future> Run<F> {
    /// Wraps the future of a handler.
    pub fn new(handler: F) -> Self
    where
        F::Output: IntoResponse,
    {
        Self {
            handler,
            into_response: F::Output::into_response,
            name: None,
        }
    }

    /// Wraps the future of a handler with a name, under which its duration is recorded.
    pub fn named(name: &'static str, handler: F) -> Self
    where
        F::Output: IntoResponse,
    {
        Self {
            name: Some(name),
            ..Self::new(handler)
        }
    }

    async fn response(self, observer: Observer) -> Response {
        let started = observer.start();
        let response = (self.into_response)(self.handler.await);
        if let (Some(handler), Some(took)) = (self.name, started.elapsed()) {
            observer.record(Measured::Handler { handler, took });
        }
        response
    }
}

/// Runs a handler within a step. This function is compiled once for all handlers that return the
/// same type.
fn run_within<T: 'static>(
    step: impl Step,
    handler: BoxFuture<'static, T>,
    into_response: fn(T) -> Response,
    name: Option<&'static str>,
) -> BoxFuture<'static, Response> {
    let observer = step.engine().observer().clone();
    let run = Run {
        handler,
        into_response,
        name,
    };
    step.run(Box::pin(run.response(observer)))
}

impl<F: Future + Send + 'static> Run<F> {
    /// Runs the handler within a step.
    pub fn within(self, step: impl Step) -> BoxFuture<'static, Response> {
        run_within(step, Box::pin(self.handler), self.into_response, self.name)
    }

    /// Returns the stored response that a lookup finds, or runs the handler.
    pub fn unless_found(self, lookup: Lookup) -> UnlessFound<F> {
        UnlessFound {
            progress: Progress::Lookup(lookup, self.into_response),
            handler: Some(self.handler),
        }
    }
}

/// Runs a handler in the task of its client.
pub trait InPlace {
    /// Runs the handler within a step.
    fn within(self, step: impl Step) -> impl Future<Output = Response>;

    /// Returns the stored response that a lookup finds, or runs the handler.
    fn unless_found(self, lookup: Lookup) -> impl Future<Output = Response>;
}

impl<F: Future> InPlace for Run<F> {
    fn within(self, step: impl Step) -> impl Future<Output = Response> {
        let observer = step.engine().observer().clone();
        step.run_in_place(self.response(observer))
    }

    async fn unless_found(mut self, lookup: Lookup) -> Response {
        match lookup.await {
            Ok(response) => response,
            Err(read) => {
                self.name = Some(read.handler());
                self.within(read).await
            }
        }
    }
}

/// The future of the response that a lookup finds, or else of the handler's response. The handler
/// moves into a box only when it has to run, so that a hit needs no box.
pub struct UnlessFound<F: Future> {
    progress: Progress<F::Output>,
    handler: Option<F>,
}

/// The handler is never pinned here.
impl<F: Future> Unpin for UnlessFound<F> {}

impl<F: Future + Send + 'static> Future for UnlessFound<F> {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let this = self.get_mut();
        this.progress.poll(&mut this.handler, cx)
    }
}

/// A handler that may be taken once.
trait TakeHandler<T> {
    fn take(&mut self) -> Option<BoxFuture<'static, T>>;
}

impl<F: Future + Send + 'static> TakeHandler<F::Output> for Option<F> {
    fn take(&mut self) -> Option<BoxFuture<'static, F::Output>> {
        match Option::take(self) {
            Some(handler) => Some(Box::pin(handler)),
            None => None,
        }
    }
}

/// The progress of [`UnlessFound`]. Compiled once for all handlers that return the same type.
enum Progress<T> {
    Lookup(Lookup, fn(T) -> Response),
    Run(BoxFuture<'static, Response>),
}

impl<T: 'static> Progress<T> {
    fn poll(&mut self, handler: &mut dyn TakeHandler<T>, cx: &mut Context<'_>) -> Poll<Response> {
        if let Self::Lookup(lookup, into_response) = self {
            let read = match ready!(Pin::new(lookup).poll(cx)) {
                Ok(response) => return Poll::Ready(response),
                Err(read) => read,
            };
            let Some(handler) = handler.take() else {
                return Poll::Pending;
            };
            let name = Some(read.handler());
            *self = Self::Run(run_within(read, handler, *into_response, name));
        }
        match self {
            Self::Run(run) => run.as_mut().poll(cx),
            Self::Lookup(..) => Poll::Pending,
        }
    }
}

impl<F: Future> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Run")
    }
}
