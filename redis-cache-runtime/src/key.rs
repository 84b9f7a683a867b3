//! Cache keys and the names of what the store holds for them.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use axum::http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use crate::key_part::Text;

/// Longer keys and groups are replaced by their SHA-256.
const MAX_LEN: usize = 512;

/// An eviction group: borrowed if the code names it, owned if it may be made of values, which nobody
/// is shown.
pub(crate) type Group = Cow<'static, str>;

/// The primary cache key (RFC 9111 §2): which resource a stored response belongs to.
///
/// The attributes make it of requests. To evict from elsewhere, ask the handler for it: by the
/// values of its key template, or, when its key is that of the request, by the path and query.
///
/// ```
/// # use axum_redis_cache::{Cache, cached};
/// # use axum::extract::Path;
/// #[cached(ttl = 300, key = "product:{id}")]
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
// The text of a URI key starts with `/`, the text of a hashed key with `#`, and the text of the key of
// a value with `=`, so that none of them ever meet.
#[derive(Clone, Debug)]
pub struct CacheKey {
    text: String,
    /// The groups of its entry, where the values of the key decide about them.
    pub(crate) groups: Option<Vec<Group>>,
}

impl CacheKey {
    /// Stands for a key that still has to be asked for. None is like it.
    pub(crate) const UNKNOWN: Self = Self {
        text: String::new(),
        groups: None,
    };

    pub(crate) fn new(text: String) -> Self {
        let text = match text.as_bytes().first() {
            // An empty hash tag, or one that looks like a hashed key or that of a value, would be
            // ambiguous.
            None | Some(b'#' | b'}' | b'=') => hashed(&text),
            Some(_) if text.len() > MAX_LEN => hashed(&text),
            Some(_) => text,
        };
        Self { text, groups: None }
    }

    /// The key of a value: `=group:key`, or `=:key` in no group. The same key in another group is
    /// another one.
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
        Self { text, groups: None }
    }

    /// What tells it from others where it must not be shown: the start of its SHA-256.
    pub(crate) fn fingerprint(&self) -> String {
        hex(&Sha256::digest(&self.text)[..8])
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
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

/// Groups as entries are stamped with them: sorted and without repeats.
pub(crate) fn sorted_groups<const N: usize>(groups: [Text; N]) -> Vec<Group> {
    let mut groups: Vec<Group> = groups.into_iter().map(Text::into_group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The group of that name. Long names are hashed too; one that looks like it is hashed again.
pub(crate) fn group(text: Group) -> Group {
    if text.len() > MAX_LEN || is_hashed(&text) {
        Cow::Owned(hashed(&text))
    } else {
        text
    }
}

/// Whether a group is known by the hash of its name only.
pub(crate) fn is_hashed(group: &str) -> bool {
    group.starts_with('#')
}

fn hashed(text: &str) -> String {
    format!("#{}", hex(&Sha256::digest(text)))
}

/// The secondary cache key (RFC 9111 §4.1): which of a resource's responses the request fields
/// nominated by `vary`, and the values of `vary_by`, select. Hashed, because they may be secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant(String);

impl Variant {
    /// Of the nominated fields of a request, and of the values; `None` when there are neither.
    pub(crate) fn of(
        nominated: &[HeaderName],
        fields: Option<&HeaderMap>,
        values: Option<&str>,
    ) -> Option<Self> {
        if nominated.is_empty() && values.is_none() {
            return None;
        }
        let mut hash = Sha256::new();
        for name in nominated {
            let values = || fields.into_iter().flat_map(|fields| fields.get_all(name));
            hash.update((values().count() as u64).to_be_bytes());
            for value in values() {
                hash.update((value.len() as u64).to_be_bytes());
                hash.update(value.as_bytes());
            }
        }
        hash.update(values.unwrap_or_default());
        Some(Self(hex(&hash.finalize()[..16])))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Everything the store needs to find one stored response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) key: CacheKey,
    pub(crate) variant: Option<Variant>,
    pub(crate) groups: Groups,
}

/// The groups of an entry: sorted and without repeats, so that every route that shares a key stamps
/// alike.
#[derive(Clone, Debug)]
pub(crate) enum Groups {
    Fixed(&'static [&'static str]),
    Made(Vec<Group>),
}

impl Groups {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let (fixed, made) = match self {
            Self::Fixed(groups) => (*groups, &[][..]),
            Self::Made(groups) => (&[][..], &**groups),
        };
        fixed.iter().copied().chain(made.iter().map(AsRef::as_ref))
    }

    /// Those that the code names.
    pub(crate) fn named(&self) -> impl Iterator<Item = &'static str> {
        let (fixed, made) = match self {
            Self::Fixed(groups) => (*groups, &[][..]),
            Self::Made(groups) => (&[][..], &**groups),
        };
        fixed.iter().copied().chain(made.iter().filter_map(named))
    }
}

