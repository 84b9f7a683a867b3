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

    /// What is left of the lifetime; `None`: no expiry.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.lifetime
            .map(|lifetime| lifetime.saturating_sub(self.age))
    }

    /// Whether the response may be reused for a request that says nothing about it.
    pub(crate) fn is_fresh(self) -> bool {
        self.lifetime.is_none_or(|lifetime| self.age < lifetime)
    }

    /// Whether the response may be reused for a request with these directives (RFC 9111 §5.2.1).
    pub(crate) fn allows(self, request: &RequestDirectives) -> bool {
        if request.no_cache || request.no_store {
            return false;
        }
        // A client that sends `max-age=0` wants the response generated anew.
        if request
            .max_age
            .is_some_and(|max| self.age > max || max.is_zero())
        {
            return false;
        }
        let Some(lifetime) = self.lifetime else {
            return true;
        };
        if !self.is_fresh() {
            let staleness = self.age.saturating_sub(lifetime);
            return request.max_stale.is_some_and(|max| staleness <= max);
        }
        request
            .min_fresh
            .is_none_or(|min| lifetime.saturating_sub(self.age) >= min)
    }
}

/// What a route tells clients, when it differs from the lifetime in the store.
#[derive(Clone, Debug)]
pub(crate) struct ClientPolicy {
    pub(crate) max_age: Option<Declared>,
    pub(crate) no_store: bool,
    /// `public` or `private`.
    pub(crate) visibility: Option<&'static str>,
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
    };

    /// The directive that keeps others from storing a response, if there is one.
    pub(crate) fn restriction(&self) -> Option<&'static str> {
        let no_store = self.no_store.then_some("no-store");
        no_store.or(self
            .visibility
            .filter(|visibility| *visibility == "private"))
    }
}

/// The `Cache-Control` of a response that has `remaining` left of its lifetime.
///
/// Seconds are rounded up, so that a fresh response never says 0.
pub(crate) fn cache_control(
    policy: &ClientPolicy,
    grant: &Grant,
    remaining: Option<Duration>,
) -> HeaderValue {
    if policy.no_store {
        return HeaderValue::from_static("no-store");
    }
    let remaining = remaining.map(whole_seconds);
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
    // Everything in it came from fields, or is ASCII.
    HeaderValue::from_bytes(&list.text).unwrap_or(const { HeaderValue::from_static("no-cache") })
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
        let value = cache_control(policy, grant, freshness.remaining());
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

    #[test]
    fn request_directives_restrict_reuse() {
        let at = |millis| Freshness::at(millis, 0, TTL);
        let request = RequestDirectives::default();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert!(at(29_999).allows(&request));
        assert!(!at(30_000).allows(&request));
        let max_age = |n| RequestDirectives {
            max_age: seconds(n),
            ..request.clone()
        };
        assert!(at(5_000).allows(&max_age(5)));
        assert!(!at(5_001).allows(&max_age(5)));
        assert!(!at(0).allows(&max_age(0)));
        let min_fresh = RequestDirectives {
            min_fresh: seconds(10),
            ..request.clone()
        };
        assert!(at(20_000).allows(&min_fresh));
        assert!(!at(20_001).allows(&min_fresh));
        let max_stale = RequestDirectives {
            max_stale: seconds(10),
            ..request.clone()
        };
        assert!(at(40_000).allows(&max_stale));
        assert!(!at(40_001).allows(&max_stale));
    }

    #[test]
    fn a_clock_set_back_ages_nothing() {
        assert_eq!(Freshness::at(0, 1_000, TTL).remaining(), TTL);
    }
}
