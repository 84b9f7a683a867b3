//! What a request asks for, as the default key has it.

use std::borrow::Cow;
use std::fmt::Write;

use axum::http::Uri;
use axum::http::uri::Authority;

use crate::determined::Source;
use crate::key::CacheKey;

/// How much of the query is in the default key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryRule {
    /// Nothing.
    None,
    /// Every parameter.
    All,
    /// The parameters of these names.
    Only(&'static [&'static str]),
    /// Every parameter in the order it was sent, and the authority of the URI, if it has one.
    Exact,
}

impl QueryRule {
    /// What arguments that are determined by these can see.
    pub const fn of(sources: &[Option<Source>]) -> Self {
        let mut rule = Self::None;
        let mut at = 0;
        while at < sources.len() {
            match sources[at] {
                Some(Source::Uri) => return Self::Exact,
                Some(Source::PathAndQuery) => rule = Self::All,
                Some(Source::App | Source::Path) | None => {}
            }
            at += 1;
        }
        rule
    }
}

/// The target of a request, in normal form: its path, and its query with the parameters sorted by
/// name.
///
/// Percent-encodings that RFC 9110 §4.2.3 calls equivalent are written one way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    text: String,
    path_len: usize,
    /// The same with the order of the parameters and the authority, where that is different.
    exact: Option<String>,
}

impl Target {
    /// The target that a URI names.
    pub(crate) fn of_uri(uri: &Uri) -> Self {
        Self::new(
            uri.path(),
            uri.query(),
            uri.authority().map(Authority::as_str),
        )
    }

    /// The target that a text names, which may hold what a URI must encode.
    pub(crate) fn of_text(text: &str) -> Self {
        match text.split_once('?') {
            Some((path, query)) => Self::new(path, Some(query), None),
            None => Self::new(text, None, None),
        }
    }

    fn new(path: &str, query: Option<&str>, authority: Option<&str>) -> Self {
        let mut text = normalize_percent(path).into_owned();
        let path_len = text.len();
        let query = query.map(normalize_percent);
        if let Some(sorted) = query
            .as_deref()
            .map(sorted_query)
            .filter(|it| !it.is_empty())
        {
            text.push('?');
            text.push_str(&sorted);
        }
        let as_sent = query
            .as_deref()
            .is_none_or(|query| text[path_len..].trim_start_matches('?') == query);
        let exact = (authority.is_some() || !as_sent).then(|| {
            let query = query.as_deref().unwrap_or_default();
            // No path or query holds a space.
            format!(
                "{}?{query} {}",
                &text[..path_len],
                authority.unwrap_or_default()
            )
        });
        Self {
            text,
            path_len,
            exact,
        }
    }

    /// Whether the rules differ about it.
    pub(crate) fn has_query(&self) -> bool {
        self.text.len() > self.path_len || self.exact.is_some()
    }

    /// The default key.
    pub(crate) fn into_key(mut self, rule: QueryRule) -> CacheKey {
        match rule {
            QueryRule::None => self.text.truncate(self.path_len),
            QueryRule::All => {}
            QueryRule::Exact => self.text = self.exact.unwrap_or(self.text),
            QueryRule::Only(names) => self.text = self.only(names),
        }
        CacheKey::new(self.text)
    }

    fn only(&self, names: &[&str]) -> String {
        let (path, query) = self.text.split_at(self.path_len);
        let mut text = path.to_owned();
        let parameters = query.trim_start_matches('?').split('&');
        for parameter in parameters.filter(|parameter| !parameter.is_empty()) {
            if parameter_name(parameter).is_some_and(|name| names.contains(&&*name)) {
                text.push(if text.len() == self.path_len {
                    '?'
                } else {
                    '&'
                });
                text.push_str(parameter);
            }
        }
        text
    }
}

