//! The names of entries, leases and nonces in the store.

use super::address::Address;
use super::cache_key::CacheKey;
use super::eviction::Eviction;
use super::groups::DeclaredGroups;
use super::slots::{slot_of_key, tag};
use super::spelling::{BUCKETS, Name};
use super::variant::Variant;

/// The number of buckets in each slot of a cluster.
const BUCKETS_IN_SLOT: u8 = 4;

/// Builds names. No other type knows their spelling.
///
/// The braces in the names of a key are a cluster hash tag, so all these names are in one slot.
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

/// The names of the nonces of the buckets.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "cluster"),
    allow(dead_code, reason = "there is one server")
)]
enum Everything {
    /// One set of nonces, on one server.
    Once(Vec<String>),
    /// One set of nonces in each slot of a cluster, so that a lookup needs one node only. Evicting
    /// everything costs a deletion in each slot, which is rare.
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

    /// Returns the name of the nonce with which all variants of a key, and the keys that extend it, are
    /// stamped, so that evicting the key evicts them.
    pub(crate) fn variants<'a>(&'a self, key: &'a CacheKey) -> Name<'a> {
        tagged(&self.variants, key.text(), None)
    }

    /// Returns the name of the nonce that every eviction removes; `None` in a cluster.
    pub(crate) fn witness(&self) -> Option<Name<'_>> {
        self.witness.as_deref().map(|name| [name, "", "", ""])
    }

    /// Returns the name of the witness, if a lookup of an address reads it.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn witness_of(&self, at: &Address) -> Option<Name<'_>> {
        self.witness().filter(|_| at.reads_early())
    }

    fn group<'a>(&'a self, group: &'a str) -> Name<'a> {
        [&self.group, group, "", ""]
    }

    /// Returns the name of the nonce whose removal evicts the entries of a bucket, or those in one slot
    /// of a cluster.
    fn bucket(&self, bucket: u8, slot: impl FnOnce() -> u16) -> Name<'_> {
        match &self.everything {
            Everything::Once(names) => [of_bucket(names, bucket), "", "", ""],
            Everything::InEverySlot { start, ends } => {
                [start, tag(slot()), of_bucket(ends, bucket), ""]
            }
        }
    }

    /// Returns the names that a lookup reads: the entry, its nonces, the witness and, if `holder` is set,
    /// the lease.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn looked_up<'a>(
        &'a self,
        at: &'a Address,
        holder: bool,
    ) -> impl Iterator<Item = Name<'a>> {
        self.entry_and_nonces(at)
            .chain(self.witness_of(at))
            .chain(holder.then(|| self.lease(at)))
    }

    /// Returns the names that decide whether an entry is served: its own, and those of its nonces.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn entry_and_nonces<'a>(
        &'a self,
        at: &'a Address,
    ) -> impl Iterator<Item = Name<'a>> {
        std::iter::once(self.entry(at)).chain(self.nonces(at))
    }

    /// Returns the names of the nonces of an entry, in the order of its stamps.
    pub(crate) fn nonces<'a>(&'a self, at: &'a Address) -> impl Iterator<Item = Name<'a>> {
        self.nonces_by_origin(at).map(|(name, _)| name)
    }

    /// Returns the names of nonces, those of the response groups last. The flag is set if a name holds a value of a request, because the
    /// number of such names is unbounded.
    pub(crate) fn nonces_by_origin<'a>(
        &'a self,
        at: &'a Address,
    ) -> impl Iterator<Item = (Name<'a>, bool)> {
        let base = at.key.base();
        let base = base.map(|base| tagged(&self.variants, base, None));
        let variants = at.is_stamped_by_key().then(|| self.variants(&at.key));
        let are_made = matches!(at.groups, DeclaredGroups::Made(_));
        let groups = at.groups.iter();
        let everything = self.bucket(at.key.bucket(), || slot_of_key(&at.key));
        std::iter::once((everything, false))
            .chain(base.into_iter().chain(variants).map(|name| (name, true)))
            .chain(groups.map(move |group| (self.group(group), are_made)))
            .chain(
                at.response_groups()
                    .iter()
                    .map(|group| (self.group(group), true)),
            )
    }

    /// Returns whether an eviction removes names in every slot of a cluster, which
    /// [`evicted_in_slot`](Self::evicted_in_slot) returns instead of [`evicted`](Self::evicted).
    pub(crate) fn is_in_every_slot(&self, eviction: &Eviction) -> bool {
        let is_of_everything = matches!(eviction, Eviction::Handler(_) | Eviction::All);
        is_of_everything && matches!(self.everything, Everything::InEverySlot { .. })
    }

    /// Returns the names that an eviction removes. It removes all of them, even without an entry: a
    /// running fill has only the lease. The lease is removed first, so that no fill ends in between if
    /// the removal is not atomic. In a cluster, all these names are in one slot.
    pub(crate) fn evicted<'a>(&'a self, eviction: &'a Eviction) -> Vec<Name<'a>> {
        let mut names = match eviction {
            Eviction::Key(key) => vec![self.base_lease(key), tagged(&self.entry, key.text(), None)],
            Eviction::Group(group) => vec![self.group(group)],
            _ if self.is_in_every_slot(eviction) => Vec::new(),
            Eviction::Handler(_) | Eviction::All => self.evicted_in_slot(eviction, 0),
        };
        // The cache knows of no response that depends on a value.
        if eviction.concerns_responses() {
            names.extend(self.witness());
        }
        // The last one, because a write replaces it.
        if let Eviction::Key(key) = eviction {
            names.push(self.variants(key));
        }
        names
    }

    /// Returns the names that an eviction removes in a slot.
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

/// Returns the text of a bucket.
fn of_bucket(texts: &[String], bucket: u8) -> &str {
    let text = texts.get(usize::from(bucket) % texts.len().max(1));
    text.map_or("", String::as_str)
}

/// Returns a name. It ends with `}` exactly if it has no variant, so that names are unambiguous.
fn tagged<'a>(kind: &'a str, key: &'a str, variant: Option<&'a Variant>) -> Name<'a> {
    let (close, variant) = variant.map_or(("}", ""), |variant| ("}#", variant.text()));
    [kind, key, close, variant]
}
