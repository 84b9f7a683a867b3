//! The extractor that lets the attributes see the request.

use std::fmt;

use axum::extract::{FromRef, FromRequest, FromRequestParts, OriginalUri, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};

use crate::cache::Cache;
use crate::http::directives::RequestDirectives;
use crate::key::Key;

const ALL_FIELDS: u8 = 1;
const WRITE: u8 = 2;

/// For a handler of reads.
pub type Read<T> = Head<T, 0>;
/// For a handler of reads whose route nominates request fields.
pub type ReadAllFields<T> = Head<T, ALL_FIELDS>;
/// For a handler of writes.
pub type Write<T> = Head<T, WRITE>;
/// For a handler of writes whose route nominates request fields.
pub type WriteAllFields<T> = Head<T, { WRITE | ALL_FIELDS }>;

/// Stands in for the first argument of a handler, so that the number of arguments stays as it was.
/// It keeps what the cache needs of the request, then extracts that argument.
pub struct Head<T, const KEEP: u8> {
    pub(crate) extracted: T,
    pub(crate) request: RequestHead,
    pub(crate) cache: Cache,
}

/// What the cache needs of a request. Small, because every future on the way moves it.
pub(crate) struct RequestHead {
    /// GET, or HEAD.
    pub(crate) is_read: bool,
    /// The default key, of the URI as the client sent it: nested routers strip their prefixes from
    /// the one that handlers see.
    pub(crate) key: Key,
    /// `None` when the request has no field that matters, as most.
    pub(crate) fields: Option<Box<RequestFields>>,
}

/// The fields of a request that matter, and what its `Cache-Control` says.
pub(crate) struct RequestFields {
    pub(crate) map: HeaderMap,
    pub(crate) directives: RequestDirectives,
}

impl RequestHead {
    /// Reads the head and, for a read, makes HEAD the GET whose fields it asks for: the handler
    /// then generates the response that is stored, and axum leaves out the body.
    fn take<const KEEP: u8>(parts: &mut Parts, cache: &Cache) -> Self {
        let uri = parts
            .extensions
            .get::<OriginalUri>()
            .map_or(&parts.uri, |original| &original.0);
        let key = Key::of_uri(uri);
        let map = if KEEP & ALL_FIELDS == 0 {
            cache_fields(&parts.headers)
        } else {
            all_fields(&parts.headers, uri)
        };
        let fields = (!map.is_empty()).then(|| {
            let directives = cache.directives(&map);
            Box::new(RequestFields { map, directives })
        });
        if KEEP & WRITE == 0 && parts.method == Method::HEAD {
            parts.method = Method::GET;
        }
        Self {
            is_read: parts.method == Method::GET,
            key,
            fields,
        }
    }

    /// The fields that preconditions and nominated fields are read from.
    pub(crate) fn map(&self) -> Option<&HeaderMap> {
        self.fields.as_deref().map(|fields| &fields.map)
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

/// Every field, with `Host` as the client sent it, which may be in the URI (RFC 9112 §3.2.2, RFC
/// 9113 §8.3.1).
fn all_fields(all: &HeaderMap, uri: &Uri) -> HeaderMap {
    let mut fields = all.clone();
    if let Some(authority) = uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        fields.insert(header::HOST, host);
    }
    fields
}

impl<S, T, const KEEP: u8> FromRequestParts<S> for Head<T, KEEP>
where
    T: FromRequestParts<S>,
    Cache: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = T::Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let cache = Cache::from_ref(state);
        let request = RequestHead::take::<KEEP>(parts, &cache);
        let extracted = T::from_request_parts(parts, state).await?;
        Ok(Self {
            extracted,
            request,
            cache,
        })
    }
}

impl<S, T, const KEEP: u8> FromRequest<S> for Head<T, KEEP>
where
    T: FromRequest<S>,
    Cache: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = T::Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let (mut parts, body) = request.into_parts();
        let cache = Cache::from_ref(state);
        let head = RequestHead::take::<KEEP>(&mut parts, &cache);
        let extracted = T::from_request(Request::from_parts(parts, body), state).await?;
        Ok(Self {
            extracted,
            request: head,
            cache,
        })
    }
}

impl<T, const KEEP: u8> fmt::Debug for Head<T, KEEP> {
    /// Says nothing: attributes that log arguments must not log the fields of requests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Head")
    }
}
