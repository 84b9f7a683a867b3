//! What a request asks for, as far as a URL can say it.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, MatchedPath, OriginalUri, RawPathParams};
use axum::http::Uri;
use axum::http::request::Parts;

/// The URL of a request, as extractors see it.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Without the prefixes of nested routers.
    pub(crate) uri: Uri,
    /// The URI that came from the client, where it is another.
    pub(crate) original: Option<Box<Uri>>,
    /// The route that it matched; `None` in a fallback.
    matched: Option<MatchedPath>,
    params: Params,
}

#[derive(Debug, Default)]
enum Params {
    #[default]
    None,
    Decoded(RawPathParams),
    /// One of them is not UTF-8.
    Malformed,
}

impl Asked {
    pub(crate) async fn of(parts: &mut Parts) -> Arc<Self> {
        let params = match RawPathParams::from_request_parts(parts, &()).await {
            Ok(params) => Params::Decoded(params),
            Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => Params::Malformed,
            Err(_) => Params::None,
        };
        let original = parts.extensions.get::<OriginalUri>();
        let original = original.filter(|original| original.0 != parts.uri);
        Arc::new(Self {
            uri: parts.uri.clone(),
            original: original.map(|original| Box::new(original.0.clone())),
            matched: parts.extensions.get::<MatchedPath>().cloned(),
            params,
        })
    }

    /// What a path and query in a text ask for, of a handler that reads nothing of the path.
    pub(crate) fn of_text(text: &str) -> Self {
        let text = super::normal::normalize_percent(text);
        Self {
            uri: text.parse().unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The matched path, by which a handler is mounted.
    pub(crate) fn mount(&self) -> &str {
        self.matched.as_ref().map_or("", MatchedPath::as_str)
    }

    /// The parameters of the path, decoded, in the order of the route.
    pub(crate) fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        match &self.params {
            Params::Decoded(params) => Some(params.iter()),
            Params::None | Params::Malformed => None,
        }
        .into_iter()
        .flatten()
    }

    /// Returns whether a parameter cannot be decoded, so that only the text of the path tells it.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self.params, Params::Malformed)
    }
}
