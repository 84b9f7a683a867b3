//! What a request asks for, as far as a URL can say it.

use std::fmt;
use std::sync::Arc;

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, MatchedPath, OriginalUri, Path};
use axum::http::request::Parts;
use axum::http::{Extensions, Uri};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};
use smallvec::SmallVec;

use super::normal::normalize_percent;

/// The URL of a request, as extractors see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Without the prefixes of nested routers.
    pub(crate) uri: &'a Uri,
    original: Original<'a>,
    /// The matched path, by which a handler is mounted; empty in a fallback.
    pub(crate) mount: &'a str,
    pub(crate) params: &'a Params,
}

/// The URI as it came from the client.
#[derive(Clone, Copy, Debug)]
enum Original<'a> {
    /// Looked for when it is needed, which is seldom.
    In(&'a Extensions),
    Is(Option<&'a Uri>),
}

impl<'a> Asked<'a> {
    pub(crate) fn of(parts: &'a Parts, params: &'a Params) -> Self {
        let matched = parts.extensions.get::<MatchedPath>();
        Self {
            uri: &parts.uri,
            original: Original::In(&parts.extensions),
            mount: matched.map_or("", MatchedPath::as_str),
            params,
        }
    }

    /// The URI that extractors see, and the one that came from the client where it is another.
    pub(crate) fn uris(&self) -> impl Iterator<Item = &'a Uri> {
        let original = match self.original {
            Original::In(extensions) => extensions.get().map(|OriginalUri(uri)| uri),
            Original::Is(original) => original,
        };
        let original = original.filter(|original| *original != self.uri);
        std::iter::once(self.uri).chain(original)
    }
}

/// The URL of a request, kept for later.
#[derive(Debug, Default)]
pub struct KeptUrl {
    uri: Uri,
    original: Option<Uri>,
    matched: Option<MatchedPath>,
    params: Params,
}

impl KeptUrl {
    pub(crate) fn of(parts: &Parts, params: Params) -> Arc<Self> {
        let original = parts.extensions.get::<OriginalUri>();
        Arc::new(Self {
            uri: parts.uri.clone(),
            original: original.map(|OriginalUri(uri)| uri.clone()),
            matched: parts.extensions.get().cloned(),
            params,
        })
    }

    /// What a path and query in a text ask for, of a handler that reads nothing of the path.
    pub(crate) fn of_text(text: &str) -> Self {
        Self {
            uri: normalize_percent(text).parse().unwrap_or_default(),
            ..Self::default()
        }
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked {
            uri: &self.uri,
            original: Original::Is(self.original.as_ref()),
            mount: self.matched.as_ref().map_or("", MatchedPath::as_str),
            params: &self.params,
        }
    }
}

/// The parameters of a path, decoded, in the order of the route. Copied, because axum lends them to a
/// type that it deserializes only; few and short ones need no allocation.
#[derive(Clone, Debug, Default)]
pub struct Params {
    text: SmallVec<[u8; 32]>,
    /// Where each name and each value ends.
    ends: SmallVec<[(usize, usize); 1]>,
    /// One of them is not UTF-8, so that there are none here.
    is_malformed: bool,
}

impl Params {
    pub(crate) async fn of(parts: &mut Parts) -> Self {
        match Path::<Self>::from_request_parts(parts, &()).await {
            Ok(Path(params)) => params,
            Err(PathRejection::FailedToDeserializePathParams(error)) => Self {
                is_malformed: matches!(error.kind(), ErrorKind::InvalidUtf8InPathParam { .. }),
                ..Self::default()
            },
            Err(_) => Self::default(),
        }
    }

    /// Names and values.
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

/// Appends a text.
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
