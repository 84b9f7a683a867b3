//! Parts of a response by which a handler controls the cache.

use std::convert::Infallible;

use axum::response::{IntoResponseParts, ResponseParts};

/// A response part that keeps this one response out of the cache. It is not sent to clients.
///
/// A handler returns it with a response that must not be reused for a reason that only the handler knows,
/// such as a page with a part that could not be loaded:
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use axum_redis_cache::{DoNotStore, cached};
///
/// #[cached(ttl = 60)]
/// async fn page() -> Response {
///     match recommendations().await {
///         Some(recommendations) => format!("page with {recommendations}").into_response(),
///         None => (DoNotStore, "page").into_response(),
///     }
/// }
/// # async fn recommendations() -> Option<String> { None }
/// ```
///
/// The response has `X-Redis-Cache: BYPASS`. An entry that is already stored remains. With
/// `#[cache_put]`, the write evicts the entry instead of replacing it. A handler without these attributes
/// may return `DoNotStore`, too, but without any effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoNotStore;

impl IntoResponseParts for DoNotStore {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        response.extensions_mut().insert(self);
        Ok(response)
    }
}
