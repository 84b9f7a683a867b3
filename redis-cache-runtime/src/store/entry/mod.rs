//! The stored form of a response or a value: a versioned header, then the body as it is.
//!
//! ```text
//!  0  magic "arc2", the last byte is the version
//!  4  u32 low half of the XXH3 of the header after this field
//!  8  u32 length of the header
//! 12  u64 length of the body
//! 20  u64 when the response was generated, Unix milliseconds
//! 28  u64 freshness lifetime in milliseconds; MAX: no expiry
//! 36  u64 max-age the handler declared, in seconds; MAX: none
//! 44  u16 status; 0: a value, whose body is JSON; 1: a hint, which has no body
//! 46  u8  flags: 1 = the handler declared s-maxage, 2 = fields tell some caches a lifetime
//! 47  u8  number of stamps of the address
//! 48  u16 number of stamped groups, which the response names
//! 50  u16 number of expected groups, which only the next response may name
//! 52      stamps of the address, then of the stamped groups, 16 bytes each
//!         stamped groups, then expected groups: u16 length and the name
//!         u16 length of the other directives the handler declared, and they themselves
//!         fields: u8 code of a common name, or 0, u16 length and the name;
//!                 u32 length of the value, and the value
//! ```
//!
//! A hint holds only the groups that the next response may name.
//!
//! Numbers are big-endian. Unknown, truncated or corrupt entries do not decode.

mod groups;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::{Buf, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use self::groups::{Counts, pop_name, push_name};
use crate::http::freshness::{Freshness, Grant};
use crate::key::Nonce;
use crate::store::stamps::EntryStamps;

pub(crate) use self::groups::{hint, names_groups};

const MAGIC: [u8; 4] = *b"arc2";
const FIXED: usize = 52;
const NONE: u64 = u64::MAX;
/// The status of a value. No response has it.
const VALUE: u16 = 0;
/// The status of a hint. No response has it.
const HINT: u16 = 1;

/// Names that are stored in one byte. Entries hold their positions, so only append.
static COMMON_NAMES: [HeaderName; 16] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::VARY,
    header::LAST_MODIFIED,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LOCATION,
    header::LINK,
    header::LOCATION,
    header::EXPIRES,
    header::CONTENT_SECURITY_POLICY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCEPT_RANGES,
    header::SERVER,
];

/// The number of stored fields of a usual response.
const USUAL_FIELDS: usize = 3;
/// The number of fields that the cache and axum add to a usual reply. A map without room for them would
/// grow, to twice its size.
const ADDED_FIELDS: usize = 3;

/// The memory that an allocator takes for an allocation besides its bytes, on average.
pub(crate) const ALLOCATION: usize = 2 * size_of::<usize>();
/// The memory of the count of references that [`Bytes`] keeps once they are shared.
const SHARED: usize = 3 * size_of::<usize>() + ALLOCATION;

/// A response in its stored form, without its body and stamps.
#[derive(Clone, Debug)]
pub(crate) struct StoredHead {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) grant: Grant,
    /// Unix milliseconds.
    pub(crate) generated: u64,
}

impl StoredHead {
    /// Takes the fields for a reply. Copies them if other replies share this head.
    pub(crate) fn into_fields(self: Arc<Self>) -> HeaderMap {
        Arc::try_unwrap(self).map_or_else(|shared| shared.copied_fields(), |own| own.fields)
    }

    /// Copies the fields. `HeaderMap::clone` would leave no room for the fields of the reply.
    fn copied_fields(&self) -> HeaderMap {
        let room = self.fields.len() + ADDED_FIELDS;
        let Ok(mut fields) = HeaderMap::try_with_capacity(room) else {
            return self.fields.clone();
        };
        for (name, value) in &self.fields {
            fields.append(name, value.clone());
        }
        fields
    }

    /// Returns the number of bytes that the head takes in memory, besides the bytes of the entry, of
    /// which the values of the fields are slices.
    fn memory(&self) -> usize {
        const LINKS: usize = 4 * size_of::<usize>();
        const FIELD: usize = size_of::<(HeaderName, HeaderValue)>() + LINKS;
        // The second and later values of a name are in a list, which grows to twice its length.
        const REPEAT: usize = 2 * (size_of::<HeaderValue>() + LINKS);
        // The `Arc`, the table of the map, its fields and its list of values.
        const ALLOCATIONS: usize = size_of::<StoredHead>() + 4 * ALLOCATION;
        let repeats = self.fields.len() - self.fields.keys_len();
        let own_name = |name: &HeaderName| {
            let is_common = COMMON_NAMES.contains(name);
            if is_common {
                0
            } else {
                name.as_str().len() + SHARED + ALLOCATION
            }
        };
        ALLOCATIONS
            + self.fields.capacity() * FIELD
            + repeats * REPEAT
            + self.fields.keys().map(own_name).sum::<usize>()
            + self.grant.directives.len()
    }

