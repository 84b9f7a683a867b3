//! Normal forms of the texts in a URL.

use std::borrow::Cow;
use std::fmt::Write;

/// The parameters of the query that the attribute adds to the key, besides those that arguments read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryRule {
    /// None.
    None,
    /// Every parameter.
    All,
    /// The parameters of these names.
    Only(&'static [&'static str]),
}

impl QueryRule {
    /// Appends the parameters in normal form, sorted by name.
    pub(crate) fn write(self, query: &str, out: &mut String) {
        let names = match self {
            Self::None => return,
            Self::All => None,
            Self::Only(names) => Some(names),
        };
        let query = normalize_percent(query);
        let is_wanted = |name: &str| names.is_none_or(|names| names.contains(&name));
        let mut parameters: Vec<(Cow<'_, str>, &str)> = query
            .split('&')
            .filter_map(|parameter| Some((parameter_name(parameter)?, parameter)))
            .filter(|(name, _)| is_wanted(name))
            .collect();
        // Parameters of the same name keep their order, because handlers that read lists see it.
        parameters.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (number, (_, parameter)) in parameters.into_iter().enumerate() {
            if number > 0 {
                out.push('&');
            }
            push_text(out, parameter);
        }
    }
}

/// Writes percent-encodings one way: unreserved characters plain, everything else in upper case
/// (RFC 3986 §6.2.2), and what a URI cannot hold encoded. Malformed encodings are left as they are.
pub(crate) fn normalize_percent(text: &str) -> Cow<'_, str> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'%')
    {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte != b'%' {
            push_byte(&mut out, byte, byte.is_ascii_graphic());
        } else if let Some(encoded) = bytes.get(at..at + 2).and_then(hex_byte) {
            let unreserved = encoded.is_ascii_alphanumeric() || b"-._~".contains(&encoded);
            push_byte(&mut out, encoded, unreserved);
            at += 2;
        } else {
            out.push('%');
        }
    }
    Cow::Owned(out)
}

/// Appends a text of a URL so that a key stays unambiguous: `!` begins the two digits of a byte. Braces
/// are encoded, because they would be a hash tag in a cluster.
pub(crate) fn push_text(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"!{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "!{byte:02X}");
        }
    }
}

/// Appends a byte: as it is, or percent-encoded.
pub(crate) fn push_byte(out: &mut String, byte: u8, plain: bool) {
    if plain {
        out.push(char::from(byte));
    } else {
        // Writing to a string does not fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let [high, low] = digits else { return None };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// Returns the name of a parameter as form readers decode it; `None`: the name is empty.
fn parameter_name(parameter: &str) -> Option<Cow<'_, str>> {
    let mut parsed = form_urlencoded::parse(parameter.as_bytes());
    parsed.next().map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_query(rule: QueryRule, query: &str) -> String {
        let mut out = String::new();
        rule.write(query, &mut out);
        out
    }

    #[test]
    fn equivalent_texts_have_one_normal_form() {
        assert_eq!(normalize_percent("/%41%2f%7e"), "/A%2F~");
        assert_eq!(
            normalize_percent("/caf\u{e9} au lait"),
            "/caf%C3%A9%20au%20lait"
        );
        assert_eq!(normalize_percent("/a%+A%2"), "/a%+A%2");
        assert_eq!(of_query(QueryRule::All, "b=1&a=2"), "a=2&b=1");
        assert_eq!(of_query(QueryRule::All, "&a=2&&"), "a=2");
    }

    #[test]
    fn only_the_named_parameters_are_written() {
        let some = QueryRule::Only(&["page", "sort"]);
        assert_eq!(of_query(some, "utm=1&sort=x&%70age=2"), "page=2&sort=x");
        assert_eq!(of_query(some, "page=1&page=2&pages=3"), "page=1&page=2");
        assert_eq!(of_query(some, "utm=1"), "");
        assert_eq!(of_query(QueryRule::None, "a=1"), "");
    }

    #[test]
    fn what_means_something_in_a_key_is_written_as_digits() {
        assert_eq!(of_query(QueryRule::All, "a={|}!"), "a=!7B!7C!7D!21");
    }

    #[test]
    fn different_queries_are_written_differently() {
        let queries = [
            "",
            "b",
            "b=1",
            "b=1&b=2",
            "b=2&b=1",
            "b=1%26b=2",
            "b=1;b=2",
            "cb=12",
            "a=%2526",
        ];
        let written: std::collections::HashSet<_> = queries
            .iter()
            .map(|query| of_query(QueryRule::All, query))
            .collect();
        assert_eq!(written.len(), queries.len(), "{written:?}");
    }
}
