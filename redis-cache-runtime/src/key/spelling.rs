//! The spelling of keys, groups and names.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// Longer keys and groups are replaced by their SHA-256.
pub(super) const MAX_LEN: usize = 512;

/// The number of nonces of everything. An entry is stamped with the one of its handler, so
/// that everything of a handler can be evicted in constant time. Other handlers may share it: evicting
/// too much is safe.
pub(crate) const BUCKETS: u8 = 64;

/// An eviction group: borrowed if the code names it, owned if it may be made of values, which nobody
/// is shown.
pub(crate) type Group = Cow<'static, str>;

/// A name in the pieces it is made of: written out only where its bytes are needed.
pub(crate) type Name<'a> = [&'a str; 4];

/// The group of that name. Long names are hashed too, and so is one that looks hashed or like one of a
/// scope.
pub(crate) fn group(text: Group) -> Group {
    if text.len() > MAX_LEN || text.starts_with(['#', '(']) {
        Cow::Owned(hashed(&text))
    } else {
        text
    }
}

/// Returns whether a group is known by the hash of its name only.
pub(crate) fn is_hashed(group: &str) -> bool {
    group.starts_with('#')
}

/// The name of a group without its scope; `None` of the one that stands for everything in a scope.
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

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}
