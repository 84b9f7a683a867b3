//! The extractor that lets the attributes see the request.

use std::fmt;

use axum::extract::{FromRef, FromRequest, FromRequestParts, OriginalUri, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};

use crate::cache::Cache;

/// The handler answers reads, and only the fields that the cache itself reads are kept.
pub const READ: u8 = 0;
/// The handler answers reads, and its route nominates request fields.
pub const READ_ALL_FIELDS: u8 = READ | ALL_FIELDS;
/// The handler answers writes.
pub const WRITE: u8 = 2;
/// The handler answers writes, and its route nominates request fields.
pub const WRITE_ALL_FIELDS: u8 = WRITE | ALL_FIELDS;

const ALL_FIELDS: u8 = 1;

/// Stands in for the first argument of a handler, so that the number of arguments stays as it was.
/// It keeps what the cache needs of the request, then extracts that argument.
pub struct Head<T, const KEEP: u8> {
    pub(crate) extracted: T,
    pub(crate) request: RequestHead,
    pub(crate) cache: Cache,
}

/// What the cache needs of a request.
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    /// As the client sent it; nested routers strip their prefixes from the one handlers see.
    pub(crate) uri: Uri,
    pub(crate) fields: HeaderMap,
}

impl RequestHead {
    /// Reads the head and, for a read, makes HEAD the GET whose fields it asks for: the handler
    /// then generates the response that is stored, and axum leaves out the body.
    fn take<const KEEP: u8>(parts: &mut Parts) -> Self {
        let uri = match parts.extensions.get::<OriginalUri>() {
            Some(original) => original.0.clone(),
            None => parts.uri.clone(),
        };
        let fields = if KEEP & ALL_FIELDS == 0 {
            cache_fields(&parts.headers)
        } else {
            parts.headers.clone()
        };
        if KEEP & WRITE == 0 && parts.method == Method::HEAD {
            parts.method = Method::GET;
        }
        Self {
            method: parts.method.clone(),
            uri,
            fields,
        }
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

impl<S, T, const KEEP: u8> FromRequestParts<S> for Head<T, KEEP>
where
    T: FromRequestParts<S>,
    Cache: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = T::Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let request = RequestHead::take::<KEEP>(parts);
        let extracted = T::from_request_parts(parts, state).await?;
        Ok(Self {
            extracted,
            request,
            cache: Cache::from_ref(state),
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
        let head = RequestHead::take::<KEEP>(&mut parts);
        let extracted = T::from_request(Request::from_parts(parts, body), state).await?;
        Ok(Self {
            extracted,
            request: head,
            cache: Cache::from_ref(state),
        })
    }
}

impl<T, const KEEP: u8> fmt::Debug for Head<T, KEEP> {
    /// Says nothing: attributes that log arguments must not log the fields of requests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Head")
    }
}
