//! The result of a lookup.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::entry::{Entry, names_groups};
use super::stamps::GroupNonces;
#[cfg(any(feature = "redis", test))]
use super::{Incarnation, stored_nonce};
use super::{Nonce, Token};
use crate::key::Address;
#[cfg(any(feature = "redis", test))]
use crate::key::Names;

/// The result of one lookup. All values from one node are from the same moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) entry: Option<FoundEntry>,
    /// The current nonces; `None`: the nonce is missing and matches no stamp. If the arguments of the
    /// handler are extracted before the lease is taken and may read data (`reads_early`), the store
    /// appends the nonce that every eviction of responses removes. The client takes this nonce out
    /// again.
    pub(crate) nonces: SmallVec<[Option<Nonce>; 4]>,
    /// The response groups of the address, with their nonces.
    pub(crate) groups: Option<Arc<GroupNonces>>,
    /// The token of the lease of the address, if the token was requested and the lease is held.
    pub(crate) holder: Option<Token>,
}

/// The entry that a lookup found.
#[derive(Clone, Debug)]
pub(crate) enum FoundEntry {
    /// The bytes of the store. They may not parse.
    Bytes(Bytes),
    /// An entry that is kept in this process, parsed when it was stored.
    Parsed(Entry),
}

impl FoundEntry {
    /// Returns whether the entry names groups.
    pub(crate) fn names_groups(&self) -> bool {
        match self {
            Self::Bytes(bytes) => names_groups(bytes),
            Self::Parsed(entry) => entry.names_groups(),
        }
    }

    /// Parses the entry in place; `None`: it does not parse.
    fn parsed(&mut self) -> Option<&Entry> {
        if let Self::Bytes(bytes) = self {
            *self = Self::Parsed(Entry::parse(bytes.clone())?);
        }
        match self {
            Self::Parsed(entry) => Some(entry),
            Self::Bytes(_) => None,
        }
    }

    /// Returns the entry, if it parses.
    pub(crate) fn parse(self) -> Option<Entry> {
        match self {
            Self::Bytes(bytes) => Entry::parse(bytes),
            Self::Parsed(entry) => Some(entry),
        }
    }

    /// Returns the number of stored bytes.
    #[cfg(feature = "redis")]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Parsed(entry) => entry.bytes().len(),
        }
    }

    /// Parses and decodes the entry in advance, so that lookups share what was decoded. Bytes that do not
    /// parse stay as they are.
    pub(super) fn decoded(self) -> Self {
        match self {
            Self::Bytes(bytes) => match Entry::parse(bytes.clone()) {
                Some(entry) => Self::Parsed(entry.decoded()),
                None => Self::Bytes(bytes),
            },
            parsed @ Self::Parsed(_) => parsed,
        }
    }

    /// Returns the number of bytes that the entry takes in memory.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Parsed(entry) => entry.memory(),
        }
    }

    /// Returns the stored bytes.
    #[cfg(any(feature = "memory", test))]
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Parsed(entry) => entry.into_bytes(),
        }
    }
}

#[cfg(test)]
impl PartialEq for FoundEntry {
    fn eq(&self, other: &Self) -> bool {
        self.clone().into_bytes() == other.clone().into_bytes()
    }
}

impl Found {
    /// Builds the result from the values of [`Names::looked_up`], each with its server.
    #[cfg(any(feature = "redis", test))]
    pub(super) fn of_values(
        mut values: impl DoubleEndedIterator<Item = (Option<Bytes>, Incarnation)>,
        (at, holder): (&Address, bool),
        names: &Names,
    ) -> Self {
        let entry = values.next().and_then(|(value, _)| value);
        let holder = holder.then(|| values.next_back()?.0).flatten();
        let nonce = |(value, from): (Option<Bytes>, _)| stored_nonce(&value?, from);
        let mut nonces: SmallVec<_> = values.map(nonce).collect();
        if at.reads_early() && names.witness().is_none() {
            nonces.push(None);
        }
        let mut found = Self {
            entry: entry.map(FoundEntry::Bytes),
            nonces,
            groups: None,
            holder: holder.as_deref().map(Token::of_bytes),
        };
        found.set_groups_apart(at);
        found
    }

