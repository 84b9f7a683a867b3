//! Encodes the response of a handler and stores it under a fill.

use axum::http::response::Parts;
use axum::http::{HeaderMap, header};

use super::route::Route;
use crate::engine::clock;
use crate::engine::fill::Fill;
use crate::http::fields::stored_fields;
use crate::http::freshness::Grant;
use crate::http::storable::age;
use crate::http::targeted;
use crate::observe::Written;
use crate::store::entry::{Entry, StoredHead};

/// Stores a response under a fill, and returns the result.
pub(super) async fn store(
    fill: Box<Fill>,
    route: &Route,
    head: &StoredHead,
    body: &[u8],
) -> Written {
    let entry = head.encode(fill.stamps(), body).and_then(Entry::parse);
    let stale_for = route.windows().granted(&head.grant).longest();
    fill.store(entry, stale_for).await
}

/// Returns the head to store for a response that was made just now.
pub(super) fn stored_head(route: &Route, parts: &Parts, grant: Grant) -> StoredHead {
    StoredHead {
        status: parts.status,
        fields: stored_fields(&parts.headers, route.store.not_stored),
        grant,
        generated: clock::now(),
    }
}

/// Removes the age of a response from its fields. The lifetime of the grant is the remaining one,
/// so the age is accounted for.
pub(super) fn take_age(fields: &mut HeaderMap, grant: &Grant) {
    if grant.is_targeted {
        let age = age(fields, clock::time());
        targeted::count_down(fields, age);
    }
    fields.remove(header::AGE);
    fields.remove(header::DATE);
}

/// Returns the length that a handler declared for its body.
pub(super) fn content_length(fields: &HeaderMap) -> Option<u64> {
    fields
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
