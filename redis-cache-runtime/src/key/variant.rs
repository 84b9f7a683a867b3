//! The request fields and values that select one of the responses of a key.

use axum::http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use super::spelling::hex;

/// The secondary cache key (RFC 9111 §4.1), which selects one of the responses of a key: by the request
/// fields that `vary` nominates, by the values of `vary_by`, and by everything else that the key does
/// not hold. It is hashed, because fields and values may be secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant(String);

/// The values that select a variant.
#[derive(Default)]
pub(crate) struct Selecting<'a> {
    pub(crate) nominated: &'static [HeaderName],
    pub(crate) fields: Option<&'a HeaderMap>,
    /// The values of `vary_by`.
    pub(crate) values: Option<&'a str>,
    /// The values of the URL that are not in the key.
    pub(crate) rest: &'a str,
    /// The matched path, unless it is the first mount of the handler.
    pub(crate) mount: &'a str,
}

impl Variant {
    /// Returns the selected variant; `None`: the key has one response.
    pub(crate) fn of(selecting: &Selecting<'_>) -> Option<Self> {
        let Selecting {
            nominated,
            fields,
            values,
            rest,
            mount,
        } = *selecting;
        let is_plain = rest.is_empty() && mount.is_empty();
        if nominated.is_empty() && values.is_none() && is_plain {
            return None;
        }
        let mut hash = Sha256::new();
        for name in nominated {
            let values = || fields.into_iter().flat_map(|fields| fields.get_all(name));
            hash.update((values().count() as u64).to_be_bytes());
            for value in values() {
                update(&mut hash, value.as_bytes());
            }
        }
        for part in [values.unwrap_or_default(), rest, mount] {
            update(&mut hash, part.as_bytes());
        }
        Some(Self(hex(&hash.finalize()[..16])))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Hashes bytes with their length, so that they cannot run into the next bytes.
fn update(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}
