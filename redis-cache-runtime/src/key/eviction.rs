//! The entries that an eviction drops.

use std::borrow::Cow;
use std::fmt;

use super::cache_key::CacheKey;
use super::groups::named;
use super::slots::Slots;
use super::slots::slot_of_key;
use super::spelling::Group;

/// The entries that an eviction drops.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Eviction {
    /// The entries of a key and of those that extend it.
    Key(CacheKey),
    Group(Group),
    /// All entries of the handlers in a bucket.
    Handler(u8),
    All,
}

/// An eviction that is still to be sent to the store: everywhere, or only in the slots of a cluster that
/// have not taken it.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) eviction: Eviction,
    pub(crate) slots: Option<Slots>,
}

impl Owed {
    /// Returns an eviction that is still to be sent everywhere.
    pub(crate) fn whole(eviction: Eviction) -> Self {
        Self {
            eviction,
            slots: None,
        }
    }
}

/// Returns whether some slots, or all of them, hold the names of a key.
pub(crate) fn concerns(slots: Option<&Slots>, key: &CacheKey) -> bool {
    slots.is_none_or(|slots| slots.contains(slot_of_key(key)))
}

impl Eviction {
    /// Returns the kind of the evicted entries.
    pub(crate) fn target(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Group(_) => "group",
            Self::Handler(_) => "handler",
            Self::All => "all",
        }
    }

    /// Returns whether the eviction concerns responses, and not only a value.
    pub(crate) fn concerns_responses(&self) -> bool {
        !matches!(self, Self::Key(key) if key.is_of_value())
    }

    /// Returns the name of the evicted group, if the code names the group.
    pub(crate) fn named_group(&self) -> Option<&'static str> {
        match self {
            Self::Group(group) => named(group),
            Self::Key(_) | Self::Handler(_) | Self::All => None,
        }
    }
}

/// Formats for the log, without values: they may be secrets.
impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "{} (key hash {})", key.handler(), key.fingerprint()),
            Self::Group(Cow::Borrowed(group)) => write!(f, "group {group}"),
            Self::Group(Cow::Owned(_)) => f.write_str("a group made of values"),
            Self::Handler(_) => f.write_str("everything of the handler"),
            Self::All => f.write_str("everything"),
        }
    }
}
