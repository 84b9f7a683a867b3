//! The stamps of an entry.

use std::sync::Arc;

use smallvec::SmallVec;

#[cfg(any(feature = "redis", test))]
use super::entry::ALLOCATION;
use crate::key::{Group, Nonce, ResponseGroups};

/// The nonces that were current when a fill began, in the order of
/// [`Names::nonces`](crate::key::Names::nonces), without the nonces of the response groups.
pub(crate) type Stamps = SmallVec<[Nonce; 4]>;

/// The stamps and groups of an entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntryStamps {
    pub(crate) address: Stamps,
    /// The groups that the response names, each with its nonce.
    pub(crate) groups: Vec<(Group, Nonce)>,
    /// The other groups that the next response may name.
    pub(crate) expected: Vec<Group>,
}

impl From<Stamps> for EntryStamps {
    fn from(address: Stamps) -> Self {
        Self {
            address,
            ..Self::default()
        }
    }
}

/// Response groups with their current nonces (`None`: the nonce is missing), as a lookup or a lease has
/// read them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupNonces {
    groups: ResponseGroups,
    nonces: Box<[Option<Nonce>]>,
}

impl GroupNonces {
    /// Returns response groups with their nonces, in the same order; `None`: there are no groups.
    pub(super) fn of(
        groups: Option<&ResponseGroups>,
        nonces: impl Iterator<Item = Option<Nonce>>,
    ) -> Option<Arc<Self>> {
        let groups = Arc::clone(groups?);
        let nonces = nonces.collect();
        Some(Arc::new(Self { groups, nonces }))
    }

    /// Returns whether the nonce of a group was read. `at` is the most likely position of the group.
    pub(crate) fn has(&self, at: usize, group: &str) -> bool {
        self.position(at, group).is_some()
    }

    /// Returns the nonce of a group; `None`: it was not read, or it is missing. `at` is the most likely
    /// position of the group.
    pub(crate) fn nonce(&self, at: usize, group: &str) -> Option<Nonce> {
        *self.nonces.get(self.position(at, group)?)?
    }

    fn position(&self, at: usize, group: &str) -> Option<usize> {
        let is_there = self.groups.get(at).is_some_and(|it| it == group);
        let search = || self.groups.iter().position(|it| it == group);
        is_there.then_some(at).or_else(search)
    }

    /// Returns the groups.
    #[cfg(any(feature = "redis", test))]
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Returns the memory that the groups take.
    #[cfg(any(feature = "redis", test))]
    pub(super) fn memory(&self) -> usize {
        let groups = self
            .groups
            .iter()
            .map(|group| size_of_val(group) + group.len() + ALLOCATION);
        groups.sum::<usize>() + size_of_val(&*self.nonces) + 3 * ALLOCATION
    }
}
