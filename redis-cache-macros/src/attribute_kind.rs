//! The kinds of attributes.

use syn::Attribute;

use crate::handler::is_named;

/// The kind of an attribute.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum AttributeKind {
    Cached,
    CachePut,
    CacheEvict,
}

impl AttributeKind {
    /// Returns the kind of an attribute; `None`: it is none of ours.
    pub(crate) fn of(attribute: &Attribute) -> Option<Self> {
        let mut kinds = [Self::Cached, Self::CachePut, Self::CacheEvict].into_iter();
        kinds.find(|kind| is_named(attribute, kind.name()))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::CachePut => "cache_put",
            Self::CacheEvict => "cache_evict",
        }
    }
}
