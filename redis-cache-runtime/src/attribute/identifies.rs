//! Extractors that identify the caller.

use axum::Extension;

/// An extractor, or the type of an `Extension`, that identifies the caller.
///
/// The response to a request with `Authorization` is stored only if the key identifies the caller.
/// A value in `key` or `vary_by` does so if the type of its argument implements this trait: a user,
/// a session, a token. A language or a tenant does not identify a caller, so its type must not
/// implement the trait. Neither does an `Option` of a caller, because all unknown callers have the
/// same value. If a value has several fields, use the field that differs between callers.
///
/// ```
/// use axum::Extension;
/// use axum_redis_cache::{IdentifiesCaller, cached};
///
/// #[derive(Clone)]
/// struct User {
///     id: u64,
/// }
///
/// impl IdentifiesCaller for User {}
///
/// #[cached(ttl = 60, vary_by(user.id), private)]
/// async fn dashboard(Extension(user): Extension<User>) -> String {
///     format!("the dashboard of {}", user.id)
/// }
/// ```
///
/// With the feature `axum-extra`, the trait is implemented for the `Authorization` header of that
/// crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known to identify the caller",
    note = "implement `IdentifiesCaller` for it if two callers never have the same value"
)]
pub trait IdentifiesCaller {}

impl<T: IdentifiesCaller> IdentifiesCaller for Extension<T> {}

#[cfg(feature = "aide")]
impl<T: IdentifiesCaller> IdentifiesCaller for aide::NoApi<T> {}

#[cfg(feature = "aide")]
impl<T: IdentifiesCaller, A> IdentifiesCaller for aide::UseApi<T, A> {}

#[cfg(feature = "axum-extra")]
impl<C: axum_extra::headers::authorization::Credentials> IdentifiesCaller
    for axum_extra::TypedHeader<axum_extra::headers::Authorization<C>>
{
}

#[cfg(feature = "axum-extra")]
impl<T: IdentifiesCaller> IdentifiesCaller for axum_extra::extract::Cached<T> {}

#[cfg(feature = "axum-extra")]
impl<T: IdentifiesCaller, R> IdentifiesCaller for axum_extra::extract::WithRejection<T, R> {}
