//! The source of an argument's value, as its type declares it, and the default key that follows
//! from it.

mod probe;
mod reads_request;
mod values;

use axum::extract::{
    Form, MatchedPath, NestedPath, OriginalUri, Path, Query, RawForm, RawPathParams, RawQuery,
    State,
};
use axum::http::{Method, Uri};
use serde::de::DeserializeOwned;

use crate::cache::Cache;
use crate::key::normal::QueryRule;
use crate::key::part::KeyPart;
use crate::key::reader::UrlReader;
use crate::key::recorder::Recorded;

pub use probe::{
    IsDetermined, MayReadEarly, NotAValue, NotDetermined, NotIdentifying, Probe, read,
};
pub use reads_request::ReadsRequest;
pub use values::{ElementOf, UrlPart, ValueOf};

/// An argument of a handler that is determined by the URL or by the application.
///
/// The response of a `#[cached]` handler may depend on every argument. An argument whose type
/// implements this trait needs no mention in the attribute: the default key holds the part of the
/// URL that determines it. Any other argument must be in `key`, `vary_by` or `ignore`.
///
/// The trait is implemented for the extractors of axum that meet this condition, for `Option`,
/// `Result` and tuples of them, for `Cache` and `Redis`, and with the feature `axum-extra` for the
/// extractors of that crate. Implement it for an extractor of your own if no field, body or
/// extension of a request can change its value, and if it loads no data that evictions concern:
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
    note = "if the response depends on it, say on which value: `vary_by(..)`, or a placeholder in `key`; if \
            it does not: `ignore(..)`",
    note = "implement `Determined` for an extractor of your own if nothing else of a request can \
            change its value",
    note = "if it is an extractor of axum itself, it is one of another version: axum-redis-cache needs \
            axum 0.8, so write `axum = \"0.8\"` in Cargo.toml; `cargo tree -i axum` lists the versions"
)]
pub trait Determined {
    /// The source of the value.
    const BY: Source;

    /// Set if the query or the application alone determines the value.
    #[doc(hidden)]
    const IS_TOLD_BY_QUERY: bool = matches!(Self::BY, Source::App);

    /// Writes the part of the URL that determines the value into the default key. By default, this
    /// is the normalized text of the path, or of the path and query.
    ///
    /// An extractor that wraps another one should write the same, so that different spellings of a
    /// value share an entry:
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// use axum::extract::Path;
    /// use axum_redis_cache::{Determined, Source, UrlReader};
    ///
    /// struct ProductId(u64);
    ///
    /// impl Determined for ProductId {
    ///     const BY: Source = Source::Path;
    ///
    ///     fn read(url: &mut UrlReader<'_>) {
    ///         Path::<u64>::read(url);
    ///     }
    /// }
    /// ```
    fn read(url: &mut UrlReader<'_>) {
        match Self::BY {
            Source::App => {}
            Source::Path => url.path_text(),
            Source::PathAndQuery => {
                url.path_text();
                url.query_text(QueryRule::All);
            }
            Source::Uri => url.exact_uri(),
        }
    }
}

/// The source of an argument's value. A later variant includes the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The application: the value is the same for every request. The method counts as such, because
    /// only GET is answered from a cache.
    App,
    /// The path of the URI. Two requests with the same path have the same value.
    Path,
    /// The path and the query of the URI.
    PathAndQuery,
    /// The URI as it was sent, with its authority and the order of its parameters.
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
    ($($by:ident: [$($param:ident)?] $ty:ty $(, told_by_query: $told:literal, $read:expr)?;)*) => { $(
        impl<$($param)?> Determined for $ty {
            const BY: Source = Source::$by;
            $(const IS_TOLD_BY_QUERY: bool = $told;)?

            $(fn read(url: &mut UrlReader<'_>) {
                let read: fn(&mut UrlReader<'_>) = $read;
                read(url);
            })?
        }
    )* };
}

determined! {
    App: [S] State<S>;
    App: [] Cache;
    App: [] Method;
    Path: [] RawPathParams, told_by_query: false, |url| url.raw_params();
    // The mount of a handler always selects the entry.
    Path: [] MatchedPath, told_by_query: true, |_| {};
    Path: [] NestedPath;
    Uri: [] RawQuery, told_by_query: true, |url| url.exact_query();
    Uri: [] Uri;
    Uri: [] OriginalUri;
    // A GET request has its form in the query.
    Uri: [] RawForm, told_by_query: true, |url| url.exact_query();
}

#[cfg(feature = "redis")]
determined! {
    App: [] crate::store::Redis;
}

/// An extractor whose value can be part of a key, so that all spellings of the value have one key.
///
/// [`UrlValue::read`] is preferred to [`Determined::read`] where the type is a [`KeyPart`].
pub trait UrlValue: Determined {
    /// Writes the value into the default key.
    fn read(url: &mut UrlReader<'_>);
}

impl<T: DeserializeOwned + 'static> Determined for Path<T> {
    const BY: Source = Source::Path;