    /// Encodes the response; `None` when a part is too long for its length field.
    pub(crate) fn encode(&self, stamps: &EntryStamps, body: &[u8]) -> Option<Bytes> {
        let fields = self.fields.iter();
        let fields_len = fields.map(|(name, value)| name.as_str().len() + value.len() + 7);
        let draft = Draft {
            status: self.status.as_u16(),
            grant: &self.grant,
            generated: self.generated,
            fields_len: fields_len.sum(),
        };
        let mut out = draft.open(stamps, body)?;
        for (name, value) in &self.fields {
            if let Some(position) = COMMON_NAMES.iter().position(|common| common == name) {
                out.push(u8::try_from(position + 1).ok()?);
            } else {
                out.push(0);
                out.extend_from_slice(&u16::try_from(name.as_str().len()).ok()?.to_be_bytes());
                out.extend_from_slice(name.as_str().as_bytes());
            }
            out.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        seal(out, body)
    }
}

/// A value in its stored form, without its JSON and stamps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredValue {
    /// `None`: no expiry.
    pub(crate) lifetime: Option<Duration>,
    /// Unix milliseconds.
    pub(crate) generated: u64,
}

impl StoredValue {
    /// Encodes the value; `None` when a part is too long for its length field.
    pub(crate) fn encode(&self, stamps: &EntryStamps, json: &[u8]) -> Option<Bytes> {
        let draft = Draft {
            status: VALUE,
            grant: &Grant::for_lifetime(self.lifetime),
            generated: self.generated,
            fields_len: 0,
        };
        seal(draft.open(stamps, json)?, json)
    }
}

/// The parts of an entry that are known before its fields are written.
struct Draft<'a> {
    status: u16,
    grant: &'a Grant,
    generated: u64,
    /// The longest length of the fields.
    fields_len: usize,
}

