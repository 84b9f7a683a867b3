//! Spans of generated tokens.

use proc_macro2::Span;

/// Returns a span for generated code whose errors are about the user's code.
pub(crate) fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}
