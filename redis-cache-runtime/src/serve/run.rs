//! The run of a handler: it can go on without its client if the compiler sees that its future may move
//! to another task.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;

use super::read::Lookup;
use super::step::Step;
use crate::observe::{Measured, Observer};

/// The future of a handler. Its inherent methods are for those that can be moved to a task of their
/// own; where the compiler cannot see that, in a generic handler, the ones of [`InPlace`] are found.
///
/// The compiler spends its time on all that names `F`, for each handler anew. So what does is short.
pub struct Run<F: Future> {
    handler: F,
    // Found out once, so that a handler which returns no response is one error.
    into_response: fn(F::Output) -> Response,
    /// The name of the handler of a write, if this is not the run of another attribute within this one.
    name: Option<&'static str>,
}

impl<F: Future> Run<F> {
    /// A handler that was called and not run yet.
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

    /// A handler of a name that was called and not run yet.
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

/// Runs a handler within a step. Compiled once for all handlers that return the same type.
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

    /// Answers with what a lookup finds, or runs the handler.
    pub fn unless_found(self, lookup: Lookup) -> UnlessFound<F> {
        UnlessFound {
            progress: Progress::Lookup(lookup, self.into_response),
            handler: Some(self.handler),
        }
    }
}

/// Runs a handler where it is.
pub trait InPlace {
    /// Runs the handler within a step.
    fn within(self, step: impl Step) -> impl Future<Output = Response>;

    /// Answers with what a lookup finds, or runs the handler.
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

/// The response that a lookup finds, or else the one that a handler makes. The handler moves into a
/// box when it has to run: a hit does without.
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

/// Compiled once for all handlers that return the same type.
enum Progress<T> {
    Lookup(Lookup, fn(T) -> Response),
    Run(BoxFuture<'static, Response>),
}

impl<T: 'static> Progress<T> {
    fn poll(&mut self, handler: &mut dyn TakeHandler<T>, cx: &mut Context<'_>) -> Poll<Response> {
        if let Self::Lookup(lookup, into_response) = self {
            let read = match ready!(lookup.as_mut().poll(cx)) {
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