/// The name of a group, if the code names it.
fn named(group: &Group) -> Option<&'static str> {
    match group {
        Cow::Borrowed(name) => Some(name),
        Cow::Owned(_) => None,
    }
}

impl PartialEq for Groups {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Groups {}

impl Hash for Groups {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|group| group.hash(state));
    }
}

/// What an eviction drops.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Eviction {
    Key(CacheKey),
    Group(Group),
    All,
}

impl Eviction {
    /// Of what kind it is.
    pub(crate) fn target(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Group(_) => "group",
            Self::All => "all",
        }
    }

    /// The name of its group, if it is of one that the code names.
    pub(crate) fn named_group(&self) -> Option<&'static str> {
        match self {
            Self::Group(group) => named(group),
            Self::Key(_) | Self::All => None,
        }
    }
}

/// Builds the names under which the store keeps things; nothing else knows their spelling.
///
/// The braces of what belongs to a key are a cluster hash tag: all of it lives in one slot.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    entry: String,
    lease: String,
    variants: String,
    group: String,
    all: String,
}

/// A name in the pieces it is made of: written out only where its bytes are needed.
pub(crate) type Name<'a> = [&'a str; 4];

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            entry: format!("{prefix}:cache:e:{{"),
            lease: format!("{prefix}:cache:l:{{"),
            variants: format!("{prefix}:cache:v:{{"),
            group: format!("{prefix}:cache:g:"),
            all: format!("{prefix}:cache:all"),
        }
    }

    pub(crate) fn entry<'a>(&'a self, at: &'a Address) -> Name<'a> {
        tagged(&self.entry, &at.key, at.variant.as_ref())
    }

    pub(crate) fn lease<'a>(&'a self, at: &'a Address) -> Name<'a> {
        tagged(&self.lease, &at.key, at.variant.as_ref())
    }

    pub(crate) fn base_lease<'a>(&'a self, key: &'a CacheKey) -> Name<'a> {
        tagged(&self.lease, key, None)
    }

    /// The nonce that all variants of a key are stamped with, so that evicting the key drops them.
    pub(crate) fn variants<'a>(&'a self, key: &'a CacheKey) -> Name<'a> {
        tagged(&self.variants, key, None)
    }

    fn group<'a>(&'a self, group: &'a str) -> Name<'a> {
        [&self.group, group, "", ""]
    }

    /// The nonce whose removal evicts everything.
    pub(crate) fn all(&self) -> Name<'_> {
        [&self.all, "", "", ""]
    }

    /// The names of the nonces an entry is stamped with, in the order of its stamps.
    pub(crate) fn nonces<'a>(&'a self, at: &'a Address) -> impl Iterator<Item = Name<'a>> {
        let variants = at.variant.as_ref().map(|_| self.variants(&at.key));
        let groups = at.groups.iter().map(|group| self.group(group));
        std::iter::once(self.all()).chain(variants).chain(groups)
    }

    /// The names whose removal is the eviction. Every one is needed, whatever holds values now: a
    /// fill that is under way holds only the lease. That goes first: where they are not removed at
    /// once, the fill must not end in between.
    pub(crate) fn evicted<'a>(&'a self, eviction: &'a Eviction) -> impl Iterator<Item = Name<'a>> {
        let names = match eviction {
            Eviction::Key(key) => [
                Some(self.base_lease(key)),
                Some(tagged(&self.entry, key, None)),
                Some(self.variants(key)),
            ],
            Eviction::Group(group) => [Some(self.group(group)), None, None],
            Eviction::All => [Some(self.all()), None, None],
        };
        names.into_iter().flatten()
    }
}

