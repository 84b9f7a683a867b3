//! `Cache-Status` (RFC 9211) and `X-Redis-Cache`: how a request was handled.

use std::fmt::{self, Write};

use axum::http::{HeaderValue, StatusCode};

use super::freshness::Freshness;
use super::storable::NotStorable;
use super::structured::MAX_INTEGER;

/// The cache's handling of a read, as `X-Redis-Cache` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A fresh stored response.
    Hit,
    /// A stale stored response.
    Stale,
    /// The handler's response, because there was no stored one to reuse.
    Miss,
    /// The handler's response, past the cache.
    Bypass,
}

impl Outcome {
    /// The outcome of reusing a response of that freshness.
    pub(crate) fn of_reuse(freshness: Freshness) -> Self {
        if freshness.is_fresh() {
            Self::Hit
        } else {
            Self::Stale
        }
    }

    /// Returns the name in metrics and spans. `collapsed`: the run of another request made the
    /// response.
    pub(crate) fn name(self, collapsed: bool) -> &'static str {
        match self {
            Self::Hit if collapsed => "collapsed",
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }

    /// Returns the value of `X-Redis-Cache`.
    pub(crate) fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "HIT",
            Self::Stale => "STALE",
            Self::Miss => "MISS",
            Self::Bypass => "BYPASS",
        })
    }
}

/// The reason why a request was forwarded to the handler (RFC 9211 §2.2). There is no `vary-miss`: the
/// cache does not know the other variants of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// The cache was not asked, or could not answer.
    Bypass,
    /// The method rules out the cache.
    Method,
    /// Nothing is stored under the key.
    UriMiss,
    /// Nothing is stored for this request, but there may be other variants of the key; or another
    /// request had found out already, and this one joined it.
    Miss,
    /// A directive or field of the request rules out the stored response, or any.
    Request,
    /// The stored response is stale.
    Stale,
}

impl Forward {
    /// The reason of a request that may not use the cache.
    fn ruled_out(reason: NotStorable) -> Self {
        match reason {
            NotStorable::Method => Self::Method,
            _ => Self::Request,
        }
    }

    /// Returns the outcome of a request that is answered by the handler.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Bypass | Self::Method => Outcome::Bypass,
            Self::UriMiss | Self::Miss | Self::Request | Self::Stale => Outcome::Miss,
        }
    }

    fn token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

/// The cache's handling of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheStatus {
    pub(crate) outcome: Outcome,
    /// The reason why the handler ran, for this request or the one that it was collapsed with; `None`:
    /// the handler did not run.
    pub(crate) forward: Option<Forward>,
    /// The status of the handler's response, now or when it was stored; a panic counts as 500. `None`:
    /// there was no such response, or its status is the one that is sent.
    pub(crate) made: Option<StatusCode>,
    /// The run of another request, in this process or in another, made the response.
    pub(crate) collapsed: bool,
    /// The response is stored. While a body streams, this is not known yet.
    pub(crate) stored: bool,
    /// The reason why the response is not stored.
    pub(crate) not_storable: Option<NotStorable>,
    /// The freshness of the response, if it is known.
    pub(crate) freshness: Option<Freshness>,
}

impl CacheStatus {
    /// The status of a request that went past the cache, as every write does.
    pub(crate) const BYPASS: Self = Self {
        outcome: Outcome::Bypass,
        forward: Some(Forward::Bypass),
        made: None,
        collapsed: false,
        stored: false,
        not_storable: None,
        freshness: None,
    };

    /// The status of a request that is answered with a stored response.
    pub(crate) fn reused(freshness: Freshness, made: StatusCode) -> Self {
        Self {
            outcome: Outcome::of_reuse(freshness),
            forward: None,
            made: Some(made),
            freshness: Some(freshness),
            ..Self::BYPASS
        }
    }

    /// The status of a request that the handler answers.
    pub(crate) fn forwarded(forward: Forward) -> Self {
        Self {
            outcome: forward.outcome(),
            forward: Some(forward),
            ..Self::BYPASS
        }
    }

    /// The status of a request that may not use the cache.
    pub(crate) fn ruled_out(reason: NotStorable) -> Self {
        Self {
            not_storable: Some(reason),
            ..Self::forwarded(Forward::ruled_out(reason))
        }
        .past_the_cache()
    }

    /// Changes the status to that of a response which the run of another request made.
    pub(crate) fn collapsed(self, forward: Forward) -> Self {
        let outcome = match forward.outcome() {
            Outcome::Bypass => Outcome::Bypass,
            _ => self.outcome,
        };
        Self {
            outcome,
            forward: Some(forward),
            collapsed: true,
            ..self
        }
    }

    /// The status of a request with `only-if-cached` for which nothing is stored.
    pub(crate) fn unanswered(outcome: Outcome) -> Self {
        Self {
            outcome,
            forward: None,
            ..Self::BYPASS
        }
    }

