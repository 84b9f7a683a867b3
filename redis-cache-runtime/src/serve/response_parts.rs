//! Parts of a response with which a handler tells the cache what only it knows.

use std::convert::Infallible;

use axum::response::{IntoResponseParts, ResponseParts};

/// Keeps a response out of the cache, this time. Clients do not see it.
///
/// A handler returns it beside the response when it alone knows that the response must not be reused,
/// such as a part of a page that could not be loaded:
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
/// The response has `X-Redis-Cache: BYPASS`. A stored entry stays. With `#[cache_put]`, the write evicts
/// the entry instead of replacing it. A handler without `#[cached]` may return it, too; it then has no
/// effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoNotStore;

impl IntoResponseParts for DoNotStore {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        response.extensions_mut().insert(self);
        Ok(response)
    }
}
