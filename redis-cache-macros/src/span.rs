//! Spans of generated tokens.

use proc_macro2::Span;

/// A span for generated code whose errors are about something the user wrote.
pub(crate) fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}
