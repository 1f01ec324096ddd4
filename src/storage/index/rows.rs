//! What is known of a queue as a row of the checkpoint.

use std::collections::BTreeMap;

use super::{Piece, Place, QueueIndex};
use crate::storage::format::{Reader, push_counts, push_number, push_ranges};

/// No stretch of a file is longer, by far.
const PLACE_MAX_BYTES: u64 = 1 << 40;

impl QueueIndex {
    /// The row, without what lies in the file `without`.
    pub(super) fn encode(&self, without: Option<u64>) -> Vec<u8> {
        let pieces: Vec<&Piece> = self.pieces.values().filter(|piece| Some(piece.place.file) != without).collect();
        let mut row = Vec::new();
        push_number(&mut row, self.next_seq);
        push_number(&mut row, self.delivered);
        push_number(&mut row, pieces.len() as u64);
        let mut before = 0;
        for piece in &pieces {
            let Place { file, offset, len } = piece.place;
            for number in [piece.first_seq - before, piece.count(), file, offset, len, piece.bytes] {
                push_number(&mut row, number);
            }
            before = piece.end_seq;
        }
        let settled: Vec<(u64, u64)> =
            pieces.iter().flat_map(|piece| self.settled.between(piece.first_seq, piece.end_seq)).collect();
        push_ranges(&mut row, &settled);
        let returned: Vec<(u64, u64, u32)> =
            pieces.iter().flat_map(|piece| self.returned.between(piece.first_seq, piece.end_seq)).collect();
        if self.may_expire || !returned.is_empty() {
            row.push(u8::from(self.may_expire));
            push_counts(&mut row, &returned);
        }
        row
    }

    /// The row without what lies in files that are gone, and how many waiting messages that is for each of them.
    pub fn without_files(row: &[u8], is_gone: impl Fn(u64) -> bool) -> Option<(Vec<u8>, BTreeMap<u64, u64>)> {
        let mut queue = QueueIndex::decode(row)?;
        let mut lost = BTreeMap::new();
        for piece in queue.pieces.extract_if(.., |_, piece| is_gone(piece.place.file)).map(|(_, piece)| piece) {
            *lost.entry(piece.place.file).or_default() += piece.live;
        }
        queue.forget_outside(0, u64::MAX);
        queue.may_expire &= !queue.pieces.is_empty();
        Some((queue.encode(None), lost))
    }

    /// Where the pieces of a row lie; none if it cannot be read.
    pub fn places(row: &[u8]) -> Vec<Place> {
        QueueIndex::decode(row).map_or(Vec::new(), |queue| queue.pieces.values().map(|piece| piece.place).collect())
    }

    pub(super) fn decode(row: &[u8]) -> Option<QueueIndex> {
        let mut reader = Reader { bytes: row };
        let mut queue = QueueIndex { next_seq: reader.number()?, delivered: reader.number()?, ..QueueIndex::default() };
        let count = reader.number()?;
        let mut before = 0u64;
        for _ in 0..count {
            let first_seq = before.checked_add(reader.number()?)?;
            let count = reader.number()?;
            let place = Place { file: reader.number()?, offset: reader.number()?, len: reader.number()? };
            let bytes = reader.number()?;
            place.offset.checked_add(place.len)?;
            before = first_seq.checked_add(count)?;
            if count == 0 || bytes > place.len || place.len > PLACE_MAX_BYTES {
                return None;
            }
            queue.pieces.insert(first_seq, Piece::new(first_seq, count, place, bytes));
        }
        if before > queue.next_seq {
            return None;
        }
        for (first, end) in reader.ranges()? {
            queue.settled.insert(first, end);
        }
        for piece in queue.pieces.values_mut() {
            piece.live -= queue.settled.overlap(piece.first_seq, piece.end_seq);
        }
        queue.pieces.retain(|_, piece| piece.live > 0);
        if !reader.bytes.is_empty() {
            queue.decode_more(&mut reader)?;
        }
        reader.bytes.is_empty().then_some(queue)
    }

    /// What only some rows have: whether something may expire, and what was returned.
    fn decode_more(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        self.may_expire = match reader.byte()? {
            flag @ 0..=1 => flag == 1 && !self.pieces.is_empty(),
            _ => return None,
        };
        for (first, end, count) in reader.counts()? {
            for piece in self.pieces_between(first, end).copied().collect::<Vec<Piece>>() {
                let (from, to) = (piece.first_seq.max(first), piece.end_seq.min(end));
                let waiting = self.settled.gaps(from, to);
                waiting.into_iter().for_each(|(from, to)| self.returned.set(from, to, count));
            }
        }
        Some(())
    }
}
