//! How long a response may be reused, and what clients are told about it (RFC 9111 §4.2).

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::HeaderValue;
use smallvec::SmallVec;

use super::directives::{RequestDirectives, split_list};

/// The freshness a response was granted when it was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The freshness lifetime; `None`: no expiry.
    pub(crate) lifetime: Option<Duration>,
    /// `max-age` as the handler declared it, in seconds: what clients are told at most.
    pub(crate) max_age: Option<u64>,
    /// Whether the handler declared `s-maxage`, so that shared caches downstream are told it too.
    pub(crate) s_maxage: bool,
    /// The handler's other directives.
    pub(crate) directives: String,
}

impl Grant {
    /// Whether the response may be reused when it is stale (RFC 9111 §4.2.4 and §5.2.2.10).
    fn may_be_stale(&self) -> bool {
        let forbids = |directive: &str| {
            directive.eq_ignore_ascii_case("must-revalidate")
                || directive.eq_ignore_ascii_case("proxy-revalidate")
        };
        !self.s_maxage && !split_list(&self.directives).any(forbids)
    }
}

/// For how long a stale response is still of use (RFC 5861), from when it became stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StaleWindows {
    pub(crate) while_revalidate: Duration,
    pub(crate) if_error: Duration,
}

impl StaleWindows {
    pub(crate) fn longest(self) -> Duration {
        self.while_revalidate.max(self.if_error)
    }

    /// What of them a response lets itself be used for.
    pub(crate) fn granted(self, grant: &Grant) -> Self {
        if grant.may_be_stale() {
            self
        } else {
            Self::default()
        }
    }
}

/// Whether a stored response answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    Fresh,
    /// The client accepts that it is stale.
    Stale,
    /// It is stale, and is to be refreshed in the background.
    WhileRevalidating,
    No,
}

/// The age of a response against its freshness lifetime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    age: Duration,
    lifetime: Option<Duration>,
}

impl Freshness {
    /// `generated` and `now` are Unix milliseconds. A clock that was set back makes no response
    /// older than it is: the store forgets it after its lifetime anyway.
    pub(crate) fn at(now: u64, generated: u64, lifetime: Option<Duration>) -> Self {
        Self {
            age: Duration::from_millis(now.saturating_sub(generated)),
            lifetime,
        }
    }

    /// Of a response that is generated now.
    pub(crate) fn new(lifetime: Option<Duration>) -> Self {
        let age = Duration::ZERO;
        Self { age, lifetime }
    }

    /// What is left of the lifetime; `None`: no expiry.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.lifetime
            .map(|lifetime| lifetime.saturating_sub(self.age))
    }

    pub(crate) fn is_fresh(self) -> bool {
        self.lifetime.is_none_or(|lifetime| self.age < lifetime)
    }

    /// For how long it has been stale.
    fn staleness(self) -> Duration {
        self.age.saturating_sub(self.lifetime.unwrap_or(self.age))
    }

    /// Whether the response may be reused for a request with these directives (RFC 9111 §5.2.1).
    pub(crate) fn reuse(
        self,
        request: Option<&RequestDirectives>,
        grant: &Grant,
        windows: StaleWindows,
    ) -> Reuse {
        let refused = request.is_some_and(|request| self.is_refused(request));
        if refused {
            Reuse::No
        } else if self.is_fresh() {
            Reuse::Fresh
        } else if !grant.may_be_stale() {
            Reuse::No
        } else if self.staleness() < windows.while_revalidate {
            Reuse::WhileRevalidating
        } else if request
            .and_then(|request| request.max_stale)
            .is_some_and(|max| self.staleness() <= max)
        {
            Reuse::Stale
        } else {
            Reuse::No
        }
    }

    /// Whether a request asks for something fresher.
    fn is_refused(self, request: &RequestDirectives) -> bool {
        // A client that sends `max-age=0` wants the response generated anew.
        let is_too_old = |max: Duration| self.age > max || max.is_zero();
        let ends_too_soon = |min: Duration| self.remaining().is_some_and(|left| left < min);
        request.no_cache
            || request.no_store
            || request.max_age.is_some_and(is_too_old)
            || request.min_fresh.is_some_and(ends_too_soon)
    }

    /// Whether the response may be reused when the handler failed (RFC 5861 §4).
    pub(crate) fn is_of_use_on_error(self, grant: &Grant, windows: StaleWindows) -> bool {
        self.is_fresh() || (grant.may_be_stale() && self.staleness() < windows.if_error)
    }
}

