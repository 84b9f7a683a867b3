//! The extractor that gives the attributes access to the request.

#[cfg(feature = "aide")]
mod documented;
#[cfg(feature = "axum-extra")]
mod typed_path;

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;

use super::companion::Handler;
use crate::cache::Cache;
use crate::serve::request::{CacheRequest, NeededUrl};

#[cfg(feature = "aide")]
pub use documented::Documented;

/// A substitute for an argument of a handler, so that the number of arguments stays the same. It
/// takes the part of the request that the cache needs, then extracts that argument.
pub struct Head<T, K, const KEEP: u8 = 0> {
    /// The argument.
    pub extracted: T,
    /// The part of the request that the cache needs.
    pub request: CacheRequest,
    url: PhantomData<fn() -> K>,
}

/// A marker for the part of the URL that a handler needs.
pub trait KeepUrl {
    /// The needed part.
    const NEEDED: NeededUrl;
}

/// A marker: the handler needs nothing of the URL.
#[derive(Debug)]
pub struct NoUrl;

/// A marker: the handler needs the whole URL, because it is not known yet which handler's key is
/// made from it.
#[derive(Debug)]
pub struct WholeUrl;

impl KeepUrl for NoUrl {
    const NEEDED: NeededUrl = NeededUrl::Nothing;
}

impl KeepUrl for WholeUrl {
    const NEEDED: NeededUrl = NeededUrl::Whole;
}

/// The values that the handler reads. They are read at once, so that nothing else is kept.
impl<H: Handler> KeepUrl for H {
    const NEEDED: NeededUrl = NeededUrl::Values(H::route);
}

/// A substitute for the arguments of a handler that has none. `#[debug_handler]` counts arguments,
/// so a compiler message about this type means that it belongs below the attribute.
#[derive(Clone, Copy, Debug)]
pub struct DebugHandlerBelongsBelow;

impl<S: Sync> FromRequestParts<S> for DebugHandlerBelongsBelow {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

impl<S, T, K, const KEEP: u8> FromRequestParts<S> for Head<T, K, KEEP>
where
    T: FromRequestParts<S>,
    K: KeepUrl,
    Cache: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = T::Rejection;

    fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> impl Future<Output = Result<Self, Self::Rejection>> + Send {
        Extracting {
            extraction: of_parts::<T, S>(K::NEEDED, KEEP, parts, state),
            head: PhantomData,
        }
    }
}

impl<S, T, K, const KEEP: u8> FromRequest<S> for Head<T, K, KEEP>
where
    T: FromRequest<S>,
    K: KeepUrl,
    Cache: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = T::Rejection;

    fn from_request(
        request: Request,
        state: &S,
    ) -> impl Future<Output = Result<Self, Self::Rejection>> + Send {
        Extracting {
            extraction: of_request::<T, S>(K::NEEDED, KEEP, request, state),
            head: PhantomData,
        }
    }
}

pin_project! {
    /// The extraction of an argument.
    ///
    /// This is written out, in two layers. For an `async` block the compiler takes three times as
    /// long, and it compiles code that names `Head` again for each handler.
    struct Extracting<B, Head> {
        #[pin]
        extraction: B,
        head: PhantomData<fn() -> Head>,
    }
}

pin_project! {
    /// The extraction of an argument, with the request. Compiled once for all handlers with the
    /// same extractor.
    struct ExtractWithRequest<B, F> {
        request: Option<CacheRequest>,
        // Completes before the extraction begins.
        before: Option<BoxFuture<'static, ()>>,
        begin: Option<B>,
        #[pin]
        extracted: Option<F>,
    }
}

impl<B: FnOnce() -> F, F> ExtractWithRequest<B, F> {
    fn new(mut request: CacheRequest, url: NeededUrl, keep: u8, begin: B) -> Self {
        Self {
            before: request.before_extraction(url, keep),
            request: Some(request),
            begin: Some(begin),
            extracted: None,
        }
    }
}

fn of_parts<T, S>(
    url: NeededUrl,
    keep: u8,
    parts: &mut Parts,
    state: &S,
) -> impl Future<Output = Result<(T, CacheRequest), T::Rejection>> + Send
where
    T: FromRequestParts<S>,
    Cache: FromRef<S>,
    S: Send + Sync,
{
    let request = CacheRequest::take(url, keep, parts, Cache::from_ref(state).into_engine());
    ExtractWithRequest::new(request, url, keep, || T::from_request_parts(parts, state))
}

fn of_request<T, S>(
    url: NeededUrl,
    keep: u8,
    request: Request,
    state: &S,
) -> impl Future<Output = Result<(T, CacheRequest), T::Rejection>> + Send
where
    T: FromRequest<S>,
    Cache: FromRef<S>,
    S: Send + Sync,
{
    let (mut parts, body) = request.into_parts();
    let head = CacheRequest::take(url, keep, &mut parts, Cache::from_ref(state).into_engine());
    let request = Request::from_parts(parts, body);
    ExtractWithRequest::new(head, url, keep, || T::from_request(request, state))
}

impl<B, T, E, K, const KEEP: u8> Future for Extracting<B, Head<T, K, KEEP>>
where
    B: Future<Output = Result<(T, CacheRequest), E>>,
{
    type Output = Result<Head<T, K, KEEP>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().extraction.poll(cx) {
            Poll::Ready(Ok((extracted, request))) => Poll::Ready(Ok(Head {
                extracted,
                request,
                url: PhantomData,
            })),
            Poll::Ready(Err(rejection)) => Poll::Ready(Err(rejection)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<B, F, T, E> Future for ExtractWithRequest<B, F>
where
    B: FnOnce() -> F,
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<(T, CacheRequest), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(before) = this.before {
            ready!(before.as_mut().poll(cx));
            *this.before = None;
            if let Some(request) = this.request {
                request.extraction_begins();
            }
        }
        if let Some(begin) = this.begin.take() {
            this.extracted.set(Some(begin()));
        }
        let Some(extracted) = this.extracted.as_pin_mut() else {
            return Poll::Pending;
        };
        let extracted = ready!(extracted.poll(cx))?;
        match this.request.take() {
            Some(request) => Poll::Ready(Ok((extracted, request))),
            None => Poll::Pending,
        }
    }
}

impl<T, K, const KEEP: u8> fmt::Debug for Head<T, K, KEEP> {
    /// Formats nothing of the request: attributes that log arguments must not log its fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Head")
    }
}
