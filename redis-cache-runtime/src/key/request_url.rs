//! The URL of a request, as extractors see it.

use std::fmt;
use std::sync::Arc;

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, MatchedPath, NestedPath, OriginalUri, Path};
use axum::http::Uri;
use axum::http::request::Parts;
use futures_util::FutureExt;
use serde::de::{Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use smallvec::SmallVec;

use super::normal::normalize_percent;
use crate::key::registry::MountPath;

/// The URL of a request, as extractors see it.
#[derive(Debug)]
pub(crate) enum RequestUrl<'a> {
    /// The URL in the `Parts` of the request. They are borrowed mutably but never changed: only an
    /// extractor gets the parameters of the path from axum.
    InParts(&'a mut Parts),
    Copied(&'a UrlCopy),
}

impl RequestUrl<'_> {
    /// Returns the URI without the prefixes of nested routers.
    pub(crate) fn uri(&self) -> &Uri {
        match self {
            Self::InParts(parts) => &parts.uri,
            Self::Copied(url) => &url.uri,
        }
    }

    /// Returns the URI that extractors see, and the original URI of the client if it differs.
    pub(crate) fn uris(&self) -> impl Iterator<Item = &Uri> {
        let original = match self {
            Self::InParts(parts) => parts.extensions.get().map(|OriginalUri(uri)| uri),
            Self::Copied(url) => url.original.as_ref(),
        };
        let uri = self.uri();
        let original = original.filter(|original| *original != uri);
        std::iter::once(uri).chain(original)
    }

    /// Returns the mount of the handler.
    pub(crate) fn mount(&self) -> MountPath<'_> {
        let matched = match self {
            Self::InParts(parts) => parts.extensions.get(),
            Self::Copied(url) => url.matched.as_ref(),
        };
        match matched {
            Some(matched) => MountPath {
                path: MatchedPath::as_str(matched),
                is_fallback: false,
            },
            None => MountPath {
                path: self.nest(),
                is_fallback: true,
            },
        }
    }

    /// Returns the path at which the router of the handler is nested; empty if it is not nested.
    pub(crate) fn nest(&self) -> &str {
        let nested = match self {
            Self::InParts(parts) => parts.extensions.get(),
            Self::Copied(url) => url.nested.as_ref(),
        };
        nested.map_or("", NestedPath::as_str)
    }

    /// Returns the only parameter of the path, if there is exactly one and it is of that type.
    pub(crate) fn only_param<T: DeserializeOwned + Send>(&mut self) -> Option<T> {
        let Self::InParts(parts) = self else {
            return None;
        };
        let extracted = Path::<T>::from_request_parts(parts, &()).now_or_never()?;
        extracted.ok().map(|Path(value)| value)
    }

    pub(crate) fn params(&mut self) -> Params {
        match self {
            Self::InParts(parts) => Params::of(parts),
            Self::Copied(url) => url.params.clone(),
        }
    }
}

/// A copy of the URL of a request.
#[derive(Debug, Default)]
pub(crate) struct UrlCopy {
    uri: Uri,
    original: Option<Uri>,
    matched: Option<MatchedPath>,
    nested: Option<NestedPath>,
    params: Params,
}

impl UrlCopy {
    pub(crate) fn of(parts: &mut Parts) -> Arc<Self> {
        let params = Params::of(parts);
        let original = parts.extensions.get::<OriginalUri>();
        Arc::new(Self {
            uri: parts.uri.clone(),
            original: original.map(|OriginalUri(uri)| uri.clone()),
            matched: parts.extensions.get().cloned(),
            nested: parts.extensions.get().cloned(),
            params,
        })
    }

    /// Parses a path and query, for a handler that reads no parameters of the path.
    pub(crate) fn of_text(text: &str) -> Self {
        Self {
            uri: normalize_percent(text).parse().unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// The parameters of a path, decoded, in the order of the route. They are copied, because axum passes
/// them only to a type that it deserializes. A few short parameters need no allocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    text: SmallVec<[u8; 32]>,
    /// The ends of each name and each value.
    ends: SmallVec<[(usize, usize); 1]>,
    /// A parameter is not UTF-8, so no parameter is kept.
    is_malformed: bool,
}

impl Params {
    fn of(parts: &mut Parts) -> Self {
        // The extraction never waits.
        match Path::<Self>::from_request_parts(parts, &()).now_or_never() {
            Some(Ok(Path(params))) => params,
            Some(Err(PathRejection::FailedToDeserializePathParams(error))) => Self {
                is_malformed: matches!(error.kind(), ErrorKind::InvalidUtf8InPathParam { .. }),
                ..Self::default()
            },
            Some(Err(_)) | None => Self::default(),
        }
    }

    /// Returns the names and the values.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |(name, value)| {
            let pair = (self.text(start, *name), self.text(*name, *value));
            start = *value;
            pair
        })
    }

    fn text(&self, start: usize, end: usize) -> &str {
        let text = self.text.get(start..end).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    pub(crate) fn is_malformed(&self) -> bool {
        self.is_malformed
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParamsVisitor)
    }
}

struct ParamsVisitor;

impl<'de> Visitor<'de> for ParamsVisitor {
    type Value = Params;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parameters of a path")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
        let mut params = Params::default();
        while map.next_key_seed(Append(&mut params.text))?.is_some() {
            let name = params.text.len();
            map.next_value_seed(Append(&mut params.text))?;
            params.ends.push((name, params.text.len()));
        }
        Ok(params)
    }
}

/// A visitor that appends a string.
struct Append<'a>(&'a mut SmallVec<[u8; 32]>);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
