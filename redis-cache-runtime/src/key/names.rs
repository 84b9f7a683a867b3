//! The names under which the store keeps things.

use super::address::Address;
use super::cache_key::CacheKey;
use super::eviction::Eviction;
use super::groups::Groups;
use super::slots::{slot_of_key, tag};
use super::spelling::{BUCKETS, Name};
use super::variant::Variant;

/// The number of nonces of everything in each slot of a cluster.
const BUCKETS_IN_SLOT: u8 = 4;

/// Builds names; nothing else knows their spelling.
///
/// The braces of what belongs to a key are a cluster hash tag: all of it lives in one slot.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    entry: String,
    lease: String,
    variants: String,
    group: String,
    everything: Everything,
    /// `None` in a cluster, where no node serves every eviction.
    witness: Option<String>,
}

/// The names of the nonces of everything, one for each bucket.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "cluster"),
    allow(dead_code, reason = "there is one server")
)]
enum Everything {
    /// In one server.
    Once(Vec<String>),
    /// In each slot of a cluster, so that the entries of a node need no other node. Evicting everything
    /// costs a deletion in each slot, which is rare.
    InEverySlot { start: String, ends: Vec<String> },
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        let name = |bucket| format!("{prefix}:cache:all:{bucket}");
        let everything = Everything::Once((0..BUCKETS).map(name).collect());
        Self::with(
            prefix,
            everything,
            Some(format!("{prefix}:cache:evictions")),
        )
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn in_cluster(prefix: &str) -> Self {
        let end = |bucket| format!("}}:{bucket}");
        let everything = Everything::InEverySlot {
            start: format!("{prefix}:cache:all:{{"),
            ends: (0..BUCKETS_IN_SLOT).map(end).collect(),
        };
        Self::with(prefix, everything, None)
    }

    fn with(prefix: &str, everything: Everything, witness: Option<String>) -> Self {
        Self {
            entry: format!("{prefix}:cache:e:{{"),
            lease: format!("{prefix}:cache:l:{{"),
            variants: format!("{prefix}:cache:v:{{"),
            group: format!("{prefix}:cache:g:"),
            everything,
            witness,
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

    /// The nonce that every eviction removes, if one server has everything.
    pub(crate) fn witness(&self) -> Option<Name<'_>> {
        self.witness.as_deref().map(|name| [name, "", "", ""])
    }

    /// The name of the witness, if a lookup of an address reads it.
    pub(crate) fn witness_of(&self, at: &Address) -> Option<Name<'_>> {
        self.witness().filter(|_| at.reads_early())
    }

    fn group<'a>(&'a self, group: &'a str) -> Name<'a> {
        [&self.group, group, "", ""]
    }

    /// The nonce whose removal evicts everything of the handlers in a bucket, or in one slot of a
    /// cluster.
    fn bucket(&self, bucket: u8, slot: impl FnOnce() -> u16) -> Name<'_> {
        match &self.everything {
            Everything::Once(names) => [of_bucket(names, bucket), "", "", ""],
            Everything::InEverySlot { start, ends } => {
                [start, tag(slot()), of_bucket(ends, bucket), ""]
            }
        }
    }

    /// The names of the nonces an entry is stamped with, in the order of its stamps.
    pub(crate) fn nonces<'a>(&'a self, at: &'a Address) -> impl Iterator<Item = Name<'a>> {
        self.nonces_by_origin(at).map(|(name, _)| name)
    }

    /// Returns the names of nonces, each with whether it holds a value of a request, so that the number
    /// of such names has no bound.
    pub(crate) fn nonces_by_origin<'a>(
        &'a self,
        at: &'a Address,
    ) -> impl Iterator<Item = (Name<'a>, bool)> {
        let base = at.key.base();
        let base = base.map(|base| tagged(&self.variants, base, None));
        let variants = at.is_stamped_by_key().then(|| self.variants(&at.key));
        let are_made = matches!(at.groups, Groups::Made(_));
        let groups = at.groups.iter();
        let everything = self.bucket(at.key.bucket(), || slot_of_key(&at.key));
        std::iter::once((everything, false))
            .chain(base.into_iter().chain(variants).map(|name| (name, true)))
            .chain(groups.map(move |group| (self.group(group), are_made)))
    }

    /// Returns whether an eviction removes names in every slot of a cluster, which
    /// [`evicted_in_slot`](Self::evicted_in_slot) returns instead of [`evicted`](Self::evicted).
    pub(crate) fn is_in_every_slot(&self, eviction: &Eviction) -> bool {
        let is_of_everything = matches!(eviction, Eviction::Handler(_) | Eviction::All);
        is_of_everything && matches!(self.everything, Everything::InEverySlot { .. })
    }

    /// The names whose removal is the eviction. Every one is needed, whatever holds values now: a
    /// fill that is under way holds only the lease. That goes first: where they are not removed at
    /// once, the fill must not end in between. In a cluster, all of them are in one slot.
    pub(crate) fn evicted<'a>(&'a self, eviction: &'a Eviction) -> Vec<Name<'a>> {
        let mut names = match eviction {
            Eviction::Key(key) => vec![self.base_lease(key), tagged(&self.entry, key.text(), None)],
            Eviction::Group(group) => vec![self.group(group)],
            _ if self.is_in_every_slot(eviction) => Vec::new(),
            Eviction::Handler(_) | Eviction::All => self.evicted_in_slot(eviction, 0),
        };
        // No response is made of a value, as far as is known here.
        if eviction.concerns_responses() {
            names.extend(self.witness());
        }
        // Last, because a write leaves another one.
        if let Eviction::Key(key) = eviction {
            names.push(self.variants(key));
        }
        names
    }

    /// The names in a slot whose removal is the eviction there.
    pub(crate) fn evicted_in_slot(&self, eviction: &Eviction, slot: u16) -> Vec<Name<'_>> {
        let buckets = match eviction {
            Eviction::Key(_) | Eviction::Group(_) => 0..0,
            Eviction::Handler(bucket) => *bucket..bucket + 1,
            Eviction::All => match &self.everything {
                Everything::Once(_) => 0..BUCKETS,
                Everything::InEverySlot { .. } => 0..BUCKETS_IN_SLOT,
            },
        };
        buckets.map(|bucket| self.bucket(bucket, || slot)).collect()
    }
}

/// A bucket's own among the texts of all.
fn of_bucket(texts: &[String], bucket: u8) -> &str {
    let text = texts.get(usize::from(bucket) % texts.len().max(1));
    text.map_or("", String::as_str)
}

/// A name that ends with `}` exactly if it has no variant, so that none passes for another.
fn tagged<'a>(kind: &'a str, key: &'a str, variant: Option<&'a Variant>) -> Name<'a> {
    let (close, variant) = variant.map_or(("}", ""), |variant| ("}#", variant.text()));
    [kind, key, close, variant]
}
