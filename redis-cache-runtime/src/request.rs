//! The extractor that lets the attributes see the request.

#[cfg(feature = "aide")]
mod documented;
#[cfg(feature = "axum-extra")]
mod typed_path;

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use axum::extract::{FromRef, FromRequest, FromRequestParts, OriginalUri, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Version, header};
use pin_project_lite::pin_project;

use crate::cache::Cache;
use crate::explanation::Wanted;
use crate::handler::Handler;
use crate::http::directives::RequestDirectives;
use crate::key::asked::{Asked, KeptUrl};
use crate::route::{ReadUrl, Route};
use crate::serve::BoxFuture;
use crate::witnessed::Moment;

#[cfg(feature = "aide")]
pub use documented::Documented;

/// Every field, because the route nominates some.
pub const ALL_FIELDS: u8 = 1;
/// The request is a write: HEAD stays HEAD.
pub const WRITE: u8 = 2;
/// Everything, for a key function.
pub const PARTS: u8 = 4;
/// Arguments may be read from what can change.
const PROOF: u8 = 8;

/// Says whether arguments may be read from what can change, where no route does.
pub const fn proof_if(reads_early: bool) -> u8 {
    if reads_early { PROOF } else { 0 }
}

/// Stands in for an argument of a handler, so that the number of arguments stays as it was. It keeps
/// what the cache needs of the request, then extracts that argument.
pub struct Head<T, K, const KEEP: u8 = 0> {
    /// The argument.
    pub extracted: T,
    /// The request as the cache sees it.
    pub request: CacheRequest,
    url: PhantomData<fn() -> K>,
}

/// Says which part of the URL a handler needs.
pub trait KeepUrl {
    /// It.
    const NEEDED: NeededUrl;
}

/// A part of the URL.
#[derive(Clone, Copy, Debug)]
pub enum NeededUrl {
    /// Nothing.
    Nothing,
    /// All of it.
    Whole,
    /// The values that the handler of a route reads.
    Values(fn() -> &'static Route),
}

/// Nothing.
#[derive(Debug)]
pub struct NoUrl;

/// All of it: which handler's key is made of it is not known yet.
#[derive(Debug)]
pub struct WholeUrl;

impl KeepUrl for NoUrl {
    const NEEDED: NeededUrl = NeededUrl::Nothing;
}

impl KeepUrl for WholeUrl {
    const NEEDED: NeededUrl = NeededUrl::Whole;
}

/// The values that the handler reads. Read at once, so that nothing else is kept.
impl<H: Handler> KeepUrl for H {
    const NEEDED: NeededUrl = NeededUrl::Values(H::route);
}

/// The part of the URL that is kept of a request.
#[derive(Clone, Debug, Default)]
pub(crate) enum Url {
    /// Nothing.
    #[default]
    None,
    /// All of it.
    Kept(Arc<KeptUrl>),
    /// The values that its handler reads.
    Read(ReadUrl),
}

/// A request as the cache sees it, and the cache.
#[derive(Clone)]
pub struct CacheRequest {
    pub(crate) head: RequestHead,
    pub(crate) cache: Cache,
}

/// What the cache needs of a request. Small, because every future on the way moves it.
#[derive(Clone)]
pub(crate) struct RequestHead {
    pub(crate) url: Url,
    pub(crate) method: MethodKind,
    /// Extractors read nothing before this moment; `None` where no eviction concerns what they read.
    pub(crate) since: Option<Moment>,
    /// `None` unless a key function asks for it.
    pub(crate) parts: Option<Box<Parts>>,
    /// `None` when the request has no field that matters, as most, and is not to be explained.
    pub(crate) fields: Option<Box<RequestFields>>,
}

/// The kind of a method (RFC 9110 §9.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodKind {
    /// GET, or HEAD.
    Read,
    /// Another method that changes nothing.
    Safe,
    Unsafe,
}

/// The fields of a request that matter, and what its `Cache-Control` says.
#[derive(Clone)]
pub(crate) struct RequestFields {
    pub(crate) map: HeaderMap,
    pub(crate) directives: RequestDirectives,
    /// The request is to be explained.
    pub(crate) wanted: Option<Wanted>,
    /// A response without content has a `Content-Length` all the same: over HTTP/1 it is sent with the
    /// response to a HEAD alone.
    pub(crate) is_told_lengths: bool,
}

impl CacheRequest {
    /// Notes the moment before the arguments are extracted, if one of them may read what can change.
    /// Returns what has to be done before that.
    fn before_extraction(&mut self, url: NeededUrl, keep: u8) -> Option<BoxFuture<()>> {
        let reads_early = match url {
            NeededUrl::Values(route) => route().reads_early,
            NeededUrl::Nothing | NeededUrl::Whole => keep & PROOF != 0,
        };
        if !reads_early {
            return None;
        }
        self.head.since = Some(self.cache.now());
        self.cache.prepare_proof(keep & WRITE != 0)
    }

    pub(crate) fn take(url: NeededUrl, keep: u8, parts: &mut Parts, cache: Cache) -> Self {
        let url = match url {
            NeededUrl::Nothing => Url::None,
            NeededUrl::Whole => Url::Kept(KeptUrl::of(parts)),
            NeededUrl::Values(route) => Url::Read(route().read_url(Asked::Here(parts))),
        };
        let head = RequestHead::take(keep, parts, url, &cache);
        Self { head, cache }
    }
}

