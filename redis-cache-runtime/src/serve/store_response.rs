//! Encodes the response of a handler and stores it under a fill.

use axum::http::response::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;

use super::response_parts::Groups;
use super::route::Route;
use crate::engine::fill::Fill;
use crate::engine::{Engine, clock, declared_groups};
use crate::http::conditional::add_etag;
use crate::http::fields::stored_fields;
use crate::http::freshness::Grant;
use crate::http::storable::age;
use crate::http::targeted;
use crate::key::Group;
use crate::observe::Written;
use crate::store::EntryStamps;
use crate::store::entry::{Entry, StoredHead};

/// The parts of a response that are stored with its body.
pub(super) struct ToStore {
    head: StoredHead,
    /// The groups that only the response names.
    groups: Vec<Group>,
}

impl ToStore {
    /// Returns the parts of a response that was made just now.
    pub(super) fn new(engine: &Engine, route: &Route, parts: &Parts, grant: Grant) -> Self {
        let groups = parts.extensions.get::<Groups>();
        Self {
            head: StoredHead {
                status: parts.status,
                fields: stored_fields(&parts.headers, route.store.not_stored),
                grant,
                generated: clock::now(),
            },
            groups: groups.map_or_else(Vec::new, |groups| named(engine, groups)),
        }
    }

    /// Adds the `ETag` of a body, unless the handler has set one.
    pub(super) async fn add_etag(&mut self, body: &Bytes) {
        add_etag(self.head.status, &mut self.head.fields, body).await;
    }

    /// Encodes the response.
    pub(super) fn encode(&self, stamps: &EntryStamps, body: &[u8]) -> Option<Bytes> {
        self.head.encode(stamps, body)
    }

    /// Stores the response with its body under a fill, and returns the result.
    pub(super) async fn store(
        self,
        #[cfg_attr(not(test), allow(unused_mut, reason = "a test breaks the protocol"))]
        mut fill: Box<Fill>,
        route: &Route,
        body: &[u8],
    ) -> Written {
        #[cfg(test)]
        fill.break_protocol(&self.groups).await;
        let Some(stamps) = fill.stamps_for(&self.groups) else {
            return fill.expect(self.groups, route.windows().longest()).await;
        };
        let entry = self.encode(&stamps, body).and_then(Entry::parse);
        let stale_for = route.windows().granted(&self.head.grant).longest();
        fill.store(entry, stale_for).await
    }
}

/// Returns groups that a response or a value names, in the scope of the cache.
pub(super) fn named(engine: &Engine, groups: &Groups) -> Vec<Group> {
    declared_groups::declare_kinds(groups.iter());
    match engine.scope() {
        Some(scope) => groups.iter().map(|group| scope.group(group)).collect(),
        None => groups.iter().cloned().collect(),
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
