//! The three attributes at run time: how a request is answered.

pub(crate) mod body;
mod cache_groups;
mod cache_status;
pub(crate) mod evict;
mod explain;
pub(crate) mod fill;
pub(crate) mod flight;
pub(crate) mod outcome;
pub(crate) mod pending;
pub(crate) mod read;
mod respond;
mod reuse;
pub(crate) mod run;
mod search;
pub(crate) mod value;
pub(crate) mod write;
pub(crate) mod writer;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;

use crate::http::conditional::is_not_modified;
use crate::http::fields::{add_vary, retain_for_not_modified};
use crate::route::Route;

/// A future whose type does not name what is in it: compiled here, not for each handler.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Passes on a response that is not stored. What the route declared about clients holds for it too,
/// unless the handler says something itself.
pub(crate) fn pass_on(route: &Route, mut response: Response) -> Response {
    let fields = response.headers_mut();
    add_vary(fields, route.store.vary);
    if !fields.contains_key(header::CACHE_CONTROL)
        && let Some(directive) = route.client.restriction()
    {
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(directive));
    }
    response
}

/// The body of a 304. Its length is not known, so that no `Content-Length: 0` is made of it, which
/// would have to be the length of the body it stands for (RFC 9110 §8.6).
struct NoBody;

impl HttpBody for NoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// Completes a response that clients may store, and makes it a 304 when that is all they need.
pub(crate) fn complete(
    response: &mut Response,
    request: Option<&HeaderMap>,
    cache_control: HeaderValue,
) {
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, cache_control);
    let (status, fields) = (response.status(), response.headers());
    if request.is_some_and(|request| is_not_modified(request, status, fields)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let fields = std::mem::take(response.headers_mut());
        *response.headers_mut() = retain_for_not_modified(fields);
        *response.body_mut() = Body::new(NoBody);
    }
}
