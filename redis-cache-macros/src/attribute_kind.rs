//! The kinds of attributes.

/// The kind of an attribute.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum AttributeKind {
    Cached,
    CachePut,
    CacheEvict,
}

impl AttributeKind {
    pub(crate) const ALL: [Self; 3] = [Self::Cached, Self::CachePut, Self::CacheEvict];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::CachePut => "cache_put",
            Self::CacheEvict => "cache_evict",
        }
    }
}
