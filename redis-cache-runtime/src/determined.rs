//! What an argument of a handler is determined by, as its type says it.

use axum::extract::{
    Form, MatchedPath, NestedPath, OriginalUri, Path, Query, RawForm, RawPathParams, RawQuery,
    State,
};
use axum::http::{Method, Uri};

use crate::cache::Cache;

/// An argument of a handler that is determined by the URL or by the application.
///
/// The response of a `#[cached]` handler may depend on every argument. One of a type that
/// implements this trait needs no mention in the attribute: the default key holds what it is
/// determined by. Any other must be in `key`, `vary_by` or `ignore`.
///
/// It is implemented for the extractors of axum that it is true of, for `Option`, `Result` and
/// tuples of them, for `Cache` and `Redis`, and with the feature `axum-extra` for those of that crate. Implement it for an
/// extractor of your own if no field, body or extension of a request can change its value:
///
/// ```
/// use std::convert::Infallible;
///
/// use axum::extract::{FromRequestParts, Query};
/// use axum::http::request::Parts;
/// use axum_redis_cache::{Determined, Source};
///
/// struct Page(u32);
///
/// impl<S: Sync> FromRequestParts<S> for Page {
///     type Rejection = Infallible;
///
///     async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
///         let page = parts.uri.query().and_then(|query| query.strip_prefix("page="));
///         Ok(Self(page.and_then(|page| page.parse().ok()).unwrap_or(0)))
///     }
/// }
///
/// impl Determined for Page {
///     const BY: Source = Source::PathAndQuery;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known to be determined by the URL or by the application",
    note = "if the response depends on it, say on what: `vary_by(..)`, or a placeholder in `key`; if \
            it does not: `ignore(..)`",
    note = "implement `Determined` for an extractor of your own if nothing else of a request can \
            change its value"
)]
pub trait Determined {
    /// What determines the value.
    const BY: Source;
}

/// What determines the value of an argument: the more, the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The application, whatever is requested. So is the method: only GET is answered from a cache.
    App,
    /// The path of the URI. Two requests of the same path have the same value.
    Path,
    /// The path and the query of the URI. The default key of a handler with such an argument holds
    /// the query.
    PathAndQuery,
    /// The URI as it was sent, with its authority and the order of its parameters. The default key
    /// of a handler with such an argument holds them.
    Uri,
}

impl Source {
    const fn max(self, other: Self) -> Self {
        if self as u8 > other as u8 {
            self
        } else {
            other
        }
    }
}

macro_rules! determined {
    ($($by:ident: [$($param:ident)?] $ty:ty;)*) => { $(
        impl<$($param)?> Determined for $ty {
            const BY: Source = Source::$by;
        }
    )* };
}

determined! {
    App: [S] State<S>;
    App: [] Cache;
    App: [] Method;
    Path: [T] Path<T>;
    Path: [] RawPathParams;
    Path: [] MatchedPath;
    Path: [] NestedPath;
    PathAndQuery: [T] Query<T>;
    Uri: [] RawQuery;
    Uri: [] Uri;
    Uri: [] OriginalUri;
    // A GET has its form in the query.
    PathAndQuery: [T] Form<T>;
    Uri: [] RawForm;
}

#[cfg(feature = "redis")]
determined! {
    App: [] crate::store::Redis;
}

#[cfg(feature = "axum-extra")]
determined! {
    PathAndQuery: [T] axum_extra::extract::Query<T>;
    PathAndQuery: [T] axum_extra::extract::OptionalQuery<T>;
    PathAndQuery: [T] axum_extra::extract::Form<T>;
}

#[cfg(feature = "axum-extra")]
impl<T: Determined> Determined for axum_extra::extract::Cached<T> {
    const BY: Source = T::BY;
}

#[cfg(feature = "axum-extra")]
impl<T: Determined, R> Determined for axum_extra::extract::WithRejection<T, R> {
    const BY: Source = T::BY;
}

#[cfg(feature = "axum-extra")]
impl<L: Determined, R: Determined> Determined for axum_extra::either::Either<L, R> {
    const BY: Source = L::BY.max(R::BY);
}

impl<T: Determined> Determined for Option<T> {
    const BY: Source = T::BY;
}

impl<T: Determined, E> Determined for Result<T, E> {
    const BY: Source = T::BY;
}

macro_rules! tuples {
    ($($ty:ident)*) => {
        impl<$($ty: Determined),*> Determined for ($($ty,)*) {
            const BY: Source = Source::App$(.max($ty::BY))*;
        }
    };
}

tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);
tuples!(A B C D E F G H I J K L M);
tuples!(A B C D E F G H I J K L M N);
tuples!(A B C D E F G H I J K L M N O);
tuples!(A B C D E F G H I J K L M N O P);

/// Is well-formed if values of the type are determined by the URL or by the application.
#[derive(Debug)]
pub struct IsDetermined<T: Determined>(std::marker::PhantomData<T>);

/// Asks a type that may not implement [`Determined`] what it is determined by: `Probe::<T>::BY`,
/// with [`NotDetermined`] in scope.
#[derive(Debug)]
pub struct Probe<T>(std::marker::PhantomData<T>);

impl<T: Determined> Probe<T> {
    /// What determines a value of the type.
    pub const BY: Option<Source> = Some(T::BY);
}

/// What [`Probe`] answers for every other type.
pub trait NotDetermined {
    /// Nothing that is known.
    const BY: Option<Source> = None;
}

impl<T> NotDetermined for Probe<T> {}

/// Whether the value is determined by the URL, so that a key template must hold it.
pub const fn is_by_url(by: Option<Source>) -> bool {
    matches!(by, Some(Source::Path | Source::PathAndQuery | Source::Uri))
}

/// Whether the query can change the value.
pub const fn sees_query(by: Option<Source>) -> bool {
    matches!(by, Some(Source::PathAndQuery | Source::Uri))
}
