//! Entries in numbered places, found by what they hold.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::entry::Entry;

/// Places that are made at a time, and looked through at a time.
pub(super) const CHUNK: usize = 4096;

/// Entries in numbered places. A place is used again once it is free; what is in it never moves.
#[derive(Debug, Default)]
pub(super) struct Slots {
    chunks: Vec<Vec<Option<Entry>>>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn get(&self, slot: u32) -> Option<&Entry> {
        let (chunk, place) = place(slot);
        self.chunks.get(chunk)?.get(place)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        let (chunk, place) = place(slot);
        self.chunks.get_mut(chunk)?.get_mut(place)?.as_mut()
    }

    /// Puts an entry into a free place, and returns that.
    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        if let Some(slot) = self.free.pop() {
            let (chunk, place) = place(slot);
            if let Some(free) = self.chunks.get_mut(chunk).and_then(|chunk| chunk.get_mut(place)) {
                *free = Some(entry);
                return slot;
            }
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let full = (self.chunks.len() - 1) * CHUNK;
        let Some(chunk) = self.chunks.last_mut() else { return u32::MAX };
        chunk.push(Some(entry));
        u32::try_from(full + chunk.len() - 1).unwrap_or(u32::MAX)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let (chunk, place) = place(slot);
        let entry = self.chunks.get_mut(chunk)?.get_mut(place)?.take()?;
        self.free.push(slot);
        Some(entry)
    }

    /// The `number`th chunk. `None`: there are no more.
    pub(super) fn chunk(&self, number: usize) -> Option<impl Iterator<Item = &Entry>> {
        Some(self.chunks.get(number)?.iter().flatten())
    }

    /// How many places there are, free ones too.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flatten().flatten()
    }
}

fn place(slot: u32) -> (usize, usize) {
    let slot = usize::try_from(slot).unwrap_or(usize::MAX);
    (slot / CHUNK, slot % CHUNK)
}

/// Finds places by a text of their entries, which is kept in the entries alone.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    table: HashTable<u32>,
    hasher: RandomState,
}

impl Lookup {
    /// The place of the entry whose text is `text`.
    pub(super) fn get<'a>(
        &self,
        text: &str,
        slots: &'a Slots,
        text_of: impl Fn(&'a Entry) -> Option<&'a str>,
    ) -> Option<u32> {
        let is = |slot: &u32| slots.get(*slot).and_then(&text_of) == Some(text);
        self.table.find(self.hasher.hash_one(text), is).copied()
    }

    /// Lets `text` lead to `slot`, whose entry must have it, instead of where it may have led before.
    pub(super) fn insert<'a>(
        &mut self,
        text: &str,
        slot: u32,
        slots: &'a Slots,
        text_of: impl Fn(&'a Entry) -> Option<&'a str>,
    ) {
        let hash = self.hasher.hash_one(text);
        let is = |slot: &u32| slots.get(*slot).and_then(&text_of) == Some(text);
        if let Some(known) = self.table.find_mut(hash, is) {
            *known = slot;
            return;
        }
        let hash_of =
            |slot: &u32| self.hasher.hash_one(slots.get(*slot).and_then(&text_of).unwrap_or_default());
        self.table.insert_unique(hash, slot, hash_of);
    }

    /// `text` leads to `slot` no more. What leads elsewhere stays.
    pub(super) fn remove(&mut self, text: &str, slot: u32) {
        if let Ok(found) = self.table.find_entry(self.hasher.hash_one(text), |other| *other == slot) {
            found.remove();
        }
    }
}
