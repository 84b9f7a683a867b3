//! The rules for storing responses (RFC 9111 §3).

use std::mem::discriminant;
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::cache_control::Declared;
use super::conditional::date;
use super::directives::{RequestDirectives, ResponseDirectives, seconds};
use super::fields::list_members;
use super::freshness::Grant;
use super::targeted;

/// Declares [`NotStorable`]: each reason with its name and its text. A reason with data has a value that
/// stands for all of its kind.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident $(($data:ty: $any:expr))? = $name:literal, $text:literal;)*) => {
        /// The reason why a response is not stored. The log names each reason once per route.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum NotStorable {
            $($(#[$doc])* $reason $(($data))?,)*
        }

        impl NotStorable {
            pub(crate) const ALL: &[Self] = &[$(Self::$reason $(($any))?),*];

            /// Returns the name for machines, a Token (RFC 9651 §3.3.4).
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$reason { .. } => $name,)*
                }
            }

            /// Returns the text for people.
            pub(crate) fn reason(self) -> &'static str {
                match self {
                    $(Self::$reason { .. } => $text,)*
                }
            }
        }
    };
}

reasons! {
    Method = "method", "the method is neither GET nor HEAD";
    Range = "range", "the request asks for a range";
    Authorization = "authorization",
        "the request has Authorization, and the key does not tell who asks: say `public`, \
         `vary(\"authorization\")`, or use a value in `vary_by` or `key` whose extractor \
         implements `IdentifiesCaller`";
    RequestNoStore = "request-no-store", "the request says no-store";
    /// The status of the response.
    Status(StatusCode: StatusCode::OK) = "status", "the route does not declare the status storable";
    SetCookie = "set-cookie", "the response sets a cookie";
    CacheControl = "cache-control", "the response says no-store, private or no-cache";
    Vary = "vary", "the response varies by a field that the route does not nominate";
    ContentRange = "content-range", "the response is a part";
    AlreadyStale = "already-stale", "the response says it is stale already";
    EventStream = "event-stream", "the response is an event stream";
    ContentSecurityPolicy = "content-security-policy",
        "the Content-Security-Policy has a nonce, which is valid for one response";
    Bypass = "bypass", "the route's `bypass` returned `true`";
    DoNotStore = "do-not-store", "the handler returned `DoNotStore`";
    TooManyGroups = "too-many-groups", "the response names more than 256 groups";
    NewGroups = "new-groups",
        "the response names groups that were not known before the handler ran";
    Unless = "unless", "the route's `unless` returned `true`";
    TooLarge = "too-large", "the body is longer than the limit";
    TooManyStreams = "too-many-streams",
        "the copies of streamed bodies take all the memory that REDIS_MAX_STREAMED_BYTES allows";
    Trailers = "trailers", "the response has trailers";
    Incomplete = "incomplete", "the body ended in an error or is shorter than its Content-Length";
    Endless = "endless", "the body is not all there when its head is sent";
    DuplicateName = "duplicate-name", "another handler has the same name: give one `name = \"..\"`";
    ReadTooEarly = "read-too-early",
        "an extractor may have read before an eviction: load the data in the handler";
}

impl NotStorable {
    /// Returns the bit of the variant.
    pub(crate) fn bit(self) -> u32 {
        let is_same = |other: &Self| discriminant(other) == discriminant(&self);
        Self::ALL.iter().position(is_same).map_or(0, |at| 1 << at)
    }

    /// The status that is not storable.
    pub(crate) fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status.as_u16()),
            _ => None,
        }
    }
}

/// The declarations of a route about storing.
#[derive(Clone, Debug)]
pub(crate) struct StorePolicy {
    /// Sorted by name.
    pub(crate) vary: &'static [HeaderName],
    pub(crate) statuses: &'static [StorableStatus],
    /// The response fields that belong to one request.
    pub(crate) not_stored: &'static [HeaderName],
    /// The route declares `public`: all users get the same responses.
    pub(crate) public: bool,
    /// The key identifies the user.
    pub(crate) identified: bool,
}

