//! Extractors that read only the request, so that no eviction concerns their data.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Version};

/// An extractor that reads only the request, and no data that can change.
///
/// Extractors run before the cache lookup, so an extractor can load data that is evicted before the
/// handler starts. A response made from such data is stored only with a proof that no eviction
/// happened in between. A handler whose extractors all implement this trait needs no proof.
/// Implement it for an extractor of your own that reads fields, cookies or a token, and neither a
/// database nor a state that can change:
///
/// ```
/// use std::convert::Infallible;
///
/// use axum::extract::FromRequestParts;
/// use axum::http::request::Parts;
/// use axum_redis_cache::{ReadsRequest, cached};
///
/// struct Language(String);
///
/// impl<S: Sync> FromRequestParts<S> for Language {
///     type Rejection = Infallible;
///
///     async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
///         let field = parts.headers.get("accept-language");
///         let language = field.and_then(|field| field.to_str().ok());
///         Ok(Self(language.unwrap_or("en").to_owned()))
///     }
/// }
///
/// impl ReadsRequest for Language {}
///
/// #[cached(ttl = 60, vary_by(language.0))]
/// async fn greeting(language: Language) -> String {
///     format!("a greeting in {}", language.0)
/// }
/// ```
pub trait ReadsRequest {}

impl ReadsRequest for HeaderMap {}
impl ReadsRequest for Version {}
impl<T> ReadsRequest for ConnectInfo<T> {}

impl ReadsRequest for Body {}
impl ReadsRequest for Bytes {}
impl ReadsRequest for Request {}
impl ReadsRequest for String {}
impl<T> ReadsRequest for Json<T> {}

impl<T: ReadsRequest> ReadsRequest for Option<T> {}
impl<T: ReadsRequest, E> ReadsRequest for Result<T, E> {}

#[cfg(feature = "axum-extra")]
impl<T> ReadsRequest for axum_extra::TypedHeader<T> {}