/// What a route tells clients, when it differs from the lifetime in the store.
#[derive(Clone, Debug)]
pub(crate) struct ClientPolicy {
    pub(crate) max_age: Option<Declared>,
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
/// Seconds are rounded up, so that a fresh response never says 0.
pub(crate) fn cache_control(
    policy: &ClientPolicy,
    grant: &Grant,
    freshness: Freshness,
) -> HeaderValue {
    if policy.no_store {
        return HeaderValue::from_static("no-store");
    }
    let remaining = freshness.remaining().map(whole_seconds);
    let declared = policy
        .max_age
        .map(|it| whole_seconds(it.get()))
        .or(grant.max_age);
    let mut list = List::default();
    if let Some(visibility) = policy.visibility {
        list.push(visibility);
    }
    match [declared, remaining].into_iter().flatten().min() {
        Some(seconds) => list.push_seconds("max-age=", seconds),
        None => list.push("no-cache"),
    }
    if let Some(seconds) = remaining.filter(|_| grant.s_maxage) {
        list.push_seconds("s-maxage=", seconds);
    }
    for directive in split_list(&grant.directives) {
        let contradicts = ["public", "private"].contains(&directive) && policy.visibility.is_some();
        if !contradicts {
            list.push(directive);
        }
    }
    if remaining.is_some() && grant.may_be_stale() {
        push_windows(&mut list, policy, grant, freshness);
    }
    // Everything in it came from fields, or is ASCII.
    HeaderValue::from_bytes(&list.text).unwrap_or(const { HeaderValue::from_static("no-cache") })
}

/// What is left of the windows in which clients may use a stale response, unless the handler says
/// something itself (RFC 5861).
fn push_windows(list: &mut List, policy: &ClientPolicy, grant: &Grant, freshness: Freshness) {
    let windows = policy.windows();
    for (name, window) in [
        ("stale-while-revalidate=", windows.while_revalidate),
        ("stale-if-error=", windows.if_error),
    ] {
        let left = whole_seconds(window.saturating_sub(freshness.staleness()));
        if left > 0 && !grant.directives.contains(name) {
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
        self.text
            .extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Option<Duration> = Some(Duration::from_secs(30));

    fn grant() -> Grant {
        Grant {
            lifetime: TTL,
            max_age: None,
            s_maxage: false,
            directives: String::new(),
        }
    }

    fn told(policy: &ClientPolicy, grant: &Grant, age_millis: u64) -> String {
        let freshness = Freshness::at(age_millis, 0, grant.lifetime);
        let value = cache_control(policy, grant, freshness);
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn max_age_counts_down_and_is_never_0_while_fresh() {
        let policy = ClientPolicy::NONE;
        assert_eq!(told(&policy, &grant(), 0), "max-age=30");
        assert_eq!(told(&policy, &grant(), 1), "max-age=30");
        assert_eq!(told(&policy, &grant(), 1_000), "max-age=29");
        assert_eq!(told(&policy, &grant(), 29_999), "max-age=1");
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
            told(&ClientPolicy::NONE, &grant, 10_000),
            "max-age=5, s-maxage=20"
        );
    }

    fn reuse_at(millis: u64, request: &RequestDirectives) -> Reuse {
        let at = Freshness::at(millis, 0, TTL);
        at.reuse(Some(request), &grant(), StaleWindows::default())
    }

    #[test]
    fn request_directives_restrict_reuse() {
        let request = RequestDirectives::default();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(reuse_at(29_999, &request), Reuse::Fresh);
        assert_eq!(reuse_at(30_000, &request), Reuse::No);
        let max_age = |n| RequestDirectives {
            max_age: seconds(n),
            ..request.clone()
        };
        assert_eq!(reuse_at(5_000, &max_age(5)), Reuse::Fresh);
        assert_eq!(reuse_at(5_001, &max_age(5)), Reuse::No);
        assert_eq!(reuse_at(0, &max_age(0)), Reuse::No);
        let min_fresh = RequestDirectives {
            min_fresh: seconds(10),
            ..request.clone()
        };
        assert_eq!(reuse_at(20_000, &min_fresh), Reuse::Fresh);
        assert_eq!(reuse_at(20_001, &min_fresh), Reuse::No);
        let max_stale = RequestDirectives {
            max_stale: seconds(10),
            ..request.clone()
        };
        assert_eq!(reuse_at(40_000, &max_stale), Reuse::Stale);
        assert_eq!(reuse_at(40_001, &max_stale), Reuse::No);
    }

    fn windows() -> StaleWindows {
        StaleWindows {
            while_revalidate: Duration::from_secs(10),
            if_error: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_stale_response_is_of_use_while_its_windows_last() {
        let at = |millis| Freshness::at(millis, 0, TTL);
        let reuse = |millis| at(millis).reuse(None, &grant(), windows());
        assert_eq!(reuse(29_999), Reuse::Fresh);
        assert_eq!(reuse(30_000), Reuse::WhileRevalidating);
        assert_eq!(reuse(39_999), Reuse::WhileRevalidating);
        assert_eq!(reuse(40_000), Reuse::No);
        let on_error = |millis| at(millis).is_of_use_on_error(&grant(), windows());
        assert!(on_error(0) && on_error(89_999) && !on_error(90_000));
        let no_cache = RequestDirectives {
            no_cache: true,
            ..RequestDirectives::default()
        };
        let reuse = at(30_000).reuse(Some(&no_cache), &grant(), windows());
        assert_eq!(reuse, Reuse::No);
    }

    #[test]
    fn a_handler_can_forbid_that_its_response_is_used_when_it_is_stale() {
        let must = Grant {
            directives: "Must-Revalidate".into(),
            ..grant()
        };
        let shared = Grant {
            s_maxage: true,
            ..grant()
        };
        let accepts = RequestDirectives {
            max_stale: Some(Duration::MAX),
            ..RequestDirectives::default()
        };
        for grant in [must, shared] {
            let stale = Freshness::at(31_000, 0, TTL);
            assert_eq!(stale.reuse(Some(&accepts), &grant, windows()), Reuse::No);
            assert!(!stale.is_of_use_on_error(&grant, windows()));
            assert_eq!(windows().granted(&grant).longest(), Duration::ZERO);
        }
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
        let endless = Grant {
            lifetime: None,
            ..grant()
        };
        assert_eq!(told(&policy, &endless, 0), "no-cache");
    }

    #[test]
    fn a_clock_set_back_ages_nothing() {
        assert_eq!(Freshness::at(0, 1_000, TTL).remaining(), TTL);
    }
}