/// A storable status, and the lifetime of the responses that have it.
#[derive(Clone, Copy, Debug)]
pub struct StorableStatus {
    code: u16,
    lifetime: Option<Declared>,
}

impl StorableStatus {
    /// Creates a status whose responses have the lifetime of the route.
    pub const fn new(code: u16) -> Self {
        let lifetime = None;
        Self { code, lifetime }
    }

    /// Sets the lifetime of the responses; zero: no expiry.
    #[must_use]
    pub const fn lasting(mut self, lifetime: Declared) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Returns the lifetime of the responses, if it is not that of the route.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.lifetime.map(Declared::get)
    }
}

impl StorePolicy {
    pub(crate) const NONE: Self = Self {
        vary: &[],
        statuses: &[StorableStatus::new(200)],
        not_stored: &[],
        public: false,
        identified: false,
    };

    /// Returns the declaration of a status, if it is storable.
    pub(crate) fn status(&self, code: StatusCode) -> Option<&'static StorableStatus> {
        self.statuses.iter().find(|status| status.code == code)
    }

    /// Returns an error if the request may not use the cache, neither for reading nor for storing.
    pub(crate) fn check_request(
        &self,
        fields: &HeaderMap,
        directives: &RequestDirectives,
    ) -> Result<(), NotStorable> {
        let accounted = self.public || self.identified;
        if fields.contains_key(header::RANGE) {
            Err(NotStorable::Range)
        } else if fields.contains_key(header::AUTHORIZATION) && !accounted {
            Err(NotStorable::Authorization)
        } else if directives.no_store {
            Err(NotStorable::RequestNoStore)
        } else {
            Ok(())
        }
    }

    /// Returns the grant of a response whose fields allow storing, or the reason why they do not.
    pub(crate) fn check_fields(
        &self,
        fields: &HeaderMap,
        ttl: Option<Duration>,
        now: SystemTime,
    ) -> Result<Grant, NotStorable> {
        let directives = ResponseDirectives::of(fields);
        let age = age(fields, now);
        let lifetime = lifetime(&directives, fields, ttl, age, now);
        if fields.contains_key(header::SET_COOKIE) {
            Err(NotStorable::SetCookie)
        } else if directives.no_store || directives.private || directives.no_cache {
            Err(NotStorable::CacheControl)
        } else if !self.nominates_all(fields) {
            Err(NotStorable::Vary)
        } else if fields.contains_key(header::CONTENT_RANGE) {
            Err(NotStorable::ContentRange)
        } else if lifetime.is_some_and(|lifetime| lifetime.is_zero()) {
            Err(NotStorable::AlreadyStale)
        } else if is_event_stream(fields) {
            Err(NotStorable::EventStream)
        } else if has_nonce(fields) {
            Err(NotStorable::ContentSecurityPolicy)
        } else if fields.contains_key(header::TRAILER) {
            Err(NotStorable::Trailers)
        } else {
            Ok(Grant {
                lifetime,
                max_age: directives
                    .max_age
                    .map(|seconds| seconds.saturating_sub(age.as_secs())),
                s_maxage: directives.s_maxage.is_some(),
                is_targeted: targeted::is_any(fields),
                directives: directives.others,
            })
        }
    }

    fn nominates_all(&self, fields: &HeaderMap) -> bool {
        // `*` is the name of no field, so it is never nominated.
        list_members(fields, &header::VARY).all(|member| {
            self.vary
                .iter()
                .any(|nominated| nominated.as_str() == member)
        }) && fields
            .get_all(header::VARY)
            .iter()
            .all(|line| line.to_str().is_ok())
    }
}