    /// Changes the status to that of a response which went past the cache, whatever the reason for the
    /// run.
    pub(crate) fn past_the_cache(self) -> Self {
        Self {
            outcome: Outcome::Bypass,
            ..self
        }
    }

    /// Returns the seconds for which the response stays fresh; negative when it is stale. Rounded away
    /// from zero, so that nothing fresh has 0. `None`: not known, or no expiry.
    fn ttl(self) -> Option<i64> {
        self.freshness.and_then(Freshness::ttl)
    }

    /// Returns the member of this cache for a response with status `sent`; `None` for a response that
    /// is neither the handler's nor stored (RFC 9211 §2).
    pub(crate) fn member(self, sent: StatusCode) -> Option<HeaderValue> {
        let mut member = String::with_capacity(64);
        self.write(&mut member, sent).ok()?;
        HeaderValue::try_from(member).ok()
    }

    fn write(self, member: &mut String, sent: StatusCode) -> fmt::Result {
        member.push_str("axum-redis-cache");
        match (self.forward, self.outcome) {
            (Some(forward), _) => write!(member, ";fwd={}", forward.token())?,
            (None, Outcome::Hit | Outcome::Stale) => member.push_str(";hit"),
            (None, Outcome::Miss | Outcome::Bypass) => return Err(fmt::Error),
        }
        let made = self.made.filter(|made| *made != sent);
        if let Some(made) = made.filter(|_| self.forward.is_some()) {
            write!(member, ";fwd-status={}", made.as_u16())?;
        }
        if let Some(ttl) = self.ttl() {
            write!(member, ";ttl={}", ttl.clamp(-MAX_INTEGER, MAX_INTEGER))?;
        }
        if self.stored {
            member.push_str(";stored");
        }
        if self.collapsed {
            member.push_str(";collapsed");
        }
        match self.not_storable {
            Some(reason) => write!(member, ";detail={}", reason.name()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(status: CacheStatus) -> Option<String> {
        let value = status.member(StatusCode::OK)?;
        let member = value.to_str().unwrap();
        Some(member.strip_prefix("axum-redis-cache").unwrap().to_owned())
    }

    fn reused(age: u64, lifetime: Option<Duration>) -> CacheStatus {
        CacheStatus::reused(Freshness::at(age, 0, lifetime), StatusCode::NOT_FOUND)
    }

    #[test]
    fn a_hit_has_no_reason_to_be_forwarded() {
        let thirty = Some(Duration::from_secs(30));
        assert_eq!(told(reused(0, thirty)).unwrap(), ";hit;ttl=30");
        assert_eq!(told(reused(31_500, thirty)).unwrap(), ";hit;ttl=-2");
        assert_eq!(told(reused(0, None)).unwrap(), ";hit");
        let longest = told(reused(0, Some(Duration::MAX))).unwrap();
        assert_eq!(longest, ";hit;ttl=999999999999999");
        let collapsed = reused(0, thirty).collapsed(Forward::UriMiss);
        assert_eq!(
            told(collapsed).unwrap(),
            ";fwd=uri-miss;fwd-status=404;ttl=30;collapsed"
        );
    }

    #[test]
    fn what_the_handler_made_says_why_it_ran() {
        let refused = CacheStatus::ruled_out(NotStorable::Authorization);
        assert_eq!(told(refused).unwrap(), ";fwd=request;detail=authorization");
        let method = CacheStatus::ruled_out(NotStorable::Method);
        assert_eq!(told(method).unwrap(), ";fwd=method;detail=method");
        assert_eq!(told(CacheStatus::BYPASS).unwrap(), ";fwd=bypass");
        assert_eq!(told(CacheStatus::unanswered(Outcome::Miss)), None);
    }

    #[test]
    fn a_status_is_told_where_the_client_gets_another() {
        let made = |made| CacheStatus {
            made: Some(made),
            stored: true,
            ..CacheStatus::forwarded(Forward::Stale)
        };
        assert_eq!(told(made(StatusCode::OK)).unwrap(), ";fwd=stale;stored");
        let failed = told(made(StatusCode::BAD_GATEWAY)).unwrap();
        assert_eq!(failed, ";fwd=stale;fwd-status=502;stored");
    }

    #[test]
    fn an_answer_from_a_run_past_the_cache_is_past_it_too() {
        let lifetime = Some(Duration::from_secs(1));
        let stale = CacheStatus::reused(Freshness::at(2_000, 0, lifetime), StatusCode::OK);
        let outcome = |forward| stale.collapsed(forward).outcome;
        assert_eq!(outcome(Forward::Miss), Outcome::Stale);
        assert_eq!(outcome(Forward::Bypass), Outcome::Bypass);
    }

    #[test]
    fn only_a_hit_is_counted_as_collapsed() {
        assert_eq!(Outcome::Hit.name(false), "hit");
        assert_eq!(Outcome::Hit.name(true), "collapsed");
        assert_eq!(Outcome::Stale.name(true), "stale");
    }
}
