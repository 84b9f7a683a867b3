//! Fields with a freshness lifetime for some caches: `CDN-Cache-Control` and other targeted fields
//! (RFC 9213), and `Surrogate-Control`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::directives::{seconds, split_list};
use super::freshness::whole_seconds;

/// Returns whether a response has such a field.
pub(crate) fn is_any(fields: &HeaderMap) -> bool {
    fields.keys().any(is_targeted)
}

pub(super) fn is_targeted(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("cdn-cache-control") || name == "surrogate-control"
}

/// Subtracts an age from the lifetimes in the fields, so that every cache counts the age once.
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
    let lifetimes = split_list(line).filter_map(|directive| {
        let (name, seconds, _) = granted(directive)?;
        is_lifetime(name).then_some(seconds)
    });
    // The windows for stale responses count from the end of the lifetime.
    let staleness = age.saturating_sub(lifetimes.max().unwrap_or(0));
    let directives = split_list(line).map(|directive| match granted(directive) {
        Some((name, seconds, window)) if is_lifetime(name) => {
            let window = window.map(|window| format!("+{}", window.saturating_sub(staleness)));
            let left = seconds.saturating_sub(age);
            format!("{name}={left}{}", window.unwrap_or_default())
        }
        Some((name, seconds, None)) if is_window(name) => {
            format!("{name}={}", seconds.saturating_sub(staleness))
        }
        _ => directive.to_owned(),
    });
    directives.collect::<Vec<_>>().join(", ")
}

fn is_lifetime(name: &str) -> bool {
    ["max-age", "s-maxage"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

fn is_window(name: &str) -> bool {
    ["stale-while-revalidate", "stale-if-error"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns the name and the seconds of a directive. In `Surrogate-Control`, seconds after a `+` are for
/// stale responses.
fn granted(directive: &str) -> Option<(&str, u64, Option<u64>)> {
    let (name, value) = directive.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    match value.split_once('+') {
        Some((value, window)) => Some((name, seconds(value)?, Some(seconds(window)?))),
        None => Some((name, seconds(value)?, None)),
    }
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
            (
                "max-age=60, stale-while-revalidate=60",
                "max-age=55, stale-while-revalidate=60",
            ),
            (
                "max-age=3, stale-while-revalidate=60",
                "max-age=0, stale-while-revalidate=58",
            ),
            ("max-age=3+60", "max-age=0+58"),
            ("max-age=3, x-own=60", "max-age=0, x-own=60"),
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
