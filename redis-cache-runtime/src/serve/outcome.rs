//! How a request was answered: said in one value, at one place.

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::cache_status::append_cache_status;
use crate::cache::Cache;
use crate::http::fields::{CACHE_GROUPS, X_REDIS_CACHE};
use crate::http::freshness::Freshness;
use crate::http::storable::NotStorable;
use crate::observe::Measured;

/// How the cache answered, as `X-Redis-Cache` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From the stored response.
    Hit,
    /// From the stored response, although it is stale.
    Stale,
    /// By the handler, because there was no stored response to reuse.
    Miss,
    /// By the handler, past the cache.
    Bypass,
}

impl Outcome {
    /// Of an answer that is as fresh as that.
    pub(crate) fn of_reuse(freshness: Freshness) -> Self {
        if freshness.is_fresh() {
            Self::Hit
        } else {
            Self::Stale
        }
    }

    /// What it is called where it is counted, and where the run of another request may be the answer.
    pub(crate) fn name(self, collapsed: bool) -> &'static str {
        match self {
            Self::Hit if collapsed => "collapsed",
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }

    fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "HIT",
            Self::Stale => "STALE",
            Self::Miss => "MISS",
            Self::Bypass => "BYPASS",
        })
    }
}

/// What a write did to the cache, as `X-Redis-Cache` tells it. Of several attributes on one handler the
/// last of these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WriteOutcome {
    /// Nothing.
    Bypass,
    /// It stored what the next read gets.
    Stored,
    /// It evicted.
    Evicted,
    /// It evicts, and the store has not been told yet.
    Pending,
}

impl WriteOutcome {
    fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Bypass => "BYPASS",
            Self::Stored => "STORED",
            Self::Evicted => "EVICTED",
            Self::Pending => "PENDING",
        })
    }

    /// Tells of a write how it was answered.
    pub(crate) fn tell(self, mut response: Response, cache: &Cache) -> Response {
        let extensions = response.extensions_mut();
        let told = extensions.get::<Self>().copied();
        let outcome = told.map_or(self, |told| told.max(self));
        extensions.insert(outcome);
        response
            .headers_mut()
            .insert(X_REDIS_CACHE, outcome.value());
        // Several attributes on one handler are one cache.
        if told.is_none() && cache.tells_status() {
            append_cache_status(&mut response, CacheStatus::BYPASS);
        }
        response
    }
}

/// Why a request was forwarded to the handler (RFC 9211 §2.2). There is no `vary-miss`: what other
/// variants of a key are stored is not known.
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
    /// What the request says rules out the stored response, or any.
    Request,
    /// What is stored is stale.
    Stale,
}

impl Forward {
    /// Of a request that its method, or what it says, rules out of the cache.
    fn ruled_out(reason: NotStorable) -> Self {
        match reason {
            NotStorable::Method => Self::Method,
            _ => Self::Request,
        }
    }

    /// Of a request that is answered with what the handler makes.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Bypass | Self::Method => Outcome::Bypass,
            Self::UriMiss | Self::Miss | Self::Request | Self::Stale => Outcome::Miss,
        }
    }
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheStatus {
    pub(crate) outcome: Outcome,
    /// Why the handler had to run, for this request or the one that it was collapsed with; `None`:
    /// it had not.
    pub(crate) forward: Option<Forward>,
    /// What the handler answered, now or when the response was stored; a panic counts as 500.
    /// `None`: it did not, or it is of no concern.
    pub(crate) made: Option<StatusCode>,
    /// The run of another request answered it, in this process or in another.
    pub(crate) collapsed: bool,
    /// The response is stored. Of one whose body is under way it is not known yet.
    pub(crate) stored: bool,
    /// Why it is not.
    pub(crate) not_storable: Option<NotStorable>,
    /// Of the response, where it is known.
    pub(crate) freshness: Option<Freshness>,
    /// What an unsafe request did to the cache.
    pub(crate) wrote: Option<WriteOutcome>,
}

impl CacheStatus {
    /// Past the cache, as every write.
    pub(crate) const BYPASS: Self = Self {
        outcome: Outcome::Bypass,
        forward: Some(Forward::Bypass),
        made: None,
        collapsed: false,
        stored: false,
        not_storable: None,
        freshness: None,
        wrote: None,
    };

    /// By a stored response.
    pub(crate) fn reused(freshness: Freshness, made: StatusCode) -> Self {
        Self {
            outcome: Outcome::of_reuse(freshness),
            forward: None,
            made: Some(made),
            freshness: Some(freshness),
            ..Self::BYPASS
        }
    }

    /// By what the handler made.
    pub(crate) fn forwarded(forward: Forward) -> Self {
        Self {
            outcome: forward.outcome(),
            forward: Some(forward),
            ..Self::BYPASS
        }
    }

    /// By what the handler made of a request that rules out the cache.
    pub(crate) fn ruled_out(reason: NotStorable) -> Self {
        Self {
            not_storable: Some(reason),
            ..Self::forwarded(Forward::ruled_out(reason))
        }
        .past_the_cache()
    }

    /// The response is the work of the run of another request.
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

    /// By nothing: the client wants what is stored, or nothing.
    pub(crate) fn unanswered(outcome: Outcome) -> Self {
        Self {
            outcome,
            forward: None,
            ..Self::BYPASS
        }
    }

    /// The response went past the cache, whatever the reason that the handler ran for.
    pub(crate) fn past_the_cache(self) -> Self {
        Self {
            outcome: Outcome::Bypass,
            ..self
        }
    }

    /// Seconds for which the response stays fresh; negative when it is stale. Rounded away from
    /// zero, so that it says 0 of nothing that is fresh. `None`: not known, or no expiry.
    pub(crate) fn ttl(self) -> Option<i64> {
        self.freshness.and_then(Freshness::ttl)
    }
}

/// A response, and how it came to be.
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) status: CacheStatus,
}

impl Answer {
    /// The response as the client gets it, with the groups that it is in, if that is told: the one
    /// place where it is said how a read was answered, which is counted under the name of its handler.
    pub(crate) fn tell(
        mut self,
        cache: &Cache,
        handler: &'static str,
        groups: Option<HeaderValue>,
    ) -> Response {
        let status = self.status;
        let result = status.outcome.name(status.collapsed);
        let observer = cache.observer();
        observer.record(Measured::Request { handler, result });
        let told = status.wrote.map(WriteOutcome::value);
        let fields = self.response.headers_mut();
        fields.insert(
            X_REDIS_CACHE,
            told.unwrap_or_else(|| status.outcome.value()),
        );
        if let Some(groups) = groups {
            fields.append(CACHE_GROUPS, groups);
        }
        if cache.tells_status() {
            append_cache_status(&mut self.response, status);
        }
        self.response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_from_a_run_past_the_cache_is_past_it_too() {
        let lifetime = Some(Duration::from_secs(1));
        let stale = CacheStatus::reused(Freshness::at(2_000, 0, lifetime), StatusCode::OK);
        let told = |forward| stale.collapsed(forward).outcome;
        assert_eq!(told(Forward::Miss), Outcome::Stale);
        assert_eq!(told(Forward::Bypass), Outcome::Bypass);
    }

    #[test]
    fn only_a_hit_is_counted_as_collapsed() {
        assert_eq!(Outcome::Hit.name(false), "hit");
        assert_eq!(Outcome::Hit.name(true), "collapsed");
        assert_eq!(Outcome::Stale.name(true), "stale");
    }
}
