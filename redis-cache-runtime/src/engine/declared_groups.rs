//! The groups that the code of this process declares. An eviction of any other group is logged,
//! because its name may be misspelt.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::key::{DeclaredGroups, Group, unscoped};

/// The groups that handlers and values of this process declare.
#[derive(Default)]
struct Declarations {
    names: HashSet<String>,
    /// The patterns of names: NUL is the placeholder of a value.
    patterns: HashSet<&'static str>,
    /// The beginnings of names, up to the first colon, that responses and values have named.
    kinds: HashSet<String>,
    /// The undeclared groups that the log has named.
    unknown: HashSet<String>,
}

/// The largest number of names that are remembered. When it is reached, no group is logged as
/// undeclared.
const MAX_NAMES: usize = 10_000;

static GROUPS: LazyLock<Mutex<Declarations>> = LazyLock::new(Mutex::default);

fn declared() -> MutexGuard<'static, Declarations> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Declares groups by the patterns of their names: NUL is the placeholder of a value.
pub(crate) fn declare_patterns(patterns: &[&'static str]) {
    declared().patterns.extend(patterns);
}

/// Declares a group.
pub(crate) fn declare(name: &str) {
    declared().declare(name);
}

impl Declarations {
    fn declare(&mut self, name: &str) {
        if self.names.len() < MAX_NAMES && !self.names.contains(name) {
            self.names.insert(name.to_owned());
        }
    }
}

/// Declares the groups of an entry whose names were computed for it. They follow no declared
/// pattern.
pub(crate) fn declare_made(groups: &DeclaredGroups) {
    if let DeclaredGroups::Made(groups) = groups {
        groups
            .iter()
            .filter_map(|group| unscoped(group))
            .for_each(declare);
    }
}

/// Declares the groups that a response or a value names. For `product:7`, declares all names that begin
/// with `product:`.
pub(crate) fn declare_kinds<'a>(names: impl Iterator<Item = &'a Group>) {
    let mut groups = declared();
    for name in names {
        let Some((kind, _)) = name.split_once(':') else {
            groups.declare(name);
            continue;
        };
        if groups.kinds.len() < MAX_NAMES && !groups.kinds.contains(kind) {
            groups.kinds.insert(kind.to_owned());
        }
    }
}

/// Logs, once per name, that an evicted group is declared by no handler: the name may be misspelt.
pub(crate) fn check(name: &str) {
    if is_new_and_undeclared(name) {
        tracing::info!(
            group = name,
            "evicted a group that no handler of this process has declared so far: check the spelling \
             of the name"
        );
    }
}

fn is_new_and_undeclared(name: &str) -> bool {
    let mut groups = declared();
    let mut patterns = groups.patterns.iter();
    let is_of_kind = name
        .split_once(':')
        .is_some_and(|(kind, _)| groups.kinds.contains(kind));
    let is_named = groups.names.contains(name) || is_of_kind;
    let is_known = is_named || patterns.any(|pattern| matches(pattern, name));
    let is_full = groups.names.len() >= MAX_NAMES || groups.unknown.len() >= MAX_NAMES;
    !is_known && !is_full && groups.unknown.insert(name.to_owned())
}

/// Returns whether a name matches a pattern, in which NUL is the placeholder of a value.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('\0') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('\0').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, rest)) = name.split_once(part) else {
            return false;
        };
        name = rest;
    }
    name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_new_once_unless_its_name_or_a_pattern_is_declared() {
        declare("by name");
        declare_patterns(&["by pattern:\0"]);
        for (name, expected) in [
            ("by name", [false, false]),
            ("by pattern:7", [false, false]),
            ("by nobody", [true, false]),
        ] {
            let is_new = [is_new_and_undeclared(name), is_new_and_undeclared(name)];
            assert_eq!(is_new, expected, "{name}");
        }
    }

    #[test]
    fn a_name_matches_a_pattern_by_what_is_between_the_values() {
        for (pattern, name, expected) in [
            ("books", "books", true),
            ("books", "book", false),
            ("brand:\0", "brand:acme", true),
            ("brand:\0", "brands:acme", false),
            ("\0:\0/x", "a:b/x", true),
            ("\0:\0/x", "a/x", false),
            ("\0", "anything", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} {name}");
        }
    }
}
