//! The stamps of an entry.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::key::{Group, Nonce, ResponseGroups};

/// The nonces that were current when a fill began, in the order of
/// [`Names::nonces`](crate::key::Names::nonces), without those of the response groups.
pub(crate) type Stamps = SmallVec<[Nonce; 4]>;

/// Everything that an entry is stamped with.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntryStamps {
    pub(crate) address: Stamps,
    /// The groups that the response names, sorted, each with its nonce.
    pub(crate) groups: Vec<(Group, Nonce)>,
    /// More groups that the next response may name.
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

    /// Returns whether the nonce of a group was read.
    pub(crate) fn has(&self, group: &str) -> bool {
        self.groups.iter().any(|it| it == group)
    }

    /// Returns the nonce of a group; `None`: it was not read, or it is missing.
    pub(crate) fn nonce(&self, group: &str) -> Option<Nonce> {
        let at = self.groups.iter().position(|it| it == group)?;
        self.nonces.get(at).copied().flatten()
    }
}