/// A name that ends with `}` exactly if it has no variant, so that none passes for another.
fn tagged<'a>(kind: &'a str, key: &'a CacheKey, variant: Option<&'a Variant>) -> Name<'a> {
    let (close, variant) = variant.map_or(("}", ""), |variant| ("}#", &variant.0));
    [kind, &key.text, close, variant]
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> CacheKey {
        CacheKey::new(text.to_owned())
    }

    #[test]
    fn a_text_never_spells_a_hashed_key() {
        let hashed = key(&"x".repeat(1000));
        assert_ne!(key(&hashed.text), hashed);
        let hashed = group("x".repeat(1000).into());
        assert_ne!(group(hashed.clone()), hashed);
    }

    /// Of a key that is long as it is, or that is hashed.
    fn stretched(key: &str, long: bool) -> String {
        key.repeat(if long { MAX_LEN } else { 1 })
    }

    fn rendered(text: &str, variant: Option<&str>, group: &str) -> Vec<String> {
        let names = Names::new("p");
        let at = Address {
            key: key(text),
            variant: variant.map(|text| Variant(hex(&Sha256::digest(text)[..16]))),
            groups: Groups::Made(vec![super::group(group.to_owned().into())]),
        };
        [names.entry(&at), names.lease(&at)]
            .into_iter()
            .chain(names.nonces(&at))
            .map(|name| name.concat())
            .collect()
    }

    proptest! {
        #[test]
        fn keys_of_values_are_injective_and_never_those_of_responses(
            groups in proptest::array::uniform2(proptest::option::of("[a:%=#}]{0,3}")),
            keys in proptest::array::uniform2("[a:%=#}]{0,3}"),
            long in any::<[bool; 2]>(),
        ) {
            let keys = [0, 1].map(|of| stretched(&keys[of], long[of]));
            let of = |of: usize| CacheKey::of_value(groups[of].as_deref(), &keys[of]);
            let same = groups[0] == groups[1] && keys[0] == keys[1];
            prop_assert_eq!(of(0) == of(1), same);
            prop_assert_eq!(of(0).text.as_bytes()[0], b'=');
            // What a value is named by is a text that a response could ask for too.
            let readable = format!("={}:{}", groups[0].as_deref().unwrap_or(""), keys[0]);
            for text in [&of(0).text, &of(1).text, &keys[0], &keys[1], &readable] {
                prop_assert_ne!(key(text).text.as_bytes()[0], b'=');
                prop_assert!(key(text) != of(0) && key(text) != of(1));
            }
        }

        #[test]
        fn names_are_injective(a in "[a{}#:/*]{0,6}", b in "[a{}#:/*]{0,6}", v in "[ab]{0,2}") {
            let (left, right) = (rendered(&a, Some(&v), &a), rendered(&b, Some(&v), &b));
            let bare = rendered(&b, None, &b);
            prop_assert_eq!(left[0] == right[0], key(&a) == key(&b));
            prop_assert_eq!(left[4] == right[4], a == b);
            prop_assert!(left[0] != bare[0] && left[1] != bare[1]);
            for (kind, name) in left.iter().enumerate() {
                let others = right.iter().enumerate().filter(|(other, _)| *other != kind);
                prop_assert!(others.into_iter().all(|(_, other)| other != name));
            }
        }

        #[test]
        fn everything_about_a_key_is_in_one_slot(a in "[a{}#:/*]{0,6}", v in "[ab]{0,2}") {
            let slot = |name: &str| {
                let open = name.find('{').unwrap();
                let close = open + 1 + name[open + 1..].find('}').unwrap();
                name[open + 1..close].to_owned()
            };
            let names = rendered(&a, Some(&v), "g");
            prop_assert!(!slot(&names[0]).is_empty());
            prop_assert_eq!(slot(&names[0]), slot(&names[1]));
            prop_assert_eq!(slot(&names[0]), slot(&names[3]));
        }
    }
}