/// The age of a response that is passed on now (RFC 9111 §4.2.3), in whole seconds: by its `Age`, of
/// which the largest counts, or by its `Date`.
pub(crate) fn age(fields: &HeaderMap, now: SystemTime) -> Duration {
    let ages = list_members(fields, &header::AGE);
    let age = ages.filter_map(|age| seconds(&age)).max().unwrap_or(0);
    let since = fields
        .get(header::DATE)
        .and_then(date)
        .and_then(|date| now.duration_since(date).ok());
    Duration::from_secs(since.map_or(0, |since| since.as_secs()).max(age))
}

/// Returns the rest of the freshness lifetime of a response (RFC 9111 §4.2.1). `Expires` is often sent
/// for old clients, so it can only shorten the lifetime that the route grants.
fn lifetime(
    directives: &ResponseDirectives,
    fields: &HeaderMap,
    ttl: Option<Duration>,
    age: Duration,
    now: SystemTime,
) -> Option<Duration> {
    if let Some(declared) = directives.s_maxage.or(directives.max_age) {
        return Some(Duration::from_secs(declared).saturating_sub(age));
    }
    let expires = expires(fields, now).map(|expires| expires.saturating_sub(age));
    match (expires, ttl) {
        (Some(expires), Some(ttl)) => Some(expires.min(ttl)),
        (expires, ttl) => expires.or(ttl),
    }
}

/// Returns the time from `Date` to `Expires`. An invalid date is one in the past (RFC 9111 §5.3).
fn expires(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let expires = date(fields.get(header::EXPIRES)?);
    let generated = fields.get(header::DATE).and_then(date).unwrap_or(now);
    let lifetime = expires.and_then(|expires| expires.duration_since(generated).ok());
    Some(lifetime.unwrap_or_default())
}

/// Returns whether the body of a write with this status is the response to the next read.
pub(crate) fn is_representation(status: StatusCode) -> bool {
    [
        StatusCode::OK,
        StatusCode::CREATED,
        StatusCode::NON_AUTHORITATIVE_INFORMATION,
    ]
    .contains(&status)
}

/// Returns whether a response invalidates what is stored for its URL (RFC 9111 §4.4).
pub(crate) fn is_non_error(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Returns whether a Content Security Policy allows scripts or styles by a nonce. The nonce is also in
/// the body and must not be used twice.
fn has_nonce(fields: &HeaderMap) -> bool {
    let names = [
        header::CONTENT_SECURITY_POLICY,
        header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    ];
    let mut lines = names.iter().flat_map(|name| fields.get_all(name));
    lines.any(|line| {
        let mut windows = line.as_bytes().windows(NONCE_SOURCE.len());
        windows.any(|window| window.eq_ignore_ascii_case(NONCE_SOURCE))
    })
}

/// The beginning of a nonce source.
const NONCE_SOURCE: &[u8] = b"'nonce-";

fn is_event_stream(fields: &HeaderMap) -> bool {
    let content_type = fields
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn each_reason_has_a_bit_of_its_own_whatever_the_status() {
        let bits: HashSet<u32> = NotStorable::ALL.iter().map(|reason| reason.bit()).collect();
        assert_eq!(bits.len(), NotStorable::ALL.len());
        assert!(bits.iter().all(|bit| bit.is_power_of_two()));
        let of_status = |status| NotStorable::Status(status).bit();
        assert_eq!(of_status(StatusCode::NOT_FOUND), of_status(StatusCode::OK));
    }

    #[test]
    fn a_vary_that_cannot_be_read_may_name_anything() {
        let policy = StorePolicy {
            vary: &[header::ACCEPT],
            ..StorePolicy::NONE
        };
        let check = |line: &'static [u8]| {
            let fields = HeaderMap::from_iter([
                (header::VARY, HeaderValue::from_static("accept")),
                (header::VARY, HeaderValue::from_bytes(line).unwrap()),
            ]);
            policy.check_fields(&fields, None, SystemTime::UNIX_EPOCH)
        };
        assert!(check(b"Accept").is_ok());
        assert_eq!(check(b"caf\xe9"), Err(NotStorable::Vary));
    }
}