/// Writes percent-encodings one way: unreserved characters plain, everything else in upper case
/// (RFC 3986 §6.2.2), and what a URI cannot hold encoded. Malformed encodings are left as they are.
fn normalize_percent(text: &str) -> Cow<'_, str> {
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

/// The parameters sorted by name, as a form reader decodes it. Those of the same name keep their
/// order, because handlers that read lists see it.
fn sorted_query(query: &str) -> String {
    let mut parameters: Vec<&str> = query.split('&').filter(|text| !text.is_empty()).collect();
    parameters.sort_by_cached_key(|parameter| parameter_name(parameter).map(Cow::into_owned));
    parameters.join("&")
}

fn parameter_name(parameter: &str) -> Option<Cow<'_, str>> {
    let mut parsed = form_urlencoded::parse(parameter.as_bytes());
    parsed.next().map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_uri(uri: &str) -> Target {
        Target::of_uri(&uri.parse().unwrap())
    }

    fn key(uri: &str) -> CacheKey {
        of_uri(uri).into_key(QueryRule::All)
    }
    #[test]
    fn equivalent_uris_share_a_key() {
        assert_eq!(key("/a?b=1&a=2"), key("/a?a=2&b=1"));
        assert_eq!(key("/a?&a=2&&"), key("/a?a=2"));
        assert_eq!(key("/a?"), key("/a"));
        assert_eq!(key("/%41%2f"), key("/A%2F"));
    }

    #[test]
    fn different_uris_have_different_keys() {
        let long = "x".repeat(10_000);
        let uris = [
            "/",
            "//",
            "/a",
            "/a/",
            "/a/b",
            "/a%2Fb",
            "/a:b",
            "/a?b",
            "/a%3Fb",
            "/a?b=1",
            "/a/b=1",
            "/a?b=1&b=2",
            "/a?b=2&b=1",
            "/a?b=1%26b=2",
            "/a?b=1;b=2",
            "/a?c=1&b=2",
            "/a?cb=12",
            "/%7Ba%7D",
            "/a%7D",
            "/a*",
            "/a%2A",
            "/a[b]",
            "/a%",
            "/a%2",
            "/a%25",
            "/a%252F",
            "/a%+A",
            "/a%0A",
            "/a?ids[]=1&ids%5B%5D=2",
            "/a?ids%5B%5D=2&ids[]=1",
            "/%C3%A4",
            "/a%00",
            &format!("/{long}"),
            &format!("/{long}y"),
            &format!("/?{long}"),
        ];
        let keys: std::collections::HashSet<_> = uris.iter().map(|uri| key(uri)).collect();
        assert_eq!(keys.len(), uris.len(), "{keys:#?}");
    }

    fn literal(text: &str) -> CacheKey {
        Target::of_text(text).into_key(QueryRule::All)
    }

    #[test]
    fn a_literal_path_is_the_default_key_of_that_path() {
        for uri in ["/a", "/a?x=2&b=1", "/a%41", "/a?", "/a?b=?"] {
            assert_eq!(literal(uri), key(uri));
        }
    }

    #[test]
    fn a_literal_path_may_hold_what_a_uri_must_encode() {
        assert_eq!(literal("/café au lait"), key("/caf%c3%a9%20au%20lait"));
    }

    #[test]
    fn only_what_the_rule_says_of_the_query_is_in_the_key() {
        let keys = |uri: &str| {
            let target = of_uri(uri);
            let some = target.clone().into_key(QueryRule::Only(&["page", "sort"]));
            (target.into_key(QueryRule::None), some)
        };
        assert_eq!(
            keys("/a?utm=1&sort=x&%70age=2"),
            (key("/a"), key("/a?page=2&sort=x"))
        );
        assert_eq!(keys("/a?utm=1"), (key("/a"), key("/a")));
        assert_eq!(keys("/a?page=1&page=2").1, key("/a?page=1&page=2"));
        assert_eq!(keys("/a?pages=1&age=2").1, key("/a"));
    }
}
