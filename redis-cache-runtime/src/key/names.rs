//! The names under which the store keeps things.

use super::{Address, CacheKey, Eviction, Groups, Variant};

/// The number of nonces of everything. An entry is stamped with the one of its handler, so
/// that everything of a handler can be evicted in constant time, and no server of a cluster has to
/// answer every lookup. Other handlers may share it: evicting too much is safe.
pub(crate) const BUCKETS: u8 = 64;

/// Builds names; nothing else knows their spelling.
///
/// The braces of what belongs to a key are a cluster hash tag: all of it lives in one slot.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    entry: String,
    lease: String,
    variants: String,
    group: String,
    all: Vec<String>,
}

/// A name in the pieces it is made of: written out only where its bytes are needed.
pub(crate) type Name<'a> = [&'a str; 4];

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        let all = |bucket| format!("{prefix}:cache:all:{bucket}");
        Self {
            entry: format!("{prefix}:cache:e:{{"),
            lease: format!("{prefix}:cache:l:{{"),
            variants: format!("{prefix}:cache:v:{{"),
            group: format!("{prefix}:cache:g:"),
            all: (0..BUCKETS).map(all).collect(),
        }
    }

    pub(crate) fn entry<'a>(&'a self, at: &'a Address) -> Name<'a> {
        tagged(&self.entry, at.key.text(), at.variant.as_ref())
    }

    pub(crate) fn lease<'a>(&'a self, at: &'a Address) -> Name<'a> {
        tagged(&self.lease, at.key.text(), at.variant.as_ref())
    }

    pub(crate) fn base_lease<'a>(&'a self, key: &'a CacheKey) -> Name<'a> {
        tagged(&self.lease, key.text(), None)
    }

    /// The nonce that all variants of a key, and the keys that extend it, are stamped with, so that
    /// evicting the key drops them.
    pub(crate) fn variants<'a>(&'a self, key: &'a CacheKey) -> Name<'a> {
        tagged(&self.variants, key.text(), None)
    }

    fn group<'a>(&'a self, group: &'a str) -> Name<'a> {
        [&self.group, group, "", ""]
    }

    /// The nonces whose removal evicts everything of the handlers in a bucket.
    fn bucket(&self, bucket: u8) -> Name<'_> {
        let name = self.all.get(usize::from(bucket)).or(self.all.first());
        [name.map_or("", String::as_str), "", "", ""]
    }

    /// The names of the nonces an entry is stamped with, in the order of its stamps.
    pub(crate) fn nonces<'a>(&'a self, at: &'a Address) -> impl Iterator<Item = Name<'a>> {
        self.nonces_by_origin(at).map(|(name, _)| name)
    }

    /// The same, with whether the requests decide how many of them there are: the name holds a value.
    pub(crate) fn nonces_by_origin<'a>(
        &'a self,
        at: &'a Address,
    ) -> impl Iterator<Item = (Name<'a>, bool)> {
        let base = at.key.base();
        let base = base.map(|base| tagged(&self.variants, base, None));
        let variants = at.variant.as_ref().map(|_| self.variants(&at.key));
        let are_made = matches!(at.groups, Groups::Made(_));
        let groups = at.groups.iter();
        std::iter::once((self.bucket(at.key.bucket()), false))
            .chain(base.into_iter().chain(variants).map(|name| (name, true)))
            .chain(groups.map(move |group| (self.group(group), are_made)))
    }

    /// The names whose removal is the eviction. Every one is needed, whatever holds values now: a
    /// fill that is under way holds only the lease. That goes first: where they are not removed at
    /// once, the fill must not end in between.
    pub(crate) fn evicted<'a>(&'a self, eviction: &'a Eviction) -> Vec<Name<'a>> {
        match eviction {
            Eviction::Key(key) => vec![
                self.base_lease(key),
                tagged(&self.entry, key.text(), None),
                self.variants(key),
            ],
            Eviction::Group(group) => vec![self.group(group)],
            Eviction::Handler(bucket) => vec![self.bucket(*bucket)],
            Eviction::All => (0..BUCKETS).map(|bucket| self.bucket(bucket)).collect(),
        }
    }
}

/// A name that ends with `}` exactly if it has no variant, so that none passes for another.
fn tagged<'a>(kind: &'a str, key: &'a str, variant: Option<&'a Variant>) -> Name<'a> {
    let (close, variant) = variant.map_or(("}", ""), |variant| ("}#", variant.text()));
    [kind, key, close, variant]
}
