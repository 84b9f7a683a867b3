//! The groups by which entries are evicted.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::part::Text;
use super::spelling::{Group, group};

/// The groups of an entry: sorted and without repeats.
pub fn sorted_groups<const N: usize>(groups: [Text; N]) -> Vec<Group> {
    sorted(groups.into_iter().map(Text::into_group).collect())
}

/// Groups that only responses name.
pub(crate) type ResponseGroups = Arc<[Group]>;

fn sorted(mut groups: Vec<Group>) -> Vec<Group> {
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Sorts groups and removes repeats, so that every route that shares a key stamps its entry alike.
#[derive(Clone, Debug)]
pub(crate) enum DeclaredGroups {
    Fixed(&'static [&'static str]),
    Made(Vec<Group>),
}

impl DeclaredGroups {
    /// Returns the groups of names that the code has.
    pub(crate) fn of_names(names: &[&'static str]) -> Self {
        let groups = names.iter().map(|name| group(Cow::Borrowed(name)));
        Self::Made(sorted(groups.collect()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let (fixed, made) = match self {
            Self::Fixed(groups) => (*groups, &[][..]),
            Self::Made(groups) => (&[][..], &**groups),
        };
        fixed.iter().copied().chain(made.iter().map(AsRef::as_ref))
    }

    /// Returns the groups that the code names.
    pub(crate) fn named(&self) -> impl Iterator<Item = &'static str> {
        let (fixed, made) = match self {
            Self::Fixed(groups) => (*groups, &[][..]),
            Self::Made(groups) => (&[][..], &**groups),
        };
        fixed.iter().copied().chain(made.iter().filter_map(named))
    }
}

/// Returns the name of a group, if the code names it.
pub(super) fn named(group: &Group) -> Option<&'static str> {
    match group {
        Cow::Borrowed(name) => Some(name),
        Cow::Owned(_) => None,
    }
}

impl PartialEq for DeclaredGroups {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for DeclaredGroups {}

impl Hash for DeclaredGroups {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|group| group.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::is_group;

    #[test]
    fn a_name_that_could_be_taken_for_another_group_is_not_the_group_itself() {
        let long = "x".repeat(513);
        for (name, is_itself) in [
            ("a", true),
            (&long[..512], true),
            (&long, false),
            ("#a", false),
            ("(a)b", false),
        ] {
            let named = group(Cow::Owned(name.to_owned()));
            assert_eq!(
                (is_group(name), named == name),
                (is_itself, is_itself),
                "{name}"
            );
        }
    }

    #[test]
    fn only_groups_that_the_code_names_have_a_name_to_show() {
        let fixed = DeclaredGroups::Fixed(&["a", "b"]);
        assert_eq!(fixed.named().collect::<Vec<_>>(), ["a", "b"]);
        let made = DeclaredGroups::Made(vec!["a".into(), format!("b:{}", 1).into()]);
        assert_eq!(made.iter().collect::<Vec<_>>(), ["a", "b:1"]);
        assert_eq!(made.named().collect::<Vec<_>>(), ["a"]);
    }
}
