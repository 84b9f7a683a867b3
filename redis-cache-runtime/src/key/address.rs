//! The address of a stored response or value.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::cache_key::CacheKey;
use super::groups::{DeclaredGroups, ResponseGroups};
use super::registry::Mounted;
use super::spelling::Group;
use super::variant::Variant;

/// Everything that the store needs to find one entry.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) key: CacheKey,
    pub(crate) variant: Option<Variant>,
    pub(crate) groups: DeclaredGroups,
    /// The groups that only responses name, as far as they are known. They do not tell one address from
    /// another.
    pub(crate) response_groups: Option<ResponseGroups>,
    /// The mount of the handler, with which the entry is stamped; `None`: the entry is a value.
    pub(crate) mounted: Option<Mounted>,
}

impl Address {
    /// Returns the address with groups that responses have named.
    pub(crate) fn with_response_groups(&self, groups: &ResponseGroups) -> Self {
        Self {
            response_groups: Some(Arc::clone(groups)),
            ..self.clone()
        }
    }

    /// Returns the groups that responses have named.
    pub(crate) fn response_groups(&self) -> &[Group] {
        self.response_groups.as_deref().unwrap_or_default()
    }

    /// Returns whether evictions of the key remove a nonce that the entry is stamped with. Otherwise
    /// they remove the entry itself.
    pub(crate) fn is_stamped_by_key(&self) -> bool {
        self.variant.is_some() || self.reads_early()
    }

    /// Returns whether the entry may depend on data that was read before the lease was taken.
    pub(crate) fn reads_early(&self) -> bool {
        self.mounted.is_some_and(|mounted| mounted.reads_early)
    }

    /// Returns the texts that the address consists of.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let variant = self.variant.as_ref().map(Variant::text);
        let texts = [Some(self.key.text()), self.key.base(), variant];
        let groups = self.key.groups.iter().flatten().map(AsRef::as_ref);
        texts
            .into_iter()
            .flatten()
            .chain(groups)
            .chain(self.groups.iter())
            .chain(self.response_groups().iter().map(AsRef::as_ref))
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.variant == other.variant && self.groups == other.groups
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.variant.hash(state);
        self.groups.hash(state);
    }
}
