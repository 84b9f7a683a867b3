//! Cache keys.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use super::groups::sorted_groups;
use super::part::Text;
use super::spelling::{BUCKETS, Group, MAX_LEN, hashed, hex, unscoped};

/// The primary cache key (RFC 9111 §2) of a response: its handler, and the values of the request.
///
/// The attributes build keys from requests. To evict from other code, build the key of a handler from
/// its values:
///
/// ```
/// # use axum_redis_cache::{Cache, cached};
/// # use axum::extract::Path;
/// #[cached(ttl = 300)]
/// async fn get_product(Path(id): Path<u64>) -> String {
///     format!("product {id}")
/// }
///
/// #[cached(ttl = 300)]
/// async fn home() -> &'static str {
///     "home"
/// }
///
/// # async fn sell(cache: Cache) {
/// cache.evict(get_product::key(42)).await;
/// cache.evict(home::key("/")).await;
/// # }
/// ```
// The text of a handler's key starts with the name of the handler, the text of a hashed key with `#`,
// the text of the key of a value with `=`, and a scope with `(`, so that no two kinds of keys are equal.
#[derive(Clone, Debug)]
pub struct CacheKey {
    pub(super) text: String,
    /// The key that this key extends by values that are not in the path. Its eviction evicts this key,
    /// too.
    pub(super) base: Option<Box<str>>,
    /// The bucket whose nonce the entry is stamped with.
    pub(super) bucket: u8,
    /// The groups of the entry, if the values of the key decide about them.
    pub(crate) groups: Option<Vec<Group>>,
}

impl CacheKey {
    /// Placeholder until the key function has run; equals no real key.
    pub(crate) const UNKNOWN: Self = Self {
        text: String::new(),
        base: None,
        bucket: 0,
        groups: None,
    };

    /// Returns the key of a handler's response. Its text begins with the name of the handler.
    pub(crate) fn of_handler(text: String, bucket: u8) -> Self {
        let text = if text.len() > MAX_LEN {
            hashed(&text)
        } else {
            text
        };
        Self {
            text,
            base: None,
            bucket,
            groups: None,
        }
    }

    /// Returns the key that extends this key.
    pub(crate) fn extended(self, more: &str) -> Self {
        if more.is_empty() {
            return self;
        }
        let text = self.text.clone() + more;
        Self {
            base: Some(self.text.into_boxed_str()),
            groups: self.groups,
            ..Self::of_handler(text, self.bucket)
        }
    }

    /// Returns the key of a value: `=group:key`, or `=:key` without a group. Equal names in different
    /// groups are different keys.
    pub(crate) fn of_value(group: Option<&str>, key: &str) -> Self {
        let mut text = String::with_capacity(2 + group.map_or(0, str::len) + key.len());
        text.push('=');
        match group {
            // Not the same as no group.
            Some("") => text.push('%'),
            // The first colon ends the group.
            Some(group) => text.push_str(&group.replace('%', "%25").replace(':', "%3A")),
            None => {}
        }
        text.push(':');
        text.push_str(key);
        if text.len() > MAX_LEN {
            text = format!("={}", hashed(&text));
        }
        let bucket = bucket_of(group.unwrap_or_default());
        Self {
            text,
            base: None,
            bucket,
            groups: None,
        }
    }

    /// Returns the start of the SHA-256 of the key, to identify the key where it must not be shown.
    pub(crate) fn fingerprint(&self) -> String {
        hex(&Sha256::digest(&self.text)[..8])
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the name of the handler, or the hash of a long key.
    pub(super) fn handler(&self) -> &str {
        let text = unscoped(&self.text).unwrap_or_default();
        text.split([' ', '/', '?', '=']).next().unwrap_or_default()
    }

    /// Returns whether this is the key of a value.
    pub(crate) fn is_of_value(&self) -> bool {
        unscoped(&self.text).is_some_and(|text| text.starts_with('='))
    }

    /// Returns the text of the key that this key extends, if there is one.
    pub(crate) fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// Returns the key that this key extends, or this key.
    pub(crate) fn into_base(mut self) -> Self {
        if let Some(base) = self.base.take() {
            self.text = base.into_string();
        }
        self
    }

    pub(crate) fn bucket(&self) -> u8 {
        self.bucket
    }

    #[doc(hidden)]
    #[must_use]
    pub fn in_groups<const N: usize>(mut self, groups: [Text; N]) -> Self {
        self.groups = Some(sorted_groups(groups));
        self
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CacheKey {}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Returns the bucket of a handler, or of a group of values, by its name.
pub(crate) fn bucket_of(name: &str) -> u8 {
    // The remainder is less than the number of buckets.
    u8::try_from(xxh3_64(name.as_bytes()) % u64::from(BUCKETS)).unwrap_or_default()
}
