//! Fields that tell some caches how long a response stays fresh: `CDN-Cache-Control` and its like
//! (RFC 9213), and `Surrogate-Control`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::directives::split_list;
use super::freshness::whole_seconds;

/// Returns whether there is one.
pub(crate) fn is_any(fields: &HeaderMap) -> bool {
    fields.keys().any(is_targeted)
}

fn is_targeted(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("cdn-cache-control") || name == "surrogate-control"
}

/// Takes an age off what the fields grant, so that no cache counts it twice or forgets it.
pub(crate) fn count_down(fields: &mut HeaderMap, age: Duration) {
    let age = whole_seconds(age);
    for (name, value) in fields.iter_mut() {
        if is_targeted(name)
            && let Ok(line) = value.to_str()
            && let Ok(counted) = HeaderValue::from_str(&counted_down(line, age))
        {
            *value = counted;
        }
    }
}

fn counted_down(line: &str, age: u64) -> String {
    let directives = split_list(line).map(|directive| {
        let lifetime = lifetime_of(directive);
        lifetime.map_or_else(
            || directive.to_owned(),
            |(name, seconds, rest)| format!("{name}={}{rest}", seconds.saturating_sub(age)),
        )
    });
    directives.collect::<Vec<_>>().join(", ")
}

/// Name, seconds and what follows them, of a directive that grants a lifetime.
fn lifetime_of(directive: &str) -> Option<(&str, u64, &str)> {
    let (name, value) = directive.split_once('=')?;
    let is_lifetime = ["max-age", "s-maxage"]
        .iter()
        .any(|lifetime| name.trim().eq_ignore_ascii_case(lifetime));
    let value = value.trim_start();
    let end = value.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = value.split_at(end.unwrap_or(value.len()));
    is_lifetime.then_some((name, digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_count_down_and_all_else_stays() {
        for (line, expected) in [
            ("max-age=60", "max-age=55"),
            (
                "public, Max-Age=60, s-maxage=3",
                "public, Max-Age=55, s-maxage=0",
            ),
            (
                "max-age=60+600, content=\"ESI/1.0\"",
                "max-age=55+600, content=\"ESI/1.0\"",
            ),
            ("max-age=soon, no-store", "max-age=soon, no-store"),
            ("stale-while-revalidate=60", "stale-while-revalidate=60"),
        ] {
            assert_eq!(counted_down(line, 5), expected);
        }
    }

    #[test]
    fn only_fields_for_some_caches_count_down() {
        let mut fields = HeaderMap::new();
        for name in [
            "cdn-cache-control",
            "acme-cdn-cache-control",
            "surrogate-control",
            "x-own",
        ] {
            fields.insert(name, HeaderValue::from_static("max-age=60"));
        }
        count_down(&mut fields, Duration::from_millis(4_001));
        assert!(is_any(&fields));
        assert_eq!(fields["cdn-cache-control"], "max-age=55");
        assert_eq!(fields["acme-cdn-cache-control"], "max-age=55");
        assert_eq!(fields["surrogate-control"], "max-age=55");
        assert_eq!(fields["x-own"], "max-age=60");
    }
}
