//! The three attributes at run time: how a request is answered.

pub(crate) mod body;
mod cache_groups;
mod cache_status;
pub(crate) mod copies;
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
pub(crate) mod turns;
pub(crate) mod value;
mod waits;
pub(crate) mod write;
pub(crate) mod writer;

use std::pin::Pin;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::http::conditional::is_not_modified;
use crate::http::fields::{add_vary, retain_for_not_modified};
use crate::request::RequestFields;
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

/// Completes a response that clients may store, and makes it a 304 when that is all they need.
///
/// The body of a 304 has a length, which is 0, so that no layer compresses it. Where a `Content-Length`
/// is sent with it, it is that of the body it stands for, if that is known (RFC 9110 §8.6).
pub(crate) fn complete(
    response: &mut Response,
    length: Option<u64>,
    request: Option<&RequestFields>,
    cache_control: HeaderValue,
) {
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, cache_control);
    let (status, fields) = (response.status(), response.headers());
    let Some(request) = request.filter(|it| is_not_modified(&it.map, status, fields)) else {
        return;
    };
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let fields = std::mem::take(response.headers_mut());
    *response.headers_mut() = retain_for_not_modified(fields);
    *response.body_mut() = Body::empty();
    if let Some(length) = length.filter(|_| request.is_told_lengths) {
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_LENGTH, length.into());
    }
}
