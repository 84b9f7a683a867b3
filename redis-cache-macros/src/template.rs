//! The texts of keys and groups, with values in braces.

use darling::{Error, Result};
use syn::{Expr, LitStr};

use crate::handler::Argument;
use crate::value::{self, Value};

/// A text with values in it.
#[derive(Clone, PartialEq)]
pub(crate) struct Template {
    pub(crate) pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Piece {
    Literal(String),
    Value(Value),
    /// An expression that yields the text of a group.
    Text(Value),
}

impl Template {
    /// Reads a template. Its values are names that the arguments bind.
    pub(crate) fn new(text: &LitStr, arguments: &[Argument<'_>]) -> Result<Self> {
        let value = text.value();
        if value.is_empty() {
            return Err(Error::custom("the text is empty").with_span(text));
        }
        let segments = segments(&value).map_err(|error| error.with_span(text))?;
        let mut errors = Error::accumulator();
        let mut pieces = Vec::new();
        for segment in segments {
            match segment {
                Segment::Literal(literal) => pieces.push(Piece::Literal(literal)),
                Segment::Placeholder(placeholder) => {
                    let value = value::of_placeholder(&placeholder, text, arguments);
                    pieces.extend(errors.handle(value).map(Piece::Value));
                }
            }
        }
        errors.finish_with(Self {
            pieces: separated(pieces),
        })
    }

    /// Makes a template of an expression that yields the whole text.
    pub(crate) fn of_expr(expr: &Expr, arguments: &[Argument<'_>]) -> Self {
        Self {
            pieces: vec![Piece::Text(Value::of_text(expr, arguments))],
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(value) | Piece::Text(value) => Some(value),
            Piece::Literal(_) => None,
        })
    }

    /// Returns the text, if there is no value in it.
    pub(crate) fn as_literal(&self) -> Option<&str> {
        match &*self.pieces {
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

/// Ends a value with `;` if the next text could be taken for a part of it.
fn separated(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut rest = pieces.into_iter().peekable();
    let mut out = Vec::new();
    while let Some(piece) = rest.next() {
        let is_value = matches!(piece, Piece::Value(_));
        out.push(piece);
        match rest.peek_mut() {
            Some(Piece::Value(_)) if is_value => out.push(Piece::Literal(";".to_owned())),
            Some(Piece::Literal(text)) if is_value && text.starts_with(is_in_values) => {
                text.insert(0, ';');
            }
            _ => {}
        }
    }
    out
}

/// Returns whether a character can be in the text of a value, as the runtime writes it.
fn is_in_values(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-%~,".contains(c)
}

enum Segment {
    Literal(String),
    Placeholder(String),
}

fn segments(text: &str) -> Result<Vec<Segment>> {
    let mut out = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            literal.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err(Error::custom("`}` closes nothing: a brace is written `}}`"));
        }
        let Some((name, after)) = rest.split_once('}') else {
            let message = "`{` is not closed: write `}` after the name; a brace is written `{{`";
            return Err(Error::custom(message));
        };
        check_placeholder(name)?;
        if !literal.is_empty() {
            out.push(Segment::Literal(std::mem::take(&mut literal)));
        }
        out.push(Segment::Placeholder(name.to_owned()));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        out.push(Segment::Literal(literal));
    }
    Ok(out)
}

fn check_placeholder(text: &str) -> Result<()> {
    if text.trim().is_empty() {
        let message = "`{}` names no value: write a name that an argument binds, such as `{id}`";
        return Err(Error::custom(message));
    }
    if let Some((name, format)) = text.split_once(':')
        && !format.starts_with(':')
    {
        let message =
            format!("a value is written one way only: remove the format, as in `{{{name}}}`");
        return Err(Error::custom(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The segments of a template, with placeholders in angle brackets; or the message of the error.
    fn read(text: &str) -> String {
        let segments = match segments(text) {
            Ok(segments) => segments,
            Err(error) => return error.to_string(),
        };
        let shown = segments.into_iter().map(|segment| match segment {
            Segment::Literal(text) => text,
            Segment::Placeholder(name) => format!("<{name}>"),
        });
        shown.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn braces_enclose_names_and_doubled_braces_are_text() {
        for (text, expected) in [
            ("plain", "plain"),
            ("{id}", "<id>"),
            (
                "product:{id}:{page.number}",
                "product:|<id>|:|<page.number>",
            ),
            ("{a}{b}", "<a>|<b>"),
            ("{{{id}}}", "{|<id>|}"),
            ("{{id}}", "{id}"),
            ("{Kind::NAME}", "<Kind::NAME>"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_brace_that_is_not_closed_or_closes_nothing_is_an_error_that_says_how_to_write_it() {
        for (text, expected) in [
            ("{id", "`{` is not closed"),
            ("id}", "`}` closes nothing"),
            ("{}", "`{}` names no value"),
            ("{ }", "`{}` names no value"),
            ("{id:?}", "remove the format, as in `{id}`"),
        ] {
            let message = read(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn the_characters_of_values_are_those_that_the_runtime_writes() {
        for byte in 0..=u8::MAX {
            let expected = redis_cache_runtime::__private::is_in_values(byte);
            assert_eq!(is_in_values(char::from(byte)), expected, "{byte}");
        }
    }

    #[test]
    fn a_semicolon_ends_a_value_where_the_next_text_could_belong_to_it() {
        let text = |text: &str| Piece::Literal(text.to_owned());
        let value = || Piece::Value(Value::of_text(&syn::parse_quote!(id), &[]));
        let literals = |pieces: Vec<Piece>| {
            let literals = separated(pieces)
                .into_iter()
                .filter_map(|piece| match piece {
                    Piece::Literal(text) => Some(text),
                    Piece::Value(_) | Piece::Text(_) => None,
                });
            literals.collect::<Vec<_>>()
        };
        assert_eq!(literals(vec![value(), text("/x")]), ["/x"]);
        assert_eq!(literals(vec![value(), text("x")]), [";x"]);
        assert_eq!(literals(vec![value(), value()]), [";"]);
        assert_eq!(literals(vec![text("x"), value()]), ["x"]);
    }
}
