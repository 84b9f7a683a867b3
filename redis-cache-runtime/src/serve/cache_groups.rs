//! `Cache-Groups` and `Cache-Group-Invalidation` (RFC 9875).

use axum::http::HeaderValue;

use crate::cache::Cache;
use crate::http::structured::list_of_strings;
use crate::key::{Eviction, Groups, is_hashed, unscoped};

impl Cache {
    /// What caches are told of the groups of a response, if they are told.
    pub(super) fn told_groups(&self, groups: &Groups) -> Option<HeaderValue> {
        if self.tells_groups() {
            list_of_groups(groups.iter())
        } else {
            None
        }
    }

    /// What caches are told of the groups that are evicted, if they are told.
    pub(super) fn told_evictions(&self, evictions: &[Eviction]) -> Option<HeaderValue> {
        if !self.tells_groups() {
            return None;
        }
        list_of_groups(evictions.iter().filter_map(|eviction| match eviction {
            Eviction::Group(group) => Some(group.as_ref()),
            Eviction::Key(_) | Eviction::Handler(_) | Eviction::All => None,
        }))
    }
}

/// Groups by their names: what a hashed one was called is not known, and a scope is nobody's concern.
fn list_of_groups<'a>(groups: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let names = groups.filter_map(unscoped);
    list_of_strings(names.filter(|group| !is_hashed(group)))
}