    /// Moves the nonces of the response groups from `nonces` to `groups`. They are the last nonces,
    /// except for the witness if there is one.
    pub(super) fn set_groups_apart(&mut self, at: &Address) {
        let Some(groups) = &at.response_groups else {
            return;
        };
        let witness = usize::from(at.reads_early());
        let end = self.nonces.len().saturating_sub(witness);
        let start = end.saturating_sub(groups.len());
        self.groups = GroupNonces::of(Some(groups), self.nonces.drain(start..end));
    }

    /// Returns the result without the nonce that every eviction of responses removes: it may have
    /// changed when the result is used again.
    #[cfg(any(feature = "redis", test))]
    pub(super) fn without_witness(&self, at: &Address) -> Self {
        let mut found = self.clone();
        if at.reads_early()
            && let Some(witness) = found.nonces.last_mut()
        {
            *witness = None;
        }
        found
    }

    /// Returns the entry, if it parses and names groups.
    pub(crate) fn entry_in_groups(&mut self) -> Option<&Entry> {
        let entry = self.entry.as_mut().filter(|entry| entry.names_groups())?;
        entry.parsed()
    }

    /// Returns whether the nonces of all groups of the entry were read.
    pub(crate) fn has_read_groups(&self) -> bool {
        let Some(FoundEntry::Parsed(entry)) = &self.entry else {
            return true;
        };
        let read = self.groups.as_deref();
        let mut groups = entry.groups().enumerate();
        groups.all(|(at, (group, _))| read.is_some_and(|read| read.has(at, group)))
    }

    /// Returns the groups of an entry that have been evicted since the entry was stamped.
    pub(crate) fn evicted_groups<'a>(&self, entry: &'a Entry) -> impl Iterator<Item = &'a str> {
        let read = self.groups.as_deref();
        let groups = entry.groups().enumerate();
        let evicted = groups.filter(move |group| !is_current(*group, read));
        evicted.map(|(_, (group, _))| group)
    }

    /// Returns the entry, if it decodes and all its stamps are current.
    pub(crate) fn into_entry(self) -> Option<Entry> {
        self.into_current().ok().flatten()
    }

    /// Returns the entry, if there is one and it decodes. `Err`: the entry is not current. `Err(true)`:
    /// only its last stamp differs, which is that of the mount of the handler.
    pub(crate) fn into_current(self) -> Result<Option<Entry>, bool> {
        let Self {
            entry,
            nonces,
            groups,
            ..
        } = self;
        let entry = entry.and_then(FoundEntry::parse);
        let Some(entry) = entry.filter(|entry| !entry.is_hint()) else {
            return Ok(None);
        };
        if entry.is_stamped_with(nonces.iter().copied()) {
            let groups = groups.as_deref();
            let is_current = !entry.names_groups() || {
                let mut of_entry = entry.groups().enumerate();
                of_entry.all(|group| is_current(group, groups))
            };
            return if is_current {
                Ok(Some(entry))
            } else {
                Err(false)
            };
        }
        let (Some((_, nonces)), mut stamps) = (nonces.split_last(), entry.stamps()) else {
            return Err(false);
        };
        let _mount = stamps.next_back();
        let current = nonces
            .iter()
            .map(|nonce| nonce.as_ref().map(|nonce| &nonce[..]));
        Err(stamps.map(Some).eq(current))
    }
}

/// Returns whether the stamp of a response group is the current nonce of the group. `at` is the most
/// likely position of the group among the groups that were read.
fn is_current((at, (group, stamp)): (usize, (&str, &[u8])), read: Option<&GroupNonces>) -> bool {
    let nonce = read.and_then(|read| read.nonce(at, group));
    nonce.as_ref().map(|nonce| &nonce[..]) == Some(stamp)
}
