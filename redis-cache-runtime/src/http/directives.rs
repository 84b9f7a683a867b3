//! `Cache-Control` (RFC 9111 §5.2).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

/// The greatest delta-seconds value; greater values count as this one (RFC 9111 §1.2.2).
pub(super) const MAX_SECONDS: u64 = 1 << 31;

/// The directives of a request that this cache obeys (RFC 9111 §5.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    /// The staleness that the client accepts; `Duration::MAX` when the client set no limit.
    pub(crate) max_stale: Option<Duration>,
}

impl RequestDirectives {
    /// Directives that cannot be understood are ignored: they only ever restrict reuse.
    pub(crate) fn of(fields: &HeaderMap) -> Self {
        let mut this = Self::default();
        each_directive(fields, |name, value| {
            let seconds = || value.and_then(seconds).map(Duration::from_secs);
            match name {
                "no-store" => this.no_store = true,
                "no-cache" => this.no_cache = true,
                "only-if-cached" => this.only_if_cached = true,
                "max-age" => this.max_age = seconds().or(this.max_age),
                "min-fresh" => this.min_fresh = seconds().or(this.min_fresh),
                "max-stale" if value.is_none() => this.max_stale = Some(Duration::MAX),
                "max-stale" => this.max_stale = seconds().or(this.max_stale),
                _ => {}
            }
        });
        this
    }
}

impl RequestDirectives {
    /// Returns whether the client asks for a run of the handler, whatever is stored.
    pub(crate) fn force_a_run(&self) -> bool {
        self.no_cache || self.max_age.is_some_and(|max| max.is_zero())
    }
}

/// The directives of a response (RFC 9111 §5.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) max_age: Option<u64>,
    pub(crate) s_maxage: Option<u64>,
    /// Everything else, as it was written.
    pub(crate) others: String,
}

impl ResponseDirectives {
    /// A lifetime that cannot be understood counts as zero, and of several the shortest counts
    /// (RFC 9111 §4.2.1).
    pub(crate) fn of(fields: &HeaderMap) -> Self {
        let readable = |line: &HeaderValue| line.to_str().is_ok();
        // A malformed field may forbid storing.
        let no_store = !fields.get_all(header::CACHE_CONTROL).iter().all(readable);
        let mut this = Self {
            no_store,
            ..Self::default()
        };
        each_directive(fields, |name, value| {
            let shortest = |other: Option<u64>| {
                let seconds = value.and_then(seconds).unwrap_or(0);
                Some(other.map_or(seconds, |other| other.min(seconds)))
            };
            match name {
                "no-store" => this.no_store = true,
                "no-cache" => this.no_cache = true,
                "private" => this.private = true,
                "max-age" => this.max_age = shortest(this.max_age),
                "s-maxage" => this.s_maxage = shortest(this.s_maxage),
                _ => push_directive(&mut this.others, name, value),
            }
        });
        this
    }
}

/// Appends a directive to a list, with a comma where one is needed.
fn push_directive(list: &mut String, name: &str, value: Option<&str>) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(name);
    if let Some(value) = value {
        list.push('=');
        list.push_str(value);
    }
}

/// Calls `each` with the lower-case name of every directive and its value as it was written.
fn each_directive(fields: &HeaderMap, mut each: impl FnMut(&str, Option<&str>)) {
    for line in fields.get_all(header::CACHE_CONTROL) {
        let Ok(line) = line.to_str() else { continue };
        for directive in split_list(line) {
            let (name, value) = match directive.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
                None => (directive, None),
            };
            each(&name.to_ascii_lowercase(), value);
        }
    }
}

/// Returns the members of a comma-separated list (RFC 9110 §5.6.1), trimmed and without empty members.
/// Commas inside quoted strings do not separate.
pub(crate) fn split_list(line: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |c| {
        let separates = c == ',' && !quoted;
        if escaped {
            escaped = false;
        } else {
            escaped = quoted && c == '\\';
            quoted ^= c == '"';
        }
        separates
    })
    .map(|member| member.trim_matches([' ', '\t']))
    .filter(|member| !member.is_empty())
}

pub(super) fn seconds(value: &str) -> Option<u64> {
    let digits = value.trim_matches('"');
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[&str]) -> HeaderMap {
        let lines = lines
            .iter()
            .map(|line| HeaderValue::from_str(line).unwrap());
        lines.map(|line| (header::CACHE_CONTROL, line)).collect()
    }

    #[test]
    fn request_directives_are_read_from_every_line_in_any_case() {
        let read = RequestDirectives::of(&fields(&["No-Cache, max-age=5", "MIN-FRESH = \"7\""]));
        assert!(read.no_cache);
        assert_eq!(read.max_age, Some(Duration::from_secs(5)));
        assert_eq!(read.min_fresh, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_directive_inside_a_quoted_string_is_none() {
        let read = RequestDirectives::of(&fields(&[r#"ext="a, no-store, \", no-cache""#]));
        assert_eq!(read, RequestDirectives::default());
    }

    #[test]
    fn a_directive_after_a_quoted_string_is_read() {
        for line in [
            r#"ext="a", no-store"#,
            r#"ext="ab", no-store"#,
            r#"ext="\"", no-store"#,
            r#"ext=\"a", no-store"#,
        ] {
            assert!(RequestDirectives::of(&fields(&[line])).no_store, "{line}");
        }
    }

    #[test]
    fn max_stale_without_a_value_accepts_any_staleness() {
        let max_stale = |line| RequestDirectives::of(&fields(&[line])).max_stale;
        assert_eq!(max_stale("max-stale"), Some(Duration::MAX));
        assert_eq!(max_stale("max-stale=9"), Some(Duration::from_secs(9)));
        assert_eq!(max_stale("max-stale=x"), None);
    }

    #[test]
    fn a_response_lifetime_that_is_not_a_number_is_zero_and_a_huge_one_is_capped() {
        let max_age = |line| ResponseDirectives::of(&fields(&[line])).max_age;
        assert_eq!(max_age("max-age=-1"), Some(0));
        assert_eq!(max_age("max-age"), Some(0));
        assert_eq!(
            max_age("max-age=99999999999999999999999"),
            Some(MAX_SECONDS)
        );
        assert_eq!(max_age("max-age=9, max-age=3"), Some(3));
    }

    #[test]
    fn a_client_that_wants_nothing_stored_forces_a_run() {
        let forces = |line| RequestDirectives::of(&fields(&[line])).force_a_run();
        assert!(forces("no-cache") && forces("max-age=0"));
        for line in ["max-age=1", "no-store", "only-if-cached", "min-fresh=9"] {
            assert!(!forces(line), "{line}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_may_forbid_storing() {
        let line = HeaderValue::from_bytes(b"max-age=9, caf\xe9").unwrap();
        let fields = HeaderMap::from_iter([(header::CACHE_CONTROL, line)]);
        assert!(ResponseDirectives::of(&fields).no_store);
    }

    #[test]
    fn other_directives_are_kept_as_written() {
        let read = ResponseDirectives::of(&fields(&["public, Max-Age=1, stale-if-error=60"]));
        assert_eq!(read.others, "public, stale-if-error=60");
    }
}
