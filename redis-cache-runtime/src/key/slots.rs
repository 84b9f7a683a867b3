//! The slots of a Redis Cluster, and sets of them.

use std::fmt;
use std::sync::LazyLock;

use super::cache_key::CacheKey;
#[cfg(feature = "cluster")]
use super::spelling::Name;

/// The number of slots that a cluster has.
pub(crate) const SLOTS: u16 = 16384;

/// Returns the slot of a name, or of its hash tag if it has one.
#[cfg(feature = "cluster")]
pub(crate) fn slot(name: Name<'_>) -> u16 {
    let bytes = || name.into_iter().flat_map(str::bytes);
    let tag = bytes().position(|byte| byte == b'{').and_then(|open| {
        let len = bytes().skip(open + 1).position(|byte| byte == b'}')?;
        (len > 0).then_some((open + 1, len))
    });
    match tag {
        Some((start, len)) => slot_of_bytes(bytes().skip(start).take(len)),
        None => slot_of_bytes(bytes()),
    }
}

/// Returns the slot of all names of a key. The text of the key is their hash tag, which ends at the
/// first brace.
pub(crate) fn slot_of_key(key: &CacheKey) -> u16 {
    slot_of_bytes(key.text().bytes().take_while(|byte| *byte != b'}'))
}

/// A short hash tag for each slot.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut tags = vec![String::new(); usize::from(SLOTS)];
    let mut missing = tags.len();
    // The numbers below 109,758 cover every slot.
    for number in 0_u32.. {
        let tag = number.to_string();
        let known = &mut tags[usize::from(slot_of_bytes(tag.bytes()))];
        if known.is_empty() {
            *known = tag;
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
    }
    tags
});

/// Returns a short text in a slot.
pub(crate) fn tag(slot: u16) -> &'static str {
    TAGS.get(usize::from(slot)).map_or("", String::as_str)
}

/// Returns the slot of a hash tag: its CRC-16 (XMODEM), modulo the number of slots.
fn slot_of_bytes(bytes: impl Iterator<Item = u8>) -> u16 {
    let crc = bytes.fold(0_u16, |crc, byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ CRC[usize::from(high ^ byte)]
    });
    crc % SLOTS
}

const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u16;
    while byte < 256 {
        let (mut crc, mut bit) = (byte << 8, 0);
        while bit < 8 {
            crc = (crc << 1) ^ (0x1021 * (crc >> 15));
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Slots(Box<[u64; SLOTS as usize / 64]>);

impl Slots {
    pub(crate) fn contains(&self, slot: u16) -> bool {
        let word = self.0.get(usize::from(slot / 64));
        word.is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Returns the slots of the set, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        (0..SLOTS).filter(|slot| self.contains(*slot))
    }
}

impl FromIterator<u16> for Slots {
    fn from_iter<T: IntoIterator<Item = u16>>(slots: T) -> Self {
        let mut set = Self(Box::new([0; SLOTS as usize / 64]));
        for slot in slots {
            if let Some(word) = set.0.get_mut(usize::from(slot / 64)) {
                *word |= 1 << (slot % 64);
            }
        }
        set
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(all(test, feature = "cluster"))]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_that_of_the_tag() {
        let of = |name| slot([name, "", "", ""]);
        assert_eq!(of("123456789"), 0x31C3);
        assert_eq!(slot(["a{123", "456789}b}", "{c}", ""]), 0x31C3);
        // An empty tag does not count as a tag.
        let whole = "{}123456789";
        assert_eq!(of(whole), slot_of_bytes(whole.bytes()));
        assert_ne!(of(whole), 0x31C3);
        for text in ["123456789", "a}b"] {
            let key = CacheKey::of_handler(text.to_owned(), 0);
            assert_eq!(slot_of_key(&key), slot(["e:{", text, "}", ""]));
        }
    }

    #[test]
    fn every_slot_has_a_tag() {
        for slot in 0..SLOTS {
            assert_eq!(super::slot(["all:{", tag(slot), "}", ":1"]), slot);
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: Slots = [0, 63, 64, 16383].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 16383]);
        assert!(!set.contains(1) && !set.contains(u16::MAX));
    }
}
