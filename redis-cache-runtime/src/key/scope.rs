//! A part of a cache that shares no entry, group or eviction with the rest.

use std::sync::Arc;

use super::cache_key::CacheKey;
use super::eviction::Eviction;
use super::groups::DeclaredGroups;
use super::spelling::Group;
use crate::key::part::KeyWriter;

/// A scope: its name in parentheses, with which its keys and groups begin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope(Arc<str>);

impl Scope {
    /// Returns the scope of a name, nested in an outer scope if there is one.
    pub(crate) fn new(name: &str, outer: Option<&Self>) -> Self {
        let mut text = outer.map_or_else(String::new, |outer| outer.0.to_string());
        text.push('(');
        KeyWriter::new(&mut text).text(name);
        text.push(')');
        Self(text.into())
    }

    pub(crate) fn key(&self, key: CacheKey) -> CacheKey {
        CacheKey {
            text: format!("{}{}", self.0, key.text),
            base: key.base.map(|base| format!("{}{base}", self.0).into()),
            bucket: key.bucket,
            groups: key.groups,
        }
    }

    pub(crate) fn group(&self, group: &str) -> Group {
        format!("{}{group}", self.0).into()
    }

    /// Returns the groups of an entry in the scope. An additional group stands for everything in the
    /// scope.
    pub(crate) fn groups(&self, groups: &DeclaredGroups) -> DeclaredGroups {
        let mut scoped: Vec<Group> = groups.iter().map(|group| self.group(group)).collect();
        scoped.push(self.group(""));
        scoped.sort_unstable();
        DeclaredGroups::Made(scoped)
    }

    /// Returns the eviction of everything in the scope.
    pub(crate) fn everything(&self) -> Eviction {
        Eviction::Group(self.group(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::spelling::unscoped;

    #[test]
    fn a_group_in_a_scope_is_its_own() {
        let outer = Scope::new("a", None);
        let inner = Scope::new("b", Some(&outer));
        let groups = [
            outer.group("g"),
            outer.group("h"),
            inner.group("g"),
            Scope::new("b", None).group("g"),
        ];
        assert_eq!(groups, ["(a)g", "(a)h", "(a)(b)g", "(b)g"]);
    }

    #[test]
    fn the_name_of_a_group_is_that_without_its_scopes() {
        for group in ["g", "(a)g", "(a)(b)g"] {
            assert_eq!(unscoped(group), Some("g"), "{group}");
        }
        assert_eq!(unscoped(""), Some(""));
        assert_eq!(
            unscoped("(a)(b)"),
            None,
            "it stands for everything in a scope"
        );
    }
}
