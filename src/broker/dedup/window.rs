//! The keys that are remembered: so many at most, and each for some time at most.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::key::Key;
use crate::storage::chunk::Charge;

/// One key, in the order in which they came.
#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    /// When it is forgotten, in milliseconds since 1970, and [`KEPT`] if a log has it too.
    until: u64,
}

/// The bit of an entry that a log has.
const KEPT: u64 = 1 << 63;
/// What counts as no time limit: no clock will say so.
pub const FOREVER: u64 = KEPT - 1;

impl Entry {
    fn until_ms(&self) -> u64 {
        self.until & !KEPT
    }

    fn is_kept(&self) -> bool {
        self.until & KEPT != 0
    }
}

/// Remembered keys. The oldest are forgotten first; what has outlived its time is as good as forgotten.
///
/// A key costs 24 bytes in the line and 5 in the table, and at most twice that while the two have room to grow.
#[derive(Default)]
pub struct Window {
    line: VecDeque<Entry>,
    /// The numbers of the entries by their keys: entry `n` lies at `n - first` in the line, all of it modulo 2^32.
    numbers: HashTable<u32>,
    /// The number of the entry at the front.
    first: u32,
    charge: Charge,
}

impl Window {
    /// How many keys have a place, those included whose time is up and that are not at the front yet.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether this key is remembered.
    pub fn contains(&self, key: Key, now_ms: u64) -> bool {
        self.number(key).is_some_and(|number| self.line[self.place(number)].until_ms() > now_ms)
    }

    /// Remembers a key, behind all others, that is not remembered now. `until_ms` is below [`FOREVER`] or just that.
    pub fn remember(&mut self, key: Key, until_ms: u64, is_kept: bool) {
        if let Some(number) = self.number(key) {
            // Its time is up: its place goes when its turn comes.
            self.forget_number(number);
            let place = self.place(number);
            self.line[place].until &= KEPT;
        }
        let number = self.first.wrapping_add(self.line.len() as u32);
        let until = until_ms.min(FOREVER) | if is_kept { KEPT } else { 0 };
        self.line.push_back(Entry { key, until });
        let Window { line, numbers, first, .. } = self;
        let hash = |number: &u32| line[number.wrapping_sub(*first) as usize].key.hash();
        numbers.insert_unique(key.hash(), number, hash);
        self.charge();
    }

    /// Forgets the oldest: those whose time is up, and those that are more than `most`. Returns how many of them a log
    /// has.
    pub fn trim(&mut self, most: usize, now_ms: u64) -> u64 {
        let mut kept = 0;
        while let Some(oldest) = self.line.front()
            && (self.line.len() > most || oldest.until_ms() <= now_ms)
        {
            kept += u64::from(oldest.is_kept());
            if self.number(oldest.key) == Some(self.first) {
                self.forget_number(self.first);
            }
            self.line.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        kept
    }

    /// The keys that a log has or is to have, the oldest first, and until when they are remembered.
    #[cfg(test)]
    pub fn kept(&self) -> impl Iterator<Item = (Key, u64)> {
        self.line.iter().filter(|entry| entry.is_kept()).map(|entry| (entry.key, entry.until_ms()))
    }

    /// No log has any of them any more.
    pub fn forsake(&mut self) {
        self.line.iter_mut().for_each(|entry| entry.until &= !KEPT);
    }

    fn number(&self, key: Key) -> Option<u32> {
        self.numbers.find(key.hash(), |number| self.line[self.place(*number)].key == key).copied()
    }

    fn place(&self, number: u32) -> usize {
        number.wrapping_sub(self.first) as usize
    }

    fn forget_number(&mut self, number: u32) {
        let hash = self.line[self.place(number)].key.hash();
        if let Ok(found) = self.numbers.find_entry(hash, |other| *other == number) {
            found.remove();
        }
    }

    fn charge(&mut self) {
        let line_bytes = self.line.capacity() * size_of::<Entry>();
        self.charge.set(line_bytes + self.numbers.capacity() * (size_of::<u32>() + 1));
    }

    /// Bytes of memory that it holds.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.charge.bytes()
    }
}
