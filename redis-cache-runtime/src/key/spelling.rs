//! The spelling of keys, groups and names.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// Longer keys and groups are replaced by their SHA-256.
pub(super) const MAX_LEN: usize = 512;

/// The number of buckets. Each has a nonce, with which the entries of its handlers are stamped, so that
/// all entries of a handler can be evicted in constant time. Handlers may share a bucket: evicting too
/// much is safe.
pub(crate) const BUCKETS: u8 = 64;

/// An eviction group. Borrowed: the code names it. Owned: it may hold values, so it is never shown.
pub(crate) type Group = Cow<'static, str>;

/// A name in pieces. The pieces are joined only where the bytes of the name are needed.
pub(crate) type Name<'a> = [&'a str; 4];

/// Returns the group of a name. A long name is hashed, and so is a name that looks hashed or like a
/// group of a scope.
pub(crate) fn group(text: Group) -> Group {
    if is_group(&text) {
        text
    } else {
        Cow::Owned(hashed(&text))
    }
}

/// Returns whether the group of a name is the name itself.
pub(crate) const fn is_group(name: &str) -> bool {
    name.len() <= MAX_LEN && !matches!(name.as_bytes(), [b'#' | b'(', ..])
}

/// Returns whether a group is known by the hash of its name only.
pub(crate) fn is_hashed(group: &str) -> bool {
    group.starts_with('#')
}

/// Returns the name of a group without its scope; `None`: the group stands for everything in a scope.
pub(crate) fn unscoped(group: &str) -> Option<&str> {
    let mut name = group;
    while let Some(rest) = name.strip_prefix('(') {
        (_, name) = rest.split_once(')')?;
    }
    (name == group || !name.is_empty()).then_some(name)
}

pub(super) fn hashed(text: &str) -> String {
    format!("#{}", hex(&Sha256::digest(text)))
}

/// Returns the lower-case hexadecimal digits of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}
