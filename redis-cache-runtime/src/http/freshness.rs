//! The freshness of responses, and the rules for reusing them (RFC 9111 §4.2, RFC 5861).

use std::time::Duration;

use super::directives::{RequestDirectives, split_list};

/// The freshness that a response was granted when it was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The freshness lifetime; `None`: no expiry.
    pub(crate) lifetime: Option<Duration>,
    /// The rest of the handler's `max-age` when the response arrived, in seconds. It limits the
    /// `max-age` for clients.
    pub(crate) max_age: Option<u64>,
    /// Set if the handler declared `s-maxage`, so that shared caches downstream receive it too.
    pub(crate) s_maxage: bool,
    /// Set if fields tell some shared caches a lifetime of their own.
    pub(crate) is_targeted: bool,
    /// The handler's other directives.
    pub(crate) directives: String,
}

impl Grant {
    /// The grant of a value: only a lifetime.
    pub(crate) fn for_lifetime(lifetime: Option<Duration>) -> Self {
        Self {
            lifetime,
            max_age: None,
            s_maxage: false,
            is_targeted: false,
            directives: String::new(),
        }
    }

    /// Limits the lifetime; `None`: no limit.
    #[must_use]
    pub(crate) fn at_most(mut self, limit: Option<Duration>) -> Self {
        let limits = self.lifetime.into_iter().chain(limit);
        self.lifetime = limits.min();
        self
    }

    /// Shortens the lifetime by `draw` times `percent` of it. `draw` is a random number from 0 to 1.
    #[must_use]
    pub(crate) fn shortened(mut self, percent: u8, draw: f64) -> Self {
        let part = f64::from(percent) / 100.0 * draw;
        self.lifetime = self.lifetime.map(|lifetime| {
            let rest = lifetime.as_secs_f64() * (1.0 - part);
            Duration::try_from_secs_f64(rest).map_or(lifetime, |rest| rest.min(lifetime))
        });
        self
    }

    /// Returns whether the response may be reused when it is stale (RFC 9111 §4.2.4 and §5.2.2.10).
    pub(super) fn may_be_stale(&self) -> bool {
        let forbids = |directive: &str| {
            directive.eq_ignore_ascii_case("must-revalidate")
                || directive.eq_ignore_ascii_case("proxy-revalidate")
        };
        !self.s_maxage && !split_list(&self.directives).any(forbids)
    }
}

/// The windows in which a stale response may be used (RFC 5861), from the end of its freshness lifetime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StaleWindows {
    pub(crate) while_revalidate: Duration,
    pub(crate) if_error: Duration,
}

impl StaleWindows {
    pub(crate) fn longest(self) -> Duration {
        self.while_revalidate.max(self.if_error)
    }

    /// Returns the windows that a response allows.
    pub(crate) fn granted(self, grant: &Grant) -> Self {
        if grant.may_be_stale() {
            self
        } else {
            Self::default()
        }
    }
}

/// The way in which a stored response may be reused for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    Fresh,
    /// The client accepts that it is stale.
    Stale,
    /// The response is stale, and is refreshed in the background.
    WhileRevalidating,
    No,
}

/// The age of a response against its freshness lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// The freshness of a response that is generated now.
    pub(crate) fn new(lifetime: Option<Duration>) -> Self {
        let age = Duration::ZERO;
        Self { age, lifetime }
    }

    pub(crate) fn age(self) -> Duration {
        self.age
    }

    /// Returns the rest of the lifetime; `None`: no expiry.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.lifetime
            .map(|lifetime| lifetime.saturating_sub(self.age))
    }

    pub(crate) fn is_fresh(self) -> bool {
        self.lifetime.is_none_or(|lifetime| self.age < lifetime)
    }

    /// Returns the time for which the response has been stale.
    pub(super) fn staleness(self) -> Duration {
        self.age.saturating_sub(self.lifetime.unwrap_or(self.age))
    }

    /// Returns the seconds until the response is stale; negative: the seconds since then. Rounded away
    /// from zero, so that no fresh response has 0. `None`: no expiry.
    pub(crate) fn ttl(self) -> Option<i64> {
        let seconds = |time| i64::try_from(whole_seconds(time)).unwrap_or(i64::MAX);
        self.remaining().map(|remaining| match remaining {
            Duration::ZERO => -seconds(self.staleness()),
            _ => seconds(remaining),
        })
    }

    /// Returns how the response may be reused for a request with these directives (RFC 9111 §5.2.1).
    pub(crate) fn reuse(
        self,
        request: Option<&RequestDirectives>,
        grant: &Grant,
        windows: StaleWindows,
    ) -> Reuse {
        if self.is_refused(request) {
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

    /// Returns whether the request asks for a fresher response.
    fn is_refused(self, request: Option<&RequestDirectives>) -> bool {
        let Some(request) = request else {
            return false;
        };
        // A client that sends `max-age=0` wants the response generated anew.
        let is_too_old = |max: Duration| self.age > max || max.is_zero();
        let ends_too_soon = |min: Duration| self.remaining().is_some_and(|left| left < min);
        request.no_cache
            || request.no_store
            || request.max_age.is_some_and(is_too_old)
            || request.min_fresh.is_some_and(ends_too_soon)
    }

    /// Returns whether the response may be reused when the handler takes too long. Such a handler counts
    /// as a handler that failed.
    pub(crate) fn is_of_use_when_slow(
        self,
        request: Option<&RequestDirectives>,
        grant: &Grant,
        windows: StaleWindows,
    ) -> bool {
        !self.is_refused(request) && self.is_of_use_on_error(grant, windows)
    }

    /// Returns whether the response may be reused when the handler failed (RFC 5861 §4).
    pub(crate) fn is_of_use_on_error(self, grant: &Grant, windows: StaleWindows) -> bool {
        self.is_fresh() || (grant.may_be_stale() && self.staleness() < windows.if_error)
    }
}

/// Returns the seconds of a duration, rounded up.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
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
            is_targeted: false,
            directives: String::new(),
        }
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

    #[test]
    fn lifetimes_are_shortened_by_a_part_of_themselves() {
        let shortened = |percent, draw| grant().shortened(percent, draw).lifetime;
        assert_eq!(shortened(10, 0.0), TTL);
        assert_eq!(shortened(50, 1.0), Some(Duration::from_secs(15)));
        assert_eq!(shortened(99, 0.5), Some(Duration::from_millis(15_150)));
        let no_expiry = Grant {
            lifetime: None,
            ..grant()
        };
        assert_eq!(no_expiry.shortened(99, 1.0).lifetime, None);
        let long = Grant::for_lifetime(Some(Duration::MAX));
        assert!(long.shortened(1, 0.0).lifetime <= Some(Duration::MAX));
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
    fn the_seconds_left_are_0_only_at_the_end() {
        let ttl = |age_millis| Freshness::at(age_millis, 0, TTL).ttl();
        assert_eq!(ttl(0), Some(30));
        assert_eq!(ttl(29_999), Some(1));
        assert_eq!(ttl(30_000), Some(0));
        assert_eq!(ttl(30_001), Some(-1));
        assert_eq!(ttl(32_000), Some(-2));
        assert_eq!(Freshness::at(1, 0, None).ttl(), None);
        assert_eq!(Freshness::new(Some(Duration::MAX)).ttl(), Some(i64::MAX));
    }

    #[test]
    fn a_clock_set_back_ages_nothing() {
        assert_eq!(Freshness::at(0, 1_000, TTL).remaining(), TTL);
    }
}
