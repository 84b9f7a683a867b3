//! The part of a request that the cache needs, taken before the arguments are extracted.

use std::fmt;
use std::sync::{Arc, LazyLock};

use axum::extract::OriginalUri;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Version, header};
use futures_util::future::BoxFuture;

use super::explanation::ExplanationSlot;
use super::route::Route;
use super::route::read_url::ReadUrl;
use crate::engine::Engine;
use crate::engine::seen_nonces::Tick;
use crate::http::directives::RequestDirectives;
use crate::http::storable::NotStorable;
use crate::key::request_url::{RequestUrl, UrlCopy};

/// Keeps every field, because the route nominates some.
pub const ALL_FIELDS: u8 = 1;
/// Marks a write, for which HEAD stays HEAD.
pub const WRITE: u8 = 2;
/// Keeps the whole head, for a key function or a `bypass` function.
pub const PARTS: u8 = 4;
/// Marks arguments that may read data which can change.
const PROOF: u8 = 8;

/// Returns the flag for arguments that may read data which can change, of a write without a route.
pub const fn proof_if(reads_early: bool) -> u8 {
    if reads_early { PROOF } else { 0 }
}

/// The part of the URL that a handler needs.
#[derive(Clone, Copy, Debug)]
pub enum NeededUrl {
    /// Nothing.
    Nothing,
    /// All of it.
    Whole,
    /// The values that the handler of a route reads.
    Values(fn() -> &'static Route),
}

/// The part of the URL that is copied from a request.
#[derive(Clone, Debug, Default)]
pub(crate) enum Url {
    /// Nothing.
    #[default]
    None,
    /// All of it.
    Copied(Arc<UrlCopy>),
    /// The values that the handler reads.
    Read(ReadUrl),
}

/// The part of a request that the cache needs, and the engine of the cache.
#[derive(Clone)]
pub struct CacheRequest {
    pub(crate) head: RequestHead,
    pub(crate) engine: Engine,
}

/// The part of a request that the cache needs. It must stay small: every future on the way moves
/// it.
#[derive(Clone)]
pub(crate) struct RequestHead {
    pub(crate) url: Url,
    pub(crate) method: MethodKind,
    /// The tick before the extractors ran; `None`: no eviction concerns the data that they read.
    pub(crate) read_since: Option<Tick>,
    /// The whole head, for a key function or a `bypass` function; otherwise `None`.
    pub(crate) parts: Option<Box<Parts>>,
    /// The fields that the cache reads; `None`: there are none, as in most requests, and the
    /// request is not to be explained.
    pub(crate) fields: Option<Box<RequestFields>>,
}

/// The kind of a method (RFC 9110 §9.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodKind {
    /// GET, or HEAD.
    Read,
    /// Another safe method.
    Safe,
    Unsafe,
}

/// The fields of a request that the cache reads, and its directives.
#[derive(Clone)]
pub(crate) struct RequestFields {
    pub(crate) map: HeaderMap,
    pub(crate) directives: RequestDirectives,
    /// The slot for an explanation, if the request is to be explained.
    pub(crate) explanation_slot: Option<ExplanationSlot>,
    /// A response without content may have the `Content-Length` of the content that it stands for:
    /// over HTTP/1, only the response to a HEAD request may.
    pub(crate) receives_length: bool,
}

impl CacheRequest {
    /// Takes the part of a request that the cache needs. `keep` is a union of the flags above.
    pub(crate) fn take(url: NeededUrl, keep: u8, parts: &mut Parts, engine: Engine) -> Self {
        let url = match url {
            NeededUrl::Nothing => Url::None,
            NeededUrl::Whole => Url::Copied(UrlCopy::of(parts)),
            NeededUrl::Values(route) => Url::Read(route().read_url(RequestUrl::InParts(parts))),
        };
        let head = RequestHead::take(keep, parts, url, &engine);
        Self { head, engine }
    }

    /// Records the tick before the arguments are extracted, if one of them may read data which can
    /// change. Returns the work that must be done before the extraction, if there is any.
    pub(crate) fn before_extraction(
        &mut self,
        url: NeededUrl,
        keep: u8,
    ) -> Option<BoxFuture<'static, ()>> {
        let reads_early = match url {
            NeededUrl::Values(route) => route().reads_early,
            NeededUrl::Nothing | NeededUrl::Whole => keep & PROOF != 0,
        };
        if !reads_early {
            return None;
        }
        self.head.read_since = Some(self.engine.client().tick());
        self.engine.client().prepare_proof(keep & WRITE != 0)
    }

    /// Records the tick again, after that work is done.
    pub(crate) fn extraction_begins(&mut self) {
        self.head.read_since = Some(self.engine.client().tick());
    }
}

