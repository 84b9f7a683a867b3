//! The groups that an entry names: the groups of its response, each with a stamp, and more groups that
//! the next response may name.

use bytes::{Buf, Bytes};

use super::{Draft, Entry, FIXED, HINT, seal, u16_at};
use crate::http::freshness::Grant;
use crate::key::Group;
use crate::store::stamps::EntryStamps;

/// Returns a hint with the groups that the next response may name. `None`: there are too many groups.
pub(crate) fn hint(expected: &[Group]) -> Option<Bytes> {
    let draft = Draft {
        status: HINT,
        grant: &Grant::for_lifetime(None),
        generated: 0,
        fields_len: 0,
    };
    let stamps = EntryStamps {
        expected: expected.to_vec(),
        ..EntryStamps::default()
    };
    seal(draft.open(&stamps, &[])?, &[])
}

impl Entry {
    /// Returns whether the entry names groups.
    pub(crate) fn names_groups(&self) -> bool {
        names_groups(&self.bytes)
    }

    /// Returns the groups that the response names, each with its stamp.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let counts = Counts::of(&self.bytes).unwrap_or_default();
        let stamps = &self.bytes[counts.address_end()..counts.stamps_end()];
        self.group_names().zip(stamps.chunks_exact(16))
    }

    /// Returns the other groups that the next response may name.
    pub(crate) fn expected_groups(&self) -> impl Iterator<Item = &str> {
        let counts = Counts::of(&self.bytes).unwrap_or_default();
        self.group_names().skip(counts.groups)
    }

    fn group_names(&self) -> impl Iterator<Item = &str> {
        let counts = Counts::of(&self.bytes).unwrap_or_default();
        let mut names = &self.bytes[counts.stamps_end()..self.groups_end];
        std::iter::from_fn(move || pop_name(&mut names))
    }

    /// Returns the entry with new expected groups in place of the old ones; `None`: there are too many.
    pub(crate) fn expecting(&self, groups: &[Group]) -> Option<Bytes> {
        let stamps_end = Counts::of(&self.bytes)?.stamps_end();
        let mut out = self.bytes[..stamps_end].to_vec();
        out[50..52].copy_from_slice(&u16::try_from(groups.len()).ok()?.to_be_bytes());
        for (group, _) in self.groups() {
            push_name(&mut out, group)?;
        }
        for group in groups {
            push_name(&mut out, group)?;
        }
        out.extend_from_slice(&self.bytes[self.groups_end..self.header]);
        seal(out, &self.bytes[self.header..])
    }
}

/// The numbers of stamps and groups of an entry.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    address: usize,
    pub(super) groups: usize,
    pub(super) expected: usize,
}

impl Counts {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            address: usize::from(*bytes.get(47)?),
            groups: usize::from(u16_at(bytes, 48)?),
            expected: usize::from(u16_at(bytes, 50)?),
        })
    }

    fn address_end(self) -> usize {
        FIXED + self.address * 16
    }

    pub(super) fn stamps_end(self) -> usize {
        self.address_end() + self.groups * 16
    }
}

/// Returns whether an entry, which may not parse, names groups.
pub(crate) fn names_groups(bytes: &[u8]) -> bool {
    bytes.get(48..FIXED).is_some_and(|counts| counts != [0; 4])
}

pub(super) fn pop_name<'a>(names: &mut &'a [u8]) -> Option<&'a str> {
    let length = names.try_get_u16().ok()?;
    std::str::from_utf8(names.split_off(..length.into())?).ok()
}

pub(super) fn push_name(out: &mut Vec<u8>, name: &str) -> Option<()> {
    out.extend_from_slice(&u16::try_from(name.len()).ok()?.to_be_bytes());
    out.extend_from_slice(name.as_bytes());
    Some(())
}
