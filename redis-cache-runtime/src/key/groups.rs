//! The groups by which entries are evicted.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use super::part::Text;
use super::spelling::Group;

/// The groups of an entry: sorted and without repeats.
pub fn sorted_groups<const N: usize>(groups: [Text; N]) -> Vec<Group> {
    let mut groups: Vec<Group> = groups.into_iter().map(Text::into_group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Sorts groups and removes repeats, so that every route that shares a key stamps its entry alike.
#[derive(Clone, Debug)]
pub(crate) enum Groups {
    Fixed(&'static [&'static str]),
    Made(Vec<Group>),
}

impl Groups {
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

impl PartialEq for Groups {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Groups {}

impl Hash for Groups {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|group| group.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_that_the_code_names_have_a_name_to_show() {
        let fixed = Groups::Fixed(&["a", "b"]);
        assert_eq!(fixed.named().collect::<Vec<_>>(), ["a", "b"]);
        let made = Groups::Made(vec!["a".into(), format!("b:{}", 1).into()]);
        assert_eq!(made.iter().collect::<Vec<_>>(), ["a", "b:1"]);
        assert_eq!(made.named().collect::<Vec<_>>(), ["a"]);
    }
}