    fn read(url: &mut UrlReader<'_>) {
        url.path::<T>();
    }
}

impl<T> UrlPart for Path<T> {
    const IS_OF_PATH: bool = true;
    type Of = T;
}

impl<T: DeserializeOwned + KeyPart + Send + 'static> UrlValue for Path<T> {
    fn read(url: &mut UrlReader<'_>) {
        url.path_value::<T>();
    }
}

/// Implements both traits for extractors of the query.
macro_rules! queries {
    ($($wrapper:ty, $recorded:ty, $by:ident;)*) => { $(
        impl<T: DeserializeOwned + 'static> Determined for $wrapper {
            const BY: Source = Source::PathAndQuery;
            const IS_TOLD_BY_QUERY: bool = true;

            fn read(url: &mut UrlReader<'_>) {
                let recorded = <$recorded>::try_from_uri(url.uri());
                url.query(recorded.ok().map(|recorded| recorded.0.text));
                url.note_spellings::<T>();
            }
        }

        impl<T> UrlPart for $wrapper {
            const IS_OF_PATH: bool = false;
            type Of = T;
        }

        impl<T: DeserializeOwned + KeyPart + 'static> UrlValue for $wrapper {
            fn read(url: &mut UrlReader<'_>) {
                let value = $by::<T>::try_from_uri(url.uri());
                url.query_value(value.ok().map(|value| value.0).as_ref());
            }
        }
    )* };
}

queries! {
    Query<T>, Query<Recorded<T>>, Query;
    Form<T>, Query<Recorded<T>>, Query;
}

/// Implements both traits for wrappers of an extractor. If an `Option` or a `Result` holds no
/// value, the key holds the text that was sent.
macro_rules! wrappers {
    ($([$($param:ident)?] $ty:ty;)*) => { $(
        impl<T: Determined $(, $param)?> Determined for $ty {
            const BY: Source = T::BY;
            const IS_TOLD_BY_QUERY: bool = T::IS_TOLD_BY_QUERY;

            fn read(url: &mut UrlReader<'_>) {
                T::read(url);
            }
        }

        impl<T: UrlValue $(, $param)?> UrlValue for $ty {
            fn read(url: &mut UrlReader<'_>) {
                <T as UrlValue>::read(url);
            }
        }
    )* };
}

wrappers! {
    [] Option<T>;
    [E] Result<T, E>;
}

#[cfg(feature = "aide")]
wrappers! {
    [] aide::NoApi<T>;
    [A] aide::UseApi<T, A>;
}

#[cfg(feature = "axum-extra")]
mod extra {
    use axum_extra::either::Either;
    use axum_extra::extract::{Cached, Form, OptionalQuery, Query, WithRejection};

    use super::{
        DeserializeOwned, Determined, KeyPart, Recorded, Source, UrlPart, UrlReader, UrlValue,
    };

    queries! {
        Query<T>, Query<Recorded<T>>, Query;
        Form<T>, Query<Recorded<T>>, Query;
    }

    impl<T: DeserializeOwned + 'static> Determined for OptionalQuery<T> {
        const BY: Source = Source::PathAndQuery;
        const IS_TOLD_BY_QUERY: bool = true;

        fn read(url: &mut UrlReader<'_>) {
            url.optional_query(|uri| {
                let recorded = Query::<Recorded<T>>::try_from_uri(uri);
                recorded.ok().map(|recorded| recorded.0.text)
            });
            url.note_spellings::<T>();
        }
    }

    wrappers! {
        [] Cached<T>;
        [R] WithRejection<T, R>;
    }

    impl<L: Determined, R: Determined> Determined for Either<L, R> {
        const BY: Source = L::BY.max(R::BY);

        fn read(url: &mut UrlReader<'_>) {
            L::read(url);
            R::read(url);
        }
    }
}

macro_rules! tuples {
    ($($ty:ident)*) => {
        impl<$($ty: Determined),*> Determined for ($($ty,)*) {
            const BY: Source = Source::App$(.max($ty::BY))*;
            const IS_TOLD_BY_QUERY: bool = true $(&& $ty::IS_TOLD_BY_QUERY)*;

            fn read(_url: &mut UrlReader<'_>) {
                $(<$ty as Determined>::read(_url);)*
            }
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

/// Returns whether the value is determined by the URL, so that a key template must hold it.
pub const fn is_by_url(by: Option<Source>) -> bool {
    matches!(by, Some(Source::Path | Source::PathAndQuery | Source::Uri))
}

/// Returns whether the query can change the value.
pub const fn sees_query(by: Option<Source>) -> bool {
    matches!(by, Some(Source::PathAndQuery | Source::Uri))
}
