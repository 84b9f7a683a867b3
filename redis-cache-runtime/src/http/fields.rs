//! The rules for storing header fields, and for the fields of a 304.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use smallvec::SmallVec;

use super::directives::split_list;
use super::targeted::is_targeted;

/// The field `X-Redis-Cache`, which says how the cache answered:
///
/// | value | meaning |
/// | --- | --- |
/// | `HIT` | with a stored response |
/// | `STALE` | with a stored response that is stale |
/// | `MISS` | by the handler, because no stored response could be reused |
/// | `BYPASS` | by the handler, without the cache |
/// | `EVICTED` | by the handler; the entries that it changed are evicted |
/// | `STORED` | by the handler; the response is stored for the next read |
/// | `PENDING` | by the handler; its evictions have not reached Redis yet |
///
/// ```
/// use axum::response::Response;
/// use axum_redis_cache::X_REDIS_CACHE;
///
/// fn is_hit(response: &Response) -> bool {
///     response.headers().get(X_REDIS_CACHE).is_some_and(|outcome| outcome == "HIT")
/// }
/// ```
pub const X_REDIS_CACHE: HeaderName = HeaderName::from_static("x-redis-cache");

/// The field that shows how caches handled the request (RFC 9211).
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The field with the lifetime of a response for CDNs (RFC 9213 §3.1).
pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The groups that a response belongs to (RFC 9875 §2).
pub(crate) const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// The groups that a write evicted (RFC 9875 §3).
pub(crate) const CACHE_GROUP_INVALIDATION: HeaderName =
    HeaderName::from_static("cache-group-invalidation");

/// Fields of one connection, and fields that are set again for every response (RFC 9111 §3.1).
static NEVER_STORED: [HeaderName; 14] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::DATE,
    header::AGE,
    X_REDIS_CACHE,
    // The field has no meaning in the response to a read.
    CACHE_GROUP_INVALIDATION,
];

/// The fields of the replaced response that a 304 repeats (RFC 9110 §15.4.5), and fields for caches.
static IN_NOT_MODIFIED: [HeaderName; 8] = [
    header::CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::VARY,
    CACHE_STATUS,
    CACHE_GROUPS,
];

/// Returns the fields of a response to store, without those that belong to one request. `Cache-Control`
/// is left out, too: it counts down, so every reply computes it from the freshness lifetime.
pub(crate) fn stored_fields(fields: &HeaderMap, not_stored: &[HeaderName]) -> HeaderMap {
    let connection: Vec<String> = list_members(fields, &header::CONNECTION).collect();
    let stored = |name: &HeaderName| {
        *name != header::CACHE_CONTROL
            && !NEVER_STORED.contains(name)
            && !not_stored.contains(name)
            && !connection.iter().any(|named| named == name.as_str())
    };
    let kept = fields.iter().filter(|(name, _)| stored(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Reduces the fields of a response to those its 304 has.
pub(crate) fn retain_for_not_modified(fields: HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(IN_NOT_MODIFIED.len());
    let mut name = None;
    for (next, value) in fields {
        name = next.or(name);
        let is_kept = |name: &&HeaderName| IN_NOT_MODIFIED.contains(name) || is_targeted(name);
        if let Some(name) = name.as_ref().filter(is_kept) {
            kept.append(name.clone(), value);
        }
    }
    kept
}

/// Adds to `Vary` the request fields that select the response, in one line: some caches obey only the
/// last of several lines.
pub(crate) fn add_vary(fields: &mut HeaderMap, nominated: &[HeaderName]) {
    if let Some(line) = one_vary(fields, nominated) {
        fields.insert(header::VARY, line);
    }
}

/// Returns the `Vary` of a response with nominated fields; `None`: it names them already, or is
/// malformed.
fn one_vary(fields: &HeaderMap, nominated: &[HeaderName]) -> Option<HeaderValue> {
    let lines = fields.get_all(header::VARY).iter().map(HeaderValue::to_str);
    let lines: SmallVec<[_; 2]> = lines.collect::<Result<_, _>>().ok()?;
    let present = || lines.iter().flat_map(|line| split_list(line));
    let is_missing =
        |name: &&HeaderName| !present().any(|have| have.eq_ignore_ascii_case(name.as_str()));
    let missing: SmallVec<[_; 4]> = nominated.iter().filter(is_missing).collect();
    if missing.is_empty() && lines.len() < 2 {
        return None;
    }
    let names = present().chain(missing.into_iter().map(HeaderName::as_str));
    let names: SmallVec<[_; 4]> = names.collect();
    HeaderValue::from_str(&names.join(", ")).ok()
}

/// The lower-case members of a list field, over all its lines.
pub(crate) fn list_members<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = String> + use<'a> {
    let lines = fields
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    lines.flat_map(split_list).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varying(lines: &[&'static str], nominated: &[HeaderName]) -> Vec<HeaderValue> {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(header::VARY, HeaderValue::from_static(line));
        }
        add_vary(&mut fields, nominated);
        fields.get_all(header::VARY).into_iter().cloned().collect()
    }

    #[test]
    fn a_vary_that_says_all_in_one_line_stays_as_it_is() {
        assert!(varying(&[], &[]).is_empty());
        assert_eq!(varying(&["Origin ,Accept"], &[]), ["Origin ,Accept"]);
        let accept = [header::ACCEPT];
        assert_eq!(varying(&["Origin ,Accept"], &accept), ["Origin ,Accept"]);
    }

    #[test]
    fn all_lines_of_a_vary_become_one() {
        let three = ["Origin", "Accept", "Cookie"];
        assert_eq!(varying(&three, &[]), ["Origin, Accept, Cookie"]);
        let range = [header::RANGE];
        assert_eq!(varying(&["Origin"], &range), ["Origin, range"]);
        assert_eq!(varying(&[], &range), ["range"]);
    }
}
