//! Extractors that read the request alone.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Version};

/// An extractor that reads the request alone, and nothing that can change.
///
/// Extractors run before the cache is asked. What an extractor loads may be evicted before the handler
/// starts, and is then not stored, which takes a proof. An extractor of this trait needs none. Implement it
/// for an extractor of your own that reads fields, cookies or a token, and neither a database nor a state
/// that can change:
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
