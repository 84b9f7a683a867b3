//! The names of a batch.

use std::ops::Range;

use hashbrown::HashTable;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::key::Name;

/// The place of a name in a batch: the index of its command, and its index in that command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) command: usize,
    pub(crate) index: usize,
}

/// The names of a batch, each once, in one command for each slot of a cluster.
#[derive(Default)]
pub(crate) struct BatchNames {
    bytes: Vec<u8>,
    /// The places of the names, by their hashes.
    by_hash: HashTable<Place>,
    commands: SmallVec<[SlotCommand; 1]>,
    /// The memory of an earlier command, for the next one.
    spare: Vec<Range<usize>>,
}

/// The command for a slot.
struct SlotCommand {
    slot: u16,
    /// The names, as ranges of `bytes`.
    names: Vec<Range<usize>>,
}

impl BatchNames {
    /// Returns the number of bytes of the names.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a name, unless the batch has it.
    pub(super) fn add(&mut self, slot: u16, name: Name<'_>) -> Place {
        let start = self.bytes.len();
        for piece in name.iter().filter(|piece| !piece.is_empty()) {
            self.bytes.extend_from_slice(piece.as_bytes());
        }
        let end = self.bytes.len();
        let hash = xxh3_64(&self.bytes[start..]);
        let is_added = |place: &Place| self.text(*place) == &self.bytes[start..];
        if let Some(place) = self.by_hash.find(hash, is_added) {
            let place = *place;
            self.bytes.truncate(start);
            return place;
        }
        let place = self.append_to_command(slot, start..end);
        let Self {
            bytes, commands, ..
        } = self;
        let hash_at = |place: &Place| xxh3_64(text(bytes, commands, *place));
        self.by_hash.insert_unique(hash, place, hash_at);
        place
    }

    /// Appends a name to the command for its slot.
    fn append_to_command(&mut self, slot: u16, name: Range<usize>) -> Place {
        let mut commands = self.commands.iter();
        let known = commands.position(|command| command.slot == slot);
        let command = known.unwrap_or_else(|| {
            self.commands.push(SlotCommand {
                slot,
                names: std::mem::take(&mut self.spare),
            });
            self.commands.len() - 1
        });
        let names = &mut self.commands[command].names;
        names.push(name);
        let index = names.len() - 1;
        Place { command, index }
    }

    fn text(&self, place: Place) -> &[u8] {
        text(&self.bytes, &self.commands, place)
    }

    /// Returns the names of each command.
    pub(crate) fn commands(
        &self,
    ) -> impl ExactSizeIterator<Item = impl ExactSizeIterator<Item = &[u8]>> {
        let bytes = |range: &Range<usize>| &self.bytes[range.clone()];
        self.commands
            .iter()
            .map(move |command| command.names.iter().map(bytes))
    }

    /// Removes all names. The memory stays, for the next batch.
    pub(super) fn emptied(mut self) -> Self {
        self.bytes.clear();
        self.by_hash.clear();
        if let Some(mut command) = self.commands.drain(..).next() {
            command.names.clear();
            self.spare = command.names;
        }
        self
    }
}

/// Returns the name at a place.
fn text<'a>(bytes: &'a [u8], commands: &[SlotCommand], place: Place) -> &'a [u8] {
    &bytes[commands[place.command].names[place.index].clone()]
}
