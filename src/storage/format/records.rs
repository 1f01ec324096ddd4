//! The records of an entry, those that can be read.

use super::entry::Enqueue;
use crate::storage::record;

/// Some records of an [`Enqueue`] that follow each other and are intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records<'a> {
    /// The number of the first among the records of the entry.
    pub first: u64,
    pub count: u64,
    pub bytes: &'a [u8],
}

impl<'a> Enqueue<'a> {
    /// The records that can be read. Without damage that is all of them in one piece.
    pub fn intact(&self) -> Vec<Records<'a>> {
        if self.damaged.is_empty() {
            return vec![Records { first: 0, count: self.records, bytes: self.bytes }];
        }
        let mut intact: Vec<Records<'a>> = Vec::new();
        let (mut at, mut number) = (0, 0);
        // So much may be believed if the lengths behind it, some of them in damaged pages, lead to the end exactly.
        let mut certain = None;
        while number < self.records && at < self.bytes.len() {
            if certain.is_none() && self.stride == 0 && self.touches_damage(at, at + record::HEAD_BYTES) {
                certain = Some(intact.len());
            }
            let Some(length) = self.length_at(at) else { break };
            if !self.touches_damage(at, at + length) {
                let is_new = certain == Some(intact.len());
                self.append(&mut intact, number, at, length, is_new);
            }
            at += length;
            number += 1;
        }
        if (number, at) != (self.records, self.bytes.len()) {
            intact.truncate(certain.unwrap_or(intact.len()));
        }
        intact
    }

    fn length_at(&self, at: usize) -> Option<usize> {
        match self.stride {
            0 => record::length_of(&self.bytes[at..]),
            stride => Some(stride as usize),
        }
    }

    fn touches_damage(&self, from: usize, to: usize) -> bool {
        self.damaged.iter().any(|&(first, end)| first < to && from < end)
    }

    fn append(&self, intact: &mut Vec<Records<'a>>, number: u64, at: usize, length: usize, is_new: bool) {
        if !is_new
            && let Some(last) = intact.last_mut()
            && last.first + last.count == number
        {
            last.count += 1;
            let start = at - last.bytes.len();
            last.bytes = &self.bytes[start..at + length];
            return;
        }
        intact.push(Records { first: number, count: 1, bytes: &self.bytes[at..at + length] });
    }
}
