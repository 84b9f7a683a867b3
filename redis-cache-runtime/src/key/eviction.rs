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
    /// Everything of the handlers in a bucket.
    Handler(u8),
    All,
}

/// An eviction that the store has to be told of: everywhere, or only in some slots of a cluster,
/// where the others have taken it.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) eviction: Eviction,
    pub(crate) slots: Option<Slots>,
}

impl Owed {
    /// An eviction that the store was not told of at all.
    pub(crate) fn whole(eviction: Eviction) -> Self {
        Self {
            eviction,
            slots: None,
        }
    }
}

/// Returns whether some slots, or all of them, hold what belongs to a key.
pub(crate) fn concerns(slots: Option<&Slots>, key: &CacheKey) -> bool {
    slots.is_none_or(|slots| slots.contains(slot_of_key(key)))
}

impl Eviction {
    /// The kind of what it drops.
    pub(crate) fn target(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Group(_) => "group",
            Self::Handler(_) => "handler",
            Self::All => "all",
        }
    }

    /// Returns whether it concerns responses of handlers, and not a value alone.
    pub(crate) fn concerns_responses(&self) -> bool {
        !matches!(self, Self::Key(key) if key.is_of_value())
    }

    /// The name of its group, if it is of one that the code names.
    pub(crate) fn named_group(&self) -> Option<&'static str> {
        match self {
            Self::Group(group) => named(group),
            Self::Key(_) | Self::Handler(_) | Self::All => None,
        }
    }
}

/// For the log, which is shown no values: they may be secrets.
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
