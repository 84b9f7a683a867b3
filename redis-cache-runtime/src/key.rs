//! Cache keys and the names of what the store holds for them.

use std::borrow::Cow;
use std::fmt::Write;

use axum::http::{HeaderMap, HeaderName, Uri};
use sha2::{Digest, Sha256};

/// Longer keys are replaced by their SHA-256.
const MAX_KEY_LEN: usize = 512;

/// An eviction group.
pub(crate) type Group = Cow<'static, str>;

/// The primary cache key (RFC 9111 §2): which resource a stored response belongs to.
///
/// The text of a URI key starts with `/`, the text of a hashed key with `#`, which no URI path can
/// hold, so that the two never meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// The default key of a request: its path, and its query with the parameters sorted by name.
    ///
    /// Percent-encodings that RFC 9110 §4.2.3 calls equivalent are written one way.
    pub(crate) fn of_uri(uri: &Uri) -> Self {
        Self::of_path_and_query(uri.path(), uri.query())
    }

    /// A key written out by the user. One that starts with `/` is the default key of that path.
    pub(crate) fn literal(text: &str) -> Self {
        match text.as_bytes().first() {
            Some(b'/') => match text.split_once('?') {
                Some((path, query)) => Self::of_path_and_query(path, Some(query)),
                None => Self::of_path_and_query(text, None),
            },
            // An empty hash tag, or one that looks like a hashed key, would be ambiguous.
            None | Some(b'#' | b'}') => Self::hashed(text),
            Some(_) => Self::bounded(text.into()),
        }
    }

    fn of_path_and_query(path: &str, query: Option<&str>) -> Self {
        let path = normalize_percent(path);
        match query.map(sorted_query) {
            Some(query) if !query.is_empty() => Self::bounded(format!("{path}?{query}").into()),
            _ => Self::bounded(path),
        }
    }

    fn bounded(text: Cow<'_, str>) -> Self {
        if text.len() > MAX_KEY_LEN {
            Self::hashed(&text)
        } else {
            Self(text.into_owned())
        }
    }

    fn hashed(text: &str) -> Self {
        Self(format!("#{}", hex(&Sha256::digest(text))))
    }
}

/// The secondary cache key (RFC 9111 §4.1): which of a resource's responses the request fields
/// nominated by `vary` select. Hashed, because field values may be secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variant(String);

impl Variant {
    /// Reads the nominated fields of a request; `None` when the route nominates none.
    pub(crate) fn of_fields(nominated: &[HeaderName], fields: Option<&HeaderMap>) -> Option<Self> {
        if nominated.is_empty() {
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
        Some(Self(hex(&hash.finalize()[..16])))
    }
}

/// Everything the store needs to find one stored response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address<'a> {
    pub(crate) key: &'a Key,
    pub(crate) variant: Option<&'a Variant>,
    /// Sorted and without repeats, so that every route that shares a key stamps alike.
    pub(crate) groups: &'a [Group],
}

/// What an eviction drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Eviction {
    Key(Key),
    Group(Group),
    All,
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

    pub(crate) fn entry<'a>(&'a self, at: Address<'a>) -> Name<'a> {
        tagged(&self.entry, at.key, at.variant)
    }

    pub(crate) fn lease<'a>(&'a self, at: Address<'a>) -> Name<'a> {
        tagged(&self.lease, at.key, at.variant)
    }

    /// The nonce that all variants of a key are stamped with, so that evicting the key drops them.
    pub(crate) fn variants<'a>(&'a self, key: &'a Key) -> Name<'a> {
        tagged(&self.variants, key, None)
    }

    fn group<'a>(&'a self, group: &'a Group) -> Name<'a> {
        [&self.group, group, "", ""]
    }

    fn all(&self) -> Name<'_> {
        [&self.all, "", "", ""]
    }

    /// The names of the nonces an entry is stamped with, in the order of its stamps.
    pub(crate) fn nonces<'a>(&'a self, at: Address<'a>) -> impl Iterator<Item = Name<'a>> {
        let variants = at.variant.map(|_| self.variants(at.key));
        let groups = at.groups.iter().map(|group| self.group(group));
        std::iter::once(self.all()).chain(variants).chain(groups)
    }

    /// The names whose removal is the eviction. Every one is needed, whatever holds values now: a
    /// fill that is under way holds only the lease.
    pub(crate) fn evicted<'a>(&'a self, eviction: &'a Eviction) -> impl Iterator<Item = Name<'a>> {
        let names = match eviction {
            Eviction::Key(key) => {
                let at = Address {
                    key,
                    variant: None,
                    groups: &[],
                };
                [
                    Some(self.entry(at)),
                    Some(self.lease(at)),
                    Some(self.variants(key)),
                ]
            }
            Eviction::Group(group) => [Some(self.group(group)), None, None],
            Eviction::All => [Some(self.all()), None, None],
        };
        names.into_iter().flatten()
    }
}