impl RequestHead {
    /// Reads the head and, for a read, makes HEAD the GET whose fields it asks for: the handler
    /// then generates the response that is stored, and axum leaves out the body.
    fn take(keep: u8, parts: &mut Parts, url: Url, cache: &Cache) -> Self {
        if !cache.obeys_requests() {
            // A server may ignore it (RFC 9110 §14.2).
            parts.headers.remove(header::RANGE);
        }
        let map = if keep & ALL_FIELDS == 0 {
            cache_fields(&parts.headers)
        } else {
            parts.headers.clone()
        };
        let wanted = Wanted::of(&parts.extensions);
        let fields = (!map.is_empty() || wanted.is_some()).then(|| {
            let directives = cache.directives(&map);
            Box::new(RequestFields {
                map,
                directives,
                wanted,
                is_told_lengths: parts.method == Method::HEAD || parts.version > Version::HTTP_11,
            })
        });
        if keep & WRITE == 0 && parts.method == Method::HEAD {
            parts.method = Method::GET;
        }
        let kept = (keep & PARTS != 0).then(|| {
            let mut kept = Box::new(parts.clone());
            if let Some(original) = parts.extensions.get::<OriginalUri>() {
                kept.uri = original.0.clone();
            }
            kept
        });
        Self {
            method: match &parts.method {
                &Method::GET => MethodKind::Read,
                method if method.is_safe() || method.as_str() == "QUERY" => MethodKind::Safe,
                _ => MethodKind::Unsafe,
            },
            url,
            since: None,
            parts: kept,
            fields,
        }
    }

    /// The URL, where it was kept; otherwise one that asks for nothing.
    pub(crate) fn asked(&self) -> Asked<'_> {
        static NOTHING: LazyLock<KeptUrl> = LazyLock::new(KeptUrl::default);
        match &self.url {
            Url::Kept(url) => Asked::Kept(url),
            Url::None | Url::Read(_) => Asked::Kept(&NOTHING),
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        self.method == MethodKind::Read
    }

    /// The fields that preconditions and nominated fields are read from.
    pub(crate) fn map(&self) -> Option<&HeaderMap> {
        self.fields.as_deref().map(|fields| &fields.map)
    }

    /// Whether the client would rather have nothing than a response that is not stored.
    pub(crate) fn only_if_cached(&self) -> bool {
        self.directives()
            .is_some_and(|directives| directives.only_if_cached)
    }

    /// If the request is to be explained instead of answered.
    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        self.fields.as_deref()?.wanted.as_ref()
    }

    /// What the request's `Cache-Control` says, if it says anything.
    pub(crate) fn directives(&self) -> Option<&RequestDirectives> {
        self.fields.as_deref().map(|fields| &fields.directives)
    }
}

/// The fields that the cache reads itself; most requests have none, and then nothing is allocated.
fn cache_fields(all: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in all {
        let read = *name == header::CACHE_CONTROL
            || *name == header::IF_NONE_MATCH
            || *name == header::IF_MODIFIED_SINCE
            || *name == header::RANGE
            || *name == header::AUTHORIZATION;
        if read {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// Stands in for the arguments of a handler that has none. Named for what its user has to do when
/// the compiler says that it is missing: `#[debug_handler]` counts the arguments it sees.
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
            both: of_parts::<T, S>(K::NEEDED, KEEP, parts, state),
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
            both: of_request::<T, S>(K::NEEDED, KEEP, request, state),
            head: PhantomData,
        }
    }
}

pin_project! {
    /// The extraction of an argument.
    ///
    /// Written out, in two layers: the compiler takes three times as long for an `async` block, and
    /// compiles for each handler what names its head.
    struct Extracting<B, Head> {
        #[pin]
        both: B,
        head: PhantomData<fn() -> Head>,
    }
}

pin_project! {
    /// An argument and the request. Compiled once for all handlers with the same extractor.
    struct Both<B, F> {
        request: Option<CacheRequest>,
        // Ends before the extraction begins.
        before: Option<BoxFuture<()>>,
        begin: Option<B>,
        #[pin]
        extracted: Option<F>,
    }
}

impl<B: FnOnce() -> F, F> Both<B, F> {
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
    let request = CacheRequest::take(url, keep, parts, Cache::from_ref(state));
    Both::new(request, url, keep, || T::from_request_parts(parts, state))
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
    let head = CacheRequest::take(url, keep, &mut parts, Cache::from_ref(state));
    let request = Request::from_parts(parts, body);
    Both::new(head, url, keep, || T::from_request(request, state))
}

impl<B, T, E, K, const KEEP: u8> Future for Extracting<B, Head<T, K, KEEP>>
where
    B: Future<Output = Result<(T, CacheRequest), E>>,
{
    type Output = Result<Head<T, K, KEEP>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().both.poll(cx) {
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

impl<B, F, T, E> Future for Both<B, F>
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
                request.head.since = Some(request.cache.now());
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
    /// Says nothing: attributes that log arguments must not log the fields of requests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Head")
    }
}

impl fmt::Debug for CacheRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheRequest")
    }
}
