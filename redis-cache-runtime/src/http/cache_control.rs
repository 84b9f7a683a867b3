//! The `Cache-Control` of responses to clients (RFC 9111 §5.2.2).

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::HeaderValue;
use smallvec::SmallVec;

use super::directives::{MAX_SECONDS, seconds, split_list};
use super::freshness::{Freshness, Grant, StaleWindows};

/// The directives for clients that a route declares, where they differ from the lifetime in the store.
#[derive(Clone, Debug)]
pub(crate) struct ClientPolicy {
    pub(crate) max_age: Option<Declared>,
    /// The largest `max-age` for CDNs.
    pub(crate) cdn_max_age: Option<Declared>,
    pub(crate) no_store: bool,
    /// `public` or `private`.
    pub(crate) visibility: Option<&'static str>,
    pub(crate) stale_while_revalidate: Option<Declared>,
    pub(crate) stale_if_error: Option<Declared>,
}

/// A duration that a route declares.
#[derive(Clone, Copy, Debug)]
pub enum Declared {
    /// As a literal.
    Fixed(Duration),
    /// As an expression, which is evaluated once.
    Lazy(&'static LazyLock<Duration>),
}

impl Declared {
    /// The duration.
    pub fn get(self) -> Duration {
        match self {
            Self::Fixed(duration) => duration,
            Self::Lazy(duration) => **duration,
        }
    }
}

impl ClientPolicy {
    pub(crate) const NONE: Self = Self {
        max_age: None,
        cdn_max_age: None,
        no_store: false,
        visibility: None,
        stale_while_revalidate: None,
        stale_if_error: None,
    };

    pub(crate) fn windows(&self) -> StaleWindows {
        let window = |declared: Option<Declared>| declared.map(Declared::get).unwrap_or_default();
        StaleWindows {
            while_revalidate: window(self.stale_while_revalidate),
            if_error: window(self.stale_if_error),
        }
    }

    /// Returns whether the route adds no directive to `max-age`.
    fn is_plain(&self) -> bool {
        self.visibility.is_none() && !self.has_windows()
    }

    fn has_windows(&self) -> bool {
        self.stale_while_revalidate.is_some() || self.stale_if_error.is_some()
    }

    /// The directive that keeps others from storing a response, if there is one.
    pub(crate) fn restriction(&self) -> Option<&'static str> {
        let no_store = self.no_store.then_some("no-store");
        no_store.or(self
            .visibility
            .filter(|visibility| *visibility == "private"))
    }
}

/// The `Cache-Control` of a response.
///
/// Seconds are rounded down, so that nothing is promised for longer than it lasts. In its last second
/// a response says `no-cache`.
fn cache_control(policy: &ClientPolicy, grant: &Grant, freshness: Freshness) -> HeaderValue {
    if policy.no_store {
        return HeaderValue::from_static("no-store");
    }
    let remaining = freshness.remaining();
    let is_ending =
        freshness.is_fresh() && remaining.is_some_and(|left| left < Duration::from_secs(1));
    let lifetime = client_lifetime(policy, grant, freshness);
    let is_plain = policy.is_plain() && !grant.s_maxage && grant.directives.is_empty();
    if let Some(lifetime) = lifetime.filter(|_| is_plain && !is_ending) {
        return max_age(lifetime);
    }
    let mut list = List::default();
    if let Some(visibility) = policy.visibility {
        list.push(visibility);
    }
    match lifetime {
        _ if is_ending => list.push("no-cache"),
        Some(lifetime) => list.push_seconds("max-age=", lifetime.as_secs()),
        None if grant.s_maxage => {}
        None => list.push("no-cache"),
    }
    if let Some(left) = remaining.filter(|_| grant.s_maxage && !is_ending) {
        list.push_seconds("s-maxage=", left.as_secs());
    }
    if !grant.directives.is_empty() {
        push_own(&mut list, policy, grant, freshness);
    }
    if remaining.is_some() && !is_ending && policy.has_windows() && grant.may_be_stale() {
        push_windows(&mut list, policy, grant, freshness);
    }
    // Everything in it came from fields, or is ASCII.
    HeaderValue::from_bytes(&list.text).unwrap_or(const { HeaderValue::from_static("no-cache") })
}

/// The fields that tell clients and CDNs the lifetime of a response.
pub(crate) struct Told {
    pub(crate) cache_control: HeaderValue,
    /// `CDN-Cache-Control` (RFC 9213), unless the response has one of the handler's own.
    pub(crate) cdn_cache_control: Option<HeaderValue>,
}