impl Draft<'_> {
    /// Starts an entry, up to its fields.
    fn open(&self, stamps: &EntryStamps, body: &[u8]) -> Option<Vec<u8>> {
        let EntryStamps {
            address,
            groups,
            expected,
        } = stamps;
        let names = || groups.iter().map(|(group, _)| group).chain(expected);
        let names_len: usize = names().map(|group| 2 + group.len()).sum();
        let stamps_len = (address.len() + groups.len()) * 16;
        let directives = &self.grant.directives;
        let header = FIXED + stamps_len + names_len + 2 + directives.len() + self.fields_len;
        let mut out = Vec::with_capacity(header + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&u64::try_from(body.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&self.generated.to_be_bytes());
        out.extend_from_slice(&self.grant.lifetime.map_or(NONE, millis).to_be_bytes());
        out.extend_from_slice(&self.grant.max_age.unwrap_or(NONE).to_be_bytes());
        out.extend_from_slice(&self.status.to_be_bytes());
        out.push(u8::from(self.grant.s_maxage) | u8::from(self.grant.is_targeted) << 1);
        out.push(u8::try_from(address.len()).ok()?);
        out.extend_from_slice(&u16::try_from(groups.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&u16::try_from(expected.len()).ok()?.to_be_bytes());
        out.extend(address.iter().flatten());
        out.extend(groups.iter().flat_map(|(_, nonce)| nonce));
        names().try_for_each(|group| push_name(&mut out, group))?;
        out.extend_from_slice(&u16::try_from(directives.len()).ok()?.to_be_bytes());
        out.extend_from_slice(directives.as_bytes());
        Some(out)
    }
}

/// Completes an entry whose fields have been written.
fn seal(mut out: Vec<u8>, body: &[u8]) -> Option<Bytes> {
    let header = u32::try_from(out.len()).ok()?;
    out[8..12].copy_from_slice(&header.to_be_bytes());
    let checksum = checksum(&out[8..]);
    out[4..8].copy_from_slice(&checksum.to_be_bytes());
    out.extend_from_slice(body);
    Some(out.into())
}

/// An entry whose frame has been checked. Its parts are decoded on demand, or in advance if the entry
/// is kept in this process.
#[derive(Clone)]
pub(crate) struct Entry {
    bytes: Bytes,
    header: usize,
    /// The position after the stamps and the names of the groups.
    groups_end: usize,
    /// The head of the response, if it was decoded in advance.
    head: Option<Arc<StoredHead>>,
}

impl Entry {
    /// Checks the frame: version, lengths and checksum.
    pub(crate) fn parse(bytes: Bytes) -> Option<Self> {
        if bytes.len() < FIXED || bytes[..4] != MAGIC {
            return None;
        }
        let header = usize::try_from(u32_at(&bytes, 8)?).ok()?;
        let body = usize::try_from(u64_at(&bytes, 12)?).ok()?;
        let fits = FIXED <= header && header.checked_add(body)? == bytes.len();
        let intact = fits && checksum(&bytes[8..header]) == u32_at(&bytes, 4)?;
        if !intact {
            return None;
        }
        let counts = Counts::of(&bytes)?;
        let mut names = bytes[..header].get(counts.stamps_end()..)?;
        for _ in 0..counts.groups + counts.expected {
            pop_name(&mut names)?;
        }
        let groups_end = header - names.len();
        Some(Self {
            bytes,
            header,
            groups_end,
            head: None,
        })
    }

    /// Decodes the head of the response in advance, so that lookups in this process share it.
    pub(crate) fn decoded(mut self) -> Self {
        // The fields are copied for each reply, so the map needs no room for others.
        self.head = self.decode_head(USUAL_FIELDS).map(Arc::new);
        self
    }

    /// Returns the number of bytes that the entry takes in memory.
    pub(crate) fn memory(&self) -> usize {
        let head = self.head.as_deref().map_or(0, StoredHead::memory);
        self.bytes.len() + ALLOCATION + SHARED + head
    }

    /// Returns whether every stamp of the address is a current nonce, and no nonce is missing.
    pub(crate) fn is_stamped_with(
        &self,
        nonces: impl ExactSizeIterator<Item = Option<Nonce>>,
    ) -> bool {
        let mut stamps = self.stamps();
        stamps.len() == nonces.len()
            && nonces.into_iter().all(|nonce| {
                let stamp = stamps.next();
                nonce.is_some_and(|nonce| Some(&nonce[..]) == stamp)
            })
    }

    /// Returns the stamps of the address.
    pub(crate) fn stamps(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        let end = FIXED + usize::from(self.bytes[47]) * 16;
        self.bytes[FIXED..end].chunks_exact(16)
    }

    /// Returns whether the entry is a hint, not a response or a value.
    pub(crate) fn is_hint(&self) -> bool {
        self.status() == HINT
    }

    /// Returns the stored bytes.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the stored bytes.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    pub(crate) fn generated(&self) -> u64 {
        u64_at(&self.bytes, 20).unwrap_or(0)
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        u64_at(&self.bytes, 28)
            .filter(|millis| *millis != NONE)
            .map(Duration::from_millis)
    }

    /// Returns the freshness at a time in Unix milliseconds.
    pub(crate) fn freshness(&self, now: u64) -> Freshness {
        Freshness::at(now, self.generated(), self.lifetime())
    }

    /// Returns the JSON of a value as a slice of the entry; `None`: the entry is a response.
    pub(crate) fn json(&self) -> Option<Bytes> {
        (self.status() == VALUE).then(|| self.bytes.slice(self.header..))
    }

    fn status(&self) -> u16 {
        u16::from_be_bytes([self.bytes[44], self.bytes[45]])
    }

    /// Decodes the response, unless that was done in advance. Field values and body are slices of the
    /// entry. `None`: the entry is a value.
    pub(crate) fn decode(&self) -> Option<(Arc<StoredHead>, Bytes)> {
        let head = match &self.head {
            Some(head) => Arc::clone(head),
            None => Arc::new(self.decode_head(USUAL_FIELDS + ADDED_FIELDS)?),
        };
        Some((head, self.bytes.slice(self.header..)))
    }

    /// Decodes the head, with a map that has room for this number of fields.
    fn decode_head(&self, room: usize) -> Option<StoredHead> {
        let mut rest = &self.bytes[self.groups_end..self.header];
        let directives = rest.try_get_u16().ok()?;
        let directives = rest.split_off(..directives.into())?;
        let grant = Grant {
            lifetime: self.lifetime(),
            max_age: u64_at(&self.bytes, 36).filter(|seconds| *seconds != NONE),
            s_maxage: self.bytes[46] & 1 != 0,
            is_targeted: self.bytes[46] & 2 != 0,
            directives: std::str::from_utf8(directives).ok()?.to_owned(),
        };
        let status = StatusCode::from_u16(self.status()).ok()?;
        let mut fields = HeaderMap::with_capacity(room);
        while rest.has_remaining() {
            let name = match rest.get_u8() {
                0 => {
                    let len = rest.try_get_u16().ok()?;
                    HeaderName::from_bytes(rest.split_off(..len.into())?).ok()?
                }
                code => COMMON_NAMES.get(usize::from(code) - 1)?.clone(),
            };
            let len = usize::try_from(rest.try_get_u32().ok()?).ok()?;
            let value = self.bytes.slice_ref(rest.split_off(..len)?);
            let value = HeaderValue::from_maybe_shared(value).ok()?;
            fields.try_append(name, value).ok()?;
        }
        Some(StoredHead {
            status,
            fields,
            grant,
            generated: self.generated(),
        })
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry").field(&self.bytes).finish()
    }
}

/// Returns a checksum against damage, not malice: whoever can write to the store can write entries.
fn checksum(bytes: &[u8]) -> u32 {
    let [_, _, _, _, low @ ..] = xxh3_64(bytes).to_be_bytes();
    u32::from_be_bytes(low)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NONE - 1)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .try_into()
        .ok()
        .map(u32::from_be_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..at + 8)?
        .try_into()
        .ok()
        .map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests;