/// A name that ends with `}` exactly if it has no variant, so that none passes for another.
fn tagged<'a>(kind: &'a str, key: &'a Key, variant: Option<&'a Variant>) -> Name<'a> {
    let (close, variant) = variant.map_or(("}", ""), |variant| ("}#", &variant.0));
    [kind, &key.0, close, variant]
}

/// Writes percent-encodings one way: unreserved characters plain, everything else in upper case
/// (RFC 3986 §6.2.2), and what a URI cannot hold encoded. Malformed encodings are left as they are.
fn normalize_percent(text: &str) -> Cow<'_, str> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'%')
    {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte != b'%' {
            push_byte(&mut out, byte, byte.is_ascii_graphic());
        } else if let Some(encoded) = bytes.get(at..at + 2).and_then(hex_byte) {
            let unreserved = encoded.is_ascii_alphanumeric() || b"-._~".contains(&encoded);
            push_byte(&mut out, encoded, unreserved);
            at += 2;
        } else {
            out.push('%');
        }
    }
    Cow::Owned(out)
}

fn push_byte(out: &mut String, byte: u8, plain: bool) {
    if plain {
        out.push(char::from(byte));
    } else {
        // Writing to a string does not fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let [high, low] = digits else { return None };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// The parameters sorted by name, as a form reader decodes it. Those of the same name keep their
/// order, because handlers that read lists see it.
fn sorted_query(query: &str) -> String {
    let query = normalize_percent(query);
    let mut parameters: Vec<&str> = query.split('&').filter(|text| !text.is_empty()).collect();
    parameters.sort_by_cached_key(|parameter| {
        form_urlencoded::parse(parameter.as_bytes())
            .next()
            .map(|(name, _)| name.into_owned())
    });
    parameters.join("&")
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

    fn key(uri: &str) -> String {
        Key::of_uri(&uri.parse().unwrap()).0
    }

    #[test]
    fn equivalent_uris_share_a_key() {
        assert_eq!(key("/a?b=1&a=2"), key("/a?a=2&b=1"));
        assert_eq!(key("/a?&a=2&&"), key("/a?a=2"));
        assert_eq!(key("/a?"), key("/a"));
        assert_eq!(key("/%41%2f"), key("/A%2F"));
    }

    #[test]
    fn different_uris_have_different_keys() {
        let long = "x".repeat(10_000);
        let uris = [
            "/",
            "//",
            "/a",
            "/a/",
            "/a/b",
            "/a%2Fb",
            "/a:b",
            "/a?b",
            "/a%3Fb",
            "/a?b=1",
            "/a/b=1",
            "/a?b=1&b=2",
            "/a?b=2&b=1",
            "/a?b=1%26b=2",
            "/a?b=1;b=2",
            "/a?c=1&b=2",
            "/a?cb=12",
            "/%7Ba%7D",
            "/a%7D",
            "/a*",
            "/a%2A",
            "/a[b]",
            "/a%",
            "/a%2",
            "/a%25",
            "/a%252F",
            "/a%+A",
            "/a%0A",
            "/a?ids[]=1&ids%5B%5D=2",
            "/a?ids%5B%5D=2&ids[]=1",
            "/%C3%A4",
            "/a%00",
            &format!("/{long}"),
            &format!("/{long}y"),
            &format!("/?{long}"),
        ];
        let keys: std::collections::HashSet<_> = uris.iter().map(|uri| key(uri)).collect();
        assert_eq!(keys.len(), uris.len(), "{keys:#?}");
    }

    #[test]
    fn a_literal_path_is_the_default_key_of_that_path() {
        for uri in ["/a", "/a?x=2&b=1", "/a%41", "/a?", "/a?b=?"] {
            assert_eq!(Key::literal(uri), Key::of_uri(&uri.parse().unwrap()));
        }
    }

    #[test]
    fn a_literal_path_may_hold_what_a_uri_must_encode() {
        assert_eq!(
            Key::literal("/café au lait").0,
            key("/caf%c3%a9%20au%20lait")
        );
    }

    #[test]
    fn a_literal_never_spells_a_hashed_key() {
        let hashed = Key::literal(&"x".repeat(1000));
        assert_ne!(Key::literal(&hashed.0), hashed);
    }

    fn rendered(key: &str, variant: Option<&str>, group: &str) -> Vec<String> {
        let names = Names::new("p");
        let key = Key::literal(key);
        let variant = variant.map(|text| Variant(hex(&Sha256::digest(text)[..16])));
        let groups = [Group::Owned(group.to_owned())];
        let at = Address {
            key: &key,
            variant: variant.as_ref(),
            groups: &groups,
        };
        [names.entry(at), names.lease(at)]
            .into_iter()
            .chain(names.nonces(at))
            .map(|name| name.concat())
            .collect()
    }

    proptest! {
        #[test]
        fn names_are_injective(a in "[a{}#:/*]{0,6}", b in "[a{}#:/*]{0,6}", v in "[ab]{0,2}") {
            let (left, right) = (rendered(&a, Some(&v), &a), rendered(&b, Some(&v), &b));
            let bare = rendered(&b, None, &b);
            prop_assert_eq!(left[0] == right[0], Key::literal(&a) == Key::literal(&b));
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
