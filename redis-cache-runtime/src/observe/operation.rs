//! Operations that have a span.

use tracing::field::Empty;

/// An operation of the cache that has a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Looks up an entry, and waits for a run of another request.
    Get,
    /// Stores the response or value of a read.
    Set,
    /// Stores the response or value of a write.
    Put,
    Evict,
}

impl Operation {
    #[cfg(feature = "otel")]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "cache.get",
            Self::Set => "cache.set",
            Self::Put => "cache.put",
            Self::Evict => "cache.evict",
        }
    }

    /// Returns a span of `tracing`, which is disabled unless a subscriber enables the debug level.
    #[inline]
    pub(super) fn span(self) -> tracing::Span {
        macro_rules! span {
            ($name:literal) => {
                tracing::debug_span!(
                    $name,
                    "cache.handler" = Empty,
                    "cache.key.hash" = Empty,
                    "cache.groups" = Empty,
                    "cache.ttl" = Empty,
                    "cache.result" = Empty,
                    "cache.hit" = Empty,
                    "cache.refusal" = Empty,
                    "cache.target" = Empty,
                    "error.type" = Empty,
                )
            };
        }
        match self {
            Self::Get => span!("cache.get"),
            Self::Set => span!("cache.set"),
            Self::Put => span!("cache.put"),
            Self::Evict => span!("cache.evict"),
        }
    }
}