impl Told {
    pub(crate) fn of(policy: &ClientPolicy, grant: &Grant, freshness: Freshness) -> Self {
        Self {
            cache_control: cache_control(policy, grant, freshness),
            cdn_cache_control: cdn_cache_control(policy, freshness),
        }
    }
}

/// Returns the `CDN-Cache-Control` of a response. `None`: the route declares nothing for CDNs, or the
/// response is for one user.
fn cdn_cache_control(policy: &ClientPolicy, freshness: Freshness) -> Option<HeaderValue> {
    let declared = policy.cdn_max_age?.get();
    if policy.visibility == Some("private") {
        return None;
    }
    let left = freshness.remaining().unwrap_or(declared).min(declared);
    Some(if left < Duration::from_secs(1) {
        HeaderValue::from_static("no-cache")
    } else {
        max_age(left)
    })
}

/// Returns a `Cache-Control` of `max-age` alone, which most responses have.
fn max_age(lifetime: Duration) -> HeaderValue {
    let seconds = lifetime.as_secs().min(MAX_SECONDS);
    let text = ["max-age=", itoa::Buffer::new().format(seconds)].concat();
    HeaderValue::try_from(text).unwrap_or(const { HeaderValue::from_static("no-cache") })
}

/// Appends the directives of the handler.
fn push_own(list: &mut List, policy: &ClientPolicy, grant: &Grant, freshness: Freshness) {
    for directive in split_list(&grant.directives) {
        let contradicts = ["public", "private"].contains(&directive) && policy.visibility.is_some();
        if contradicts {
            continue;
        }
        match window(directive) {
            Some((name, granted)) => {
                let left = granted.saturating_sub(freshness.staleness().as_secs());
                list.push_seconds(&[name, "="].concat(), left);
            }
            None => list.push(directive),
        }
    }
}

/// The time for which a client may use the response; `None`: nothing says it. A lifetime that a handler
/// tells shared caches alone is not for clients.
fn client_lifetime(policy: &ClientPolicy, grant: &Grant, freshness: Freshness) -> Option<Duration> {
    let own = grant
        .max_age
        .map(|seconds| Duration::from_secs(seconds).saturating_sub(freshness.age()));
    let declared = policy.max_age.map(Declared::get).or(own);
    match (declared, freshness.remaining()) {
        (Some(declared), Some(remaining)) => Some(declared.min(remaining)),
        (None, Some(_)) if grant.s_maxage => None,
        (declared, remaining) => declared.or(remaining),
    }
}

/// A window in which a stale response may be used, if a directive of the handler grants one (RFC 5861).
fn window(directive: &str) -> Option<(&str, u64)> {
    let (name, value) = directive.split_once('=')?;
    let is_window = ["stale-while-revalidate", "stale-if-error"].contains(&name);
    Some((name, seconds(value)?)).filter(|_| is_window)
}

