//! The key, variant and groups that the arguments of one request select.

use std::any::{TypeId, type_name};

use super::Route;
use super::read_url::{ReadArguments, Types};
use crate::key::part::Text;
use crate::key::{CacheKey, DeclaredGroups, Group, sorted_groups};

/// The key, variant and groups that the arguments select; `None` fields are left to the route.
#[derive(Debug)]
pub struct Selected {
    pub(super) key: Option<CacheKey>,
    pub(super) vary_by: Option<String>,
    /// Sorted, without duplicates.
    pub(super) groups: Option<Vec<Group>>,
    pub(super) types: Types,
    pub(super) read: Option<ReadArguments>,
    pub(super) template: Option<Text>,
}

impl Default for Selected {
    fn default() -> Self {
        Self {
            key: None,
            vary_by: None,
            groups: None,
            types: Types::none(),
            read: None,
            template: None,
        }
    }
}

impl Selected {
    /// Selects nothing: the key is that of the request, the groups are those of the route.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects an instance of a generic handler by its types, with the function that reads a URL as
    /// its arguments do.
    pub fn of_types<T: 'static>(read: ReadArguments) -> Self {
        let types = Types {
            id: TypeId::of::<T>(),
            // The type arguments of the marker type of generated code.
            names: type_name::<T>()
                .split_once("__AxumRedisCacheTypes")
                .map_or("", |(_, it)| it),
        };
        Self {
            types,
            read: Some(read),
            ..Self::default()
        }
    }

    /// Selects a key, and the groups that the key decides.
    #[must_use]
    pub fn key(mut self, mut key: CacheKey) -> Self {
        self.groups = key.groups.take();
        self.key = Some(key);
        self
    }

    /// Selects the key that a template of a generic handler makes.
    #[must_use]
    pub fn template(mut self, template: Text) -> Self {
        self.template = Some(template);
        self
    }

    /// Selects the variant by values.
    #[must_use]
    pub fn vary_by(mut self, values: Text) -> Self {
        self.vary_by = Some(values.into_string());
        self
    }

    /// Selects groups, instead of those of the route.
    #[must_use]
    pub fn groups<const N: usize>(mut self, groups: [Text; N]) -> Self {
        self.groups = Some(sorted_groups(groups));
        self
    }

    /// Returns the selected key.
    pub(crate) fn selected_key(&self) -> Option<&CacheKey> {
        self.key.as_ref()
    }

    /// Returns the groups of a response that is not stored.
    pub(crate) fn into_groups(self, route: &Route) -> DeclaredGroups {
        route.groups_of(self.groups)
    }

    /// Returns whether another handler has the same name.
    pub(crate) fn is_duplicate(&self, route: &'static Route) -> bool {
        route.instance(self.types).is_duplicate()
    }
}
