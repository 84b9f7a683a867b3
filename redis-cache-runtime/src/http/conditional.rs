//! Validators and preconditions (RFC 9110 §8.8 and §13).

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

/// The longest body that is hashed in the task of the request. A longer one would delay other requests.
const MAX_INLINE_HASH: usize = 256 * 1024;

/// Adds a weak validator to a 200 without one. It is a hash of the body, so it is equal in every
/// process.
pub(crate) async fn add_etag(status: StatusCode, fields: &mut HeaderMap, body: &Bytes) {
    if status != StatusCode::OK || fields.contains_key(header::ETAG) {
        return;
    }
    let etag = match Handle::try_current() {
        Ok(runtime) if body.len() > MAX_INLINE_HASH => {
            let body = body.clone();
            runtime
                .spawn_blocking(move || weak_etag(&body))
                .await
                .ok()
                .flatten()
        }
        _ => weak_etag(body),
    };
    if let Some(etag) = etag {
        fields.insert(header::ETAG, etag);
    }
}

fn weak_etag(body: &[u8]) -> Option<HeaderValue> {
    let digest = Sha256::digest(body);
    let start = u128::from_be_bytes(*digest.first_chunk()?);
    HeaderValue::try_from(format!("W/\"{start:032x}\"")).ok()
}

/// Returns whether a 304 answers the request: a precondition of a GET or HEAD is false (RFC 9110
/// §13.2.2). Only a 200 can be replaced by a 304.
pub(crate) fn is_not_modified(
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
) -> bool {
    if status != StatusCode::OK {
        return false;
    }
    if request.contains_key(header::IF_NONE_MATCH) {
        return any_tag_matches(request, response.get(header::ETAG));
    }
    let since = request.get(header::IF_MODIFIED_SINCE).and_then(date);
    let modified = response.get(header::LAST_MODIFIED).and_then(date);
    matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
}

/// Evaluates `If-None-Match` by weak comparison (RFC 9110 §8.8.3.2 and §13.1.2).
fn any_tag_matches(request: &HeaderMap, current: Option<&HeaderValue>) -> bool {
    let current = current
        .and_then(|tag| tag.to_str().ok())
        .and_then(opaque_tag);
    let lines = request.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(split_tags);
    tags.any(|tag| tag == "*" || (current.is_some() && opaque_tag(tag) == current))
}

/// Returns the members of a list of entity tags. In a tag, commas do not separate and backslashes do not
/// escape (RFC 9110 §8.8.3).
fn split_tags(line: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    line.split(move |c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    })
    .map(|tag| tag.trim_matches([' ', '\t']))
}

/// Returns an entity tag without `W/`, quotes included; `None`: the tag is malformed.
fn opaque_tag(tag: &str) -> Option<&str> {
    let opaque = tag.strip_prefix("W/").unwrap_or(tag);
    let quoted = opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"');
    quoted.then_some(opaque)
}

/// Parses a date (RFC 9110 §5.6.7), in upper or lower case (RFC 9111 §4.2).
pub(super) fn date(value: &HeaderValue) -> Option<SystemTime> {
    let text = value.to_str().ok()?;
    let parsed = httpdate::parse_http_date(text);
    parsed
        .or_else(|_| httpdate::parse_http_date(&in_title_case(text)))
        .ok()
}

/// A date with its names as they are defined: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn in_title_case(date: &str) -> String {
    let mut is_in_word = false;
    let cased = date.chars().map(|c| {
        let cased = if is_in_word {
            c.to_ascii_lowercase()
        } else {
            c.to_ascii_uppercase()
        };
        is_in_word = c.is_ascii_alphabetic();
        cased
    });
    cased.collect::<String>().replace("Gmt", "GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let parse = |value: &str| HeaderValue::from_str(value).unwrap();
        lines
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), parse(value)))
            .collect()
    }

    fn matches(if_none_match: &str, etag: &str) -> bool {
        let request = fields(&[("if-none-match", if_none_match)]);
        is_not_modified(&request, StatusCode::OK, &fields(&[("etag", etag)]))
    }

    #[test]
    fn tags_are_compared_weakly_in_lists() {
        assert!(matches("\"a\"", "W/\"a\""));
        assert!(matches("W/\"a\"", "\"a\""));
        assert!(matches("\"x\" , ,W/\"a\"", "\"a\""));
        assert!(matches("\"x,\", \"a,b\"", "\"a,b\""));
        assert!(matches("*", "\"a\""));
        assert!(matches("\"a\\\", \"b\"", "\"b\""));
        assert!(matches("\"a\\\", \"b\"", "\"a\\\""));
        assert!(!matches("\"b\"", "\"a\""));
        assert!(!matches("a", "a"));
        assert!(!matches("\"a", "\"a"));
    }

    #[test]
    fn a_date_counts_only_without_tags_and_only_to_the_second() {
        let response = fields(&[
            ("etag", "\"a\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]);
        let since = |date| fields(&[("if-modified-since", date)]);
        let ok = StatusCode::OK;
        assert!(is_not_modified(
            &since("Sun, 06 Nov 1994 08:49:37 GMT"),
            ok,
            &response
        ));
        assert!(!is_not_modified(
            &since("Sun, 06 Nov 1994 08:49:36 GMT"),
            ok,
            &response
        ));
        assert!(!is_not_modified(&since("yesterday"), ok, &response));
        let mut both = since("Sun, 06 Nov 1994 08:49:37 GMT");
        both.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"b\""));
        assert!(!is_not_modified(&both, ok, &response));
    }

    #[test]
    fn a_date_is_read_in_upper_and_lower_case() {
        let read = |text| date(&HeaderValue::from_static(text));
        let expected = read("Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(expected.is_some());
        for text in [
            "SUN, 06 NOV 1994 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
            "SUNDAY, 06-NOV-94 08:49:37 GMT",
            "sun nov  6 08:49:37 1994",
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read("Sun, 06 Nox 1994 08:49:37 GMT"), None);
    }

    #[test]
    fn only_a_200_becomes_a_304() {
        let (request, response) = (
            fields(&[("if-none-match", "*")]),
            fields(&[("etag", "\"a\"")]),
        );
        assert!(!is_not_modified(&request, StatusCode::NOT_FOUND, &response));
    }

    #[test]
    fn the_tag_of_a_body_is_pinned() {
        assert_eq!(
            weak_etag(b"").unwrap(),
            "W/\"e3b0c44298fc1c149afbf4c8996fb924\""
        );
    }
}