/// Appends the rest of the windows in which clients may use a stale response (RFC 5861), unless the
/// handler set its own.
fn push_windows(list: &mut List, policy: &ClientPolicy, grant: &Grant, freshness: Freshness) {
    for (name, window) in [
        ("stale-while-revalidate=", policy.stale_while_revalidate),
        ("stale-if-error=", policy.stale_if_error),
    ] {
        let Some(window) = window else { continue };
        let left = window.get().saturating_sub(freshness.staleness()).as_secs();
        let says = |directive: &str| {
            let start = directive.get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        if left > 0 && !split_list(&grant.directives).any(says) {
            list.push_seconds(name, left);
        }
    }
}

/// Directives with commas between them; the usual few take no allocation.
#[derive(Default)]
struct List {
    text: SmallVec<[u8; 64]>,
}

impl List {
    fn push(&mut self, directive: &str) {
        if !self.text.is_empty() {
            self.text.extend_from_slice(b", ");
        }
        self.text.extend_from_slice(directive.as_bytes());
    }

    fn push_seconds(&mut self, name: &str, seconds: u64) {
        self.push(name);
        let seconds = seconds.min(MAX_SECONDS);
        self.text
            .extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant {
            lifetime: Some(Duration::from_secs(30)),
            max_age: None,
            s_maxage: false,
            is_targeted: false,
            directives: String::new(),
        }
    }

    fn told(policy: &ClientPolicy, grant: &Grant, age_millis: u64) -> String {
        let freshness = Freshness::at(age_millis, 0, grant.lifetime);
        let value = cache_control(policy, grant, freshness);
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn max_age_counts_down_and_never_promises_more_than_is_left() {
        let policy = ClientPolicy::NONE;
        assert_eq!(told(&policy, &grant(), 0), "max-age=30");
        assert_eq!(told(&policy, &grant(), 1), "max-age=29");
        assert_eq!(told(&policy, &grant(), 1_000), "max-age=29");
        assert_eq!(told(&policy, &grant(), 29_000), "max-age=1");
    }

    #[test]
    fn in_its_last_second_a_response_says_no_cache() {
        let shared = Grant {
            s_maxage: true,
            ..grant()
        };
        for grant in [grant(), shared] {
            for age_millis in [29_001, 29_999] {
                assert_eq!(told(&ClientPolicy::NONE, &grant, age_millis), "no-cache");
            }
        }
        assert_eq!(told(&ClientPolicy::NONE, &grant(), 30_000), "max-age=0");
    }

    #[test]
    fn without_expiry_clients_revalidate() {
        let grant = Grant {
            lifetime: None,
            ..grant()
        };
        assert_eq!(told(&ClientPolicy::NONE, &grant, 0), "no-cache");
    }

    #[test]
    fn a_route_can_tell_clients_something_else() {
        let visible = |visibility| ClientPolicy {
            visibility,
            ..ClientPolicy::NONE
        };
        let max_age = |seconds| ClientPolicy {
            max_age: Some(Declared::Fixed(Duration::from_secs(seconds))),
            ..ClientPolicy::NONE
        };
        let public = Grant {
            directives: "public, immutable".into(),
            ..grant()
        };
        assert_eq!(
            told(&visible(Some("private")), &public, 0),
            "private, max-age=30, immutable"
        );
        assert_eq!(told(&max_age(0), &grant(), 0), "max-age=0");
        assert_eq!(told(&max_age(10), &grant(), 5_000), "max-age=10");
        assert_eq!(told(&max_age(10), &grant(), 25_000), "max-age=5");
        let no_store = ClientPolicy {
            no_store: true,
            ..ClientPolicy::NONE
        };
        assert_eq!(told(&no_store, &grant(), 0), "no-store");
    }

    #[test]
    fn a_handler_can_tell_shared_caches_something_else() {
        let grant = Grant {
            max_age: Some(5),
            s_maxage: true,
            ..grant()
        };
        assert_eq!(
            told(&ClientPolicy::NONE, &grant, 3_000),
            "max-age=2, s-maxage=27"
        );
        assert_eq!(
            told(&ClientPolicy::NONE, &grant, 10_000),
            "max-age=0, s-maxage=20"
        );
    }

    #[test]
    fn what_is_for_shared_caches_alone_is_not_told_to_clients() {
        let grant = Grant {
            s_maxage: true,
            ..grant()
        };
        assert_eq!(told(&ClientPolicy::NONE, &grant, 10_000), "s-maxage=20");
        let policy = ClientPolicy {
            max_age: Some(Declared::Fixed(Duration::from_secs(5))),
            ..ClientPolicy::NONE
        };
        assert_eq!(told(&policy, &grant, 10_000), "max-age=5, s-maxage=20");
    }

    #[test]
    fn clients_are_told_what_is_left_of_the_windows() {
        let declared = |seconds| Some(Declared::Fixed(Duration::from_secs(seconds)));
        let policy = ClientPolicy {
            stale_while_revalidate: declared(10),
            stale_if_error: declared(60),
            ..ClientPolicy::NONE
        };
        assert_eq!(
            told(&policy, &grant(), 0),
            "max-age=30, stale-while-revalidate=10, stale-if-error=60"
        );
        assert_eq!(
            told(&policy, &grant(), 35_000),
            "max-age=0, stale-while-revalidate=5, stale-if-error=55"
        );
        assert_eq!(
            told(&policy, &grant(), 50_000),
            "max-age=0, stale-if-error=40"
        );
        let own = Grant {
            directives: "stale-if-error=5".into(),
            ..grant()
        };
        assert_eq!(
            told(&policy, &own, 0),
            "max-age=30, stale-if-error=5, stale-while-revalidate=10"
        );
        assert_eq!(
            told(&policy, &own, 32_000),
            "max-age=0, stale-if-error=3, stale-while-revalidate=8"
        );
        let endless = Grant {
            lifetime: None,
            ..grant()
        };
        assert_eq!(told(&policy, &endless, 0), "no-cache");
    }
}