impl RequestHead {
    /// Takes the head. For a read, a HEAD request becomes the GET request that it corresponds to:
    /// the handler then generates the response that is stored, and axum leaves out the body.
    fn take(keep: u8, parts: &mut Parts, url: Url, engine: &Engine) -> Self {
        if !engine.obeys_requests() {
            // A server may ignore the field (RFC 9110 §14.2).
            parts.headers.remove(header::RANGE);
        }
        let map = if keep & ALL_FIELDS == 0 {
            cache_fields(&parts.headers)
        } else {
            parts.headers.clone()
        };
        let explanation_slot = ExplanationSlot::of(&parts.extensions);
        let fields = (!map.is_empty() || explanation_slot.is_some()).then(|| {
            let directives = engine.directives(&map);
            Box::new(RequestFields {
                map,
                directives,
                explanation_slot,
                receives_length: parts.method == Method::HEAD || parts.version > Version::HTTP_11,
            })
        });
        if keep & WRITE == 0 && parts.method == Method::HEAD {
            parts.method = Method::GET;
        }
        let kept = (keep & PARTS != 0).then(|| {
            let mut kept = Box::new(parts.clone());
            if let Some(original) = parts.extensions.get::<OriginalUri>() {
                kept.uri = original.0.clone();
            }
            kept
        });
        Self {
            method: match &parts.method {
                &Method::GET => MethodKind::Read,
                method if method.is_safe() || method.as_str() == "QUERY" => MethodKind::Safe,
                _ => MethodKind::Unsafe,
            },
            url,
            read_since: None,
            parts: kept,
            fields,
        }
    }

    /// Returns the copy of the URL, or an empty URL if there is no copy.
    pub(crate) fn request_url(&self) -> RequestUrl<'_> {
        static NOTHING: LazyLock<UrlCopy> = LazyLock::new(UrlCopy::default);
        match &self.url {
            Url::Copied(url) => RequestUrl::Copied(url),
            Url::None | Url::Read(_) => RequestUrl::Copied(&NOTHING),
        }
    }

    /// Returns an error if the request may not use the cache. A request without fields that the
    /// cache reads may use it.
    pub(crate) fn check(&self, route: &Route) -> Result<(), NotStorable> {
        if let Some(parts) = self.parts.as_deref()
            && route.is_bypassed_by(parts)
        {
            return Err(NotStorable::Bypass);
        }
        match self.fields.as_deref() {
            Some(fields) => route.store.check_request(&fields.map, &fields.directives),
            None => Ok(()),
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        self.method == MethodKind::Read
    }

    /// Returns the fields that the cache reads, including preconditions and nominated fields.
    pub(crate) fn map(&self) -> Option<&HeaderMap> {
        self.fields.as_deref().map(|fields| &fields.map)
    }

    /// Returns whether the client accepts only a stored response.
    pub(crate) fn only_if_cached(&self) -> bool {
        self.directives()
            .is_some_and(|directives| directives.only_if_cached)
    }

    /// Returns the slot for an explanation, if the request is to be explained instead of answered.
    pub(crate) fn explanation_slot(&self) -> Option<&ExplanationSlot> {
        self.fields.as_deref()?.explanation_slot.as_ref()
    }

    /// Returns the directives of the request, if it has fields that the cache reads.
    pub(crate) fn directives(&self) -> Option<&RequestDirectives> {
        self.fields.as_deref().map(|fields| &fields.directives)
    }
}

/// Returns the fields that the cache itself reads. Most requests have none, and then nothing is
/// allocated.
fn cache_fields(all: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in all {
        let read = *name == header::CACHE_CONTROL
            || *name == header::IF_NONE_MATCH
            || *name == header::IF_MODIFIED_SINCE
            || *name == header::RANGE
            || *name == header::AUTHORIZATION;
        if read {
            kept.append(name, value.clone());
        }
    }
    kept
}

impl fmt::Debug for CacheRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheRequest")
    }
}
