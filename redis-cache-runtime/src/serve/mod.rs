//! The three attributes at run time: how a request is answered.

pub(crate) mod body;
pub(crate) mod evict;
pub(crate) mod fill;
pub(crate) mod read;
pub(crate) mod write;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::http::conditional::is_not_modified;
use crate::http::fields::{X_REDIS_CACHE, retain_for_not_modified};

/// How the cache answered, as `X-Redis-Cache` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From the stored response.
    Hit,
    /// By the handler, because there was no stored response to reuse.
    Miss,
    /// By the handler, past the cache.
    Bypass,
}

impl Outcome {
    fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Bypass => "BYPASS",
        })
    }

    /// Labels a response that is otherwise left as the handler made it.
    pub(crate) fn label(self, mut response: Response) -> Response {
        response.headers_mut().insert(X_REDIS_CACHE, self.value());
        response
    }
}

/// Completes a response that clients may store, and makes it a 304 when that is all they need.
pub(crate) fn complete(
    response: &mut Response,
    request: Option<&HeaderMap>,
    cache_control: HeaderValue,
    outcome: Outcome,
) {
    let fields = response.headers_mut();
    fields.insert(X_REDIS_CACHE, outcome.value());
    fields.insert(header::CACHE_CONTROL, cache_control);
    let (status, fields) = (response.status(), response.headers());
    if request.is_some_and(|request| is_not_modified(request, status, fields)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let fields = std::mem::take(response.headers_mut());
        *response.headers_mut() = retain_for_not_modified(fields);
        *response.body_mut() = Body::empty();
    }
}
