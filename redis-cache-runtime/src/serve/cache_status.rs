//! `Cache-Status` (RFC 9211).

use std::fmt::{self, Write};

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::outcome::{CacheStatus, Forward, Outcome};
use crate::http::fields::CACHE_STATUS;
use crate::http::structured::MAX_INTEGER;

/// Says of a response how its request was answered, after what caches behind the handler said.
pub(super) fn append_cache_status(response: &mut Response, status: CacheStatus) {
    if let Some(value) = field(status, response.status()) {
        response.headers_mut().append(CACHE_STATUS, value);
    }
}

/// The member of this cache; `None` of a response that is neither the handler's nor stored (RFC 9211
/// §2).
fn field(status: CacheStatus, sent: StatusCode) -> Option<HeaderValue> {
    let mut member = String::with_capacity(64);
    write(&mut member, status, sent).ok()?;
    HeaderValue::try_from(member).ok()
}

fn write(member: &mut String, status: CacheStatus, sent: StatusCode) -> fmt::Result {
    member.push_str("axum-redis-cache");
    match (status.forward, status.outcome) {
        (Some(forward), _) => write!(member, ";fwd={}", forward.token())?,
        (None, Outcome::Hit | Outcome::Stale) => member.push_str(";hit"),
        (None, Outcome::Miss | Outcome::Bypass) => return Err(fmt::Error),
    }
    let made = status.made.filter(|made| *made != sent);
    if let Some(made) = made.filter(|_| status.forward.is_some()) {
        write!(member, ";fwd-status={}", made.as_u16())?;
    }
    if let Some(ttl) = status.ttl() {
        write!(member, ";ttl={}", ttl.clamp(-MAX_INTEGER, MAX_INTEGER))?;
    }
    if status.stored {
        member.push_str(";stored");
    }
    if status.collapsed {
        member.push_str(";collapsed");
    }
    match status.not_storable {
        Some(reason) => write!(member, ";detail={}", reason.name()),
        None => Ok(()),
    }
}

impl Forward {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::freshness::Freshness;
    use crate::http::storable::NotStorable;

    fn told(status: CacheStatus) -> Option<String> {
        let value = field(status, StatusCode::OK)?;
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
}
