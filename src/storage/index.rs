//! Where on disk each waiting message is.
//!
//! For each queue: its **pieces** (consecutive positions whose records lie in one stretch of one file) and which of
//! these positions are settled. There is nothing for a single message: what a queue receives alone merges into few large
//! pieces, and what many queues receive mixed is gathered by compaction. For each file: how much of it is still needed.

mod rows;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::QueueId;
use super::counts::Counts;
use super::format::{FileKind, FooterPiece};
use super::lanes::ByLane;
use super::ranges::Ranges;
use super::store::{ColdRange, RecoveredQueue};

/// A piece is not merged beyond this, so that what is in it is found quickly.
const PIECE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: u64,
    /// Where its first block begins.
    pub offset: u64,
    /// To the end of its last block.
    pub len: u64,
}

impl Place {
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// Consecutive messages of a queue that lie, perhaps among others, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub first_seq: u64,
    pub end_seq: u64,
    pub place: Place,
    /// Of its records.
    pub bytes: u64,
    /// How many of its messages are not settled.
    pub live: u64,
}

impl Piece {
    pub fn new(first_seq: u64, count: u64, place: Place, bytes: u64) -> Piece {
        Piece { first_seq, end_seq: first_seq + count, place, bytes, live: count }
    }

    fn count(&self) -> u64 {
        self.end_seq - self.first_seq
    }

    /// Of the records that are not settled, about.
    pub fn live_bytes(&self) -> u64 {
        share(self.bytes, self.live, self.count())
    }

    /// Whether `next` may become part of this piece: it follows, and the stretch would still be mostly theirs.
    fn merges_with(&self, next: &Piece) -> bool {
        let follows = self.end_seq == next.first_seq
            && self.place.file == next.place.file
            && self.place.end() <= next.place.end();
        let len = next.place.end().saturating_sub(self.place.offset);
        let one_block = next.place.end() == self.place.end();
        follows && (one_block || (len <= PIECE_MAX_BYTES && len <= 2 * (self.bytes + next.bytes)))
    }
}

impl Piece {
    /// Takes `next` in, if it may become part of this piece.
    pub fn absorb(&mut self, next: &Piece) -> bool {
        let absorbs = self.merges_with(next);
        if absorbs {
            self.end_seq = next.end_seq;
            self.place.len = next.place.end() - self.place.offset;
            self.bytes += next.bytes;
            self.live += next.live;
        }
        absorbs
    }

    /// As the footer of a segment has it.
    pub fn footer(&self, queue: QueueId) -> FooterPiece {
        let &Piece { first_seq, end_seq, place: Place { offset, len, .. }, bytes, .. } = self;
        FooterPiece { queue, first_seq, end_seq, offset, len, bytes }
    }
}

fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    (u128::from(bytes) * u128::from(part) / u128::from(whole.max(1))) as u64
}

/// What is known of one queue.
#[derive(Clone, Debug, Default)]
pub struct QueueIndex {
    pieces: BTreeMap<u64, Piece>,
    /// Messages that left memory and are not durable; never settled here, only released.
    spilled: BTreeMap<u64, Piece>,
    /// Settled positions of the pieces.
    settled: Ranges,
    /// How often messages have been returned that wait, and are durable.
    returned: Counts,
    /// Something may expire that has come since there were last no pieces.
    may_expire: bool,
    /// No message has had this position or a higher one.
    next_seq: u64,
    /// Messages below may have been delivered.
    delivered: u64,
    /// Where to go on reading.
    cursor: Option<Cursor>,
}

/// How far a piece has been read.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// The first position of the piece.
    piece: u64,
    /// The next position to read ...
    seq: u64,
    /// ... which is in the block at this offset or in a later one.
    offset: u64,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub struct FileInfo {
    pub kind: FileKind,
    pub len: u64,
    /// Pieces in it.
    pub pieces: u64,
    /// Of the records in it that some queue needs; those that several need count for each.
    pub live_bytes: u64,
    /// The most that this has been.
    pub peak_bytes: u64,
}

/// A part of a queue's messages to be read from one place.
#[derive(Clone, Copy, Debug)]
pub struct ReadPlan {
    pub piece: Piece,
    /// Positions from here on, up to but not including the end of the piece.
    pub from_seq: u64,
    /// Where to start reading.
    pub offset: u64,
    pub spilled: bool,
}

#[derive(Default)]
pub struct Index {
    queues: ByLane<QueueIndex>,
    files: BTreeMap<u64, FileInfo>,
    changed: HashSet<QueueId>,
    next_queue_id: u64,
}

impl Index {
    /// No queue has had this id or a higher one.
    pub fn next_queue_id(&self) -> u64 {
        self.next_queue_id
    }

    pub fn raise_next_queue_id(&mut self, at_least: u64) {
        self.next_queue_id = self.next_queue_id.max(at_least);
    }

    pub fn add_file(&mut self, number: u64, kind: FileKind, len: u64) {
        self.files.insert(number, FileInfo { kind, len, pieces: 0, live_bytes: 0, peak_bytes: 0 });
    }

    pub fn set_file_len(&mut self, number: u64, len: u64) {
        if let Some(file) = self.files.get_mut(&number) {
            file.len = len;
        }
    }

    pub fn remove_file(&mut self, number: u64) {
        self.files.remove(&number);
    }

    pub fn files(&self) -> &BTreeMap<u64, FileInfo> {
        &self.files
    }

    pub fn queues(&self) -> impl Iterator<Item = (QueueId, &QueueIndex)> {
        self.queues.iter()
    }

    pub fn queue(&self, id: QueueId) -> Option<&QueueIndex> {
        self.queues.get(&id)
    }

    /// Pieces of all queues.
    pub fn pieces(&self) -> u64 {
        self.files.values().map(|file| file.pieces).sum()
    }

    fn queue_mut(&mut self, id: QueueId) -> &mut QueueIndex {
        self.changed.insert(id);
        self.raise_next_queue_id(id.base().0 + 1);
        self.queues.of(id)
    }

    fn count_in(files: &mut BTreeMap<u64, FileInfo>, piece: &Piece) {
        let file = files.get_mut(&piece.place.file).expect("a piece lies in a file that is known");
        file.pieces += 1;
        file.live_bytes += piece.live_bytes();
        file.peak_bytes = file.peak_bytes.max(file.live_bytes);
    }

    fn count_out(files: &mut BTreeMap<u64, FileInfo>, piece: &Piece) {
        let file = files.get_mut(&piece.place.file).expect("a piece lies in a file that is known");
        file.pieces -= 1;
        file.live_bytes -= piece.live_bytes();
    }

    /// Adds a piece behind the others, or to the last of them.
    fn add(files: &mut BTreeMap<u64, FileInfo>, pieces: &mut BTreeMap<u64, Piece>, piece: Piece) {
        if let Some(mut last) = pieces.last_entry()
            && last.get().merges_with(&piece)
        {
            Index::count_out(files, last.get());
            last.get_mut().absorb(&piece);
            Index::count_in(files, last.get());
            return;
        }
        Index::count_in(files, &piece);
        pieces.insert(piece.first_seq, piece);
    }

    /// Messages entered a queue.
    pub fn enqueue(&mut self, id: QueueId, piece: Piece) {
        self.changed.insert(id);
        self.raise_next_queue_id(id.base().0 + 1);
        let queue = self.queues.of(id);
        queue.next_seq = queue.next_seq.max(piece.end_seq);
        Index::add(&mut self.files, &mut queue.pieces, piece);
    }

    /// As [`enqueue`](Self::enqueue), but for those that are known already: files that were not removed in time, or
    /// were gathered anew without a checkpoint, may have some twice.
    pub fn enqueue_unknown(&mut self, id: QueueId, piece: Piece) {
        let known = self.queues.get(&id).filter(|queue| piece.first_seq < queue.next_seq);
        let Some(queue) = known else { return self.enqueue(id, piece) };
        let mut unknown = Ranges::default();
        unknown.insert(piece.first_seq, piece.end_seq);
        queue
            .pieces_between(piece.first_seq, piece.end_seq)
            .for_each(|known| unknown.remove(known.first_seq, known.end_seq));
        for (from, to) in unknown.to_vec() {
            self.enqueue(id, Piece::new(from, to - from, piece.place, share(piece.bytes, to - from, piece.count())));
        }
    }

    /// Among the messages of a queue are some that may expire.
    pub fn note_expiring(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(&id).filter(|queue| !queue.may_expire) else { return };
        queue.may_expire = !queue.pieces.is_empty();
        self.changed.insert(id);
    }

    /// Messages have been returned so often in all, as far as they wait.
    pub fn count_returns(&mut self, id: QueueId, first_seq: u64, end_seq: u64, returns: u32) {
        let waiting = self.unsettled(id, first_seq, end_seq);
        let Some(queue) = self.queues.get_mut(&id).filter(|_| !waiting.is_empty()) else { return };
        waiting.iter().for_each(|&(first, end)| queue.returned.set(first, end, returns));
        self.changed.insert(id);
    }

    /// Positions below are not to be used again.
    pub fn raise_next_seq(&mut self, id: QueueId, at_least: u64) {
        let queue = self.queue_mut(id);
        queue.next_seq = queue.next_seq.max(at_least);
    }

    /// Positions of a queue were settled.
    pub fn settle(&mut self, id: QueueId, first_seq: u64, end_seq: u64) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        self.changed.insert(id);
        queue.returned.remove(first_seq, end_seq);
        let mut at = queue.first_piece_from(first_seq);
        while at < end_seq
            && let Some((&key, piece)) = queue.pieces.range_mut(at..end_seq).next()
        {
            at = piece.end_seq;
            let (from, to) = (first_seq.max(piece.first_seq), end_seq.min(piece.end_seq));
            if from >= to {
                continue;
            }
            Index::count_out(&mut self.files, piece);
            piece.live -= (to - from) - queue.settled.overlap(from, to);
            if piece.live == 0 {
                queue.settled.remove(piece.first_seq, piece.end_seq);
                queue.pieces.remove(&key);
            } else {
                queue.settled.insert(from, to);
                Index::count_in(&mut self.files, piece);
            }
        }
        queue.may_expire &= !queue.pieces.is_empty();
    }

    /// Messages below may have been delivered.
    pub fn deliver(&mut self, id: QueueId, through: u64) {
        let queue = self.queue_mut(id);
        queue.delivered = queue.delivered.max(through);
    }

    /// The queue is gone, with its lanes and all that they have.
    pub fn drop_queue(&mut self, id: QueueId) {
        self.changed.insert(id.base());
        self.raise_next_queue_id(id.base().0 + 1);
        for (lane, queue) in self.queues.remove_queue(id.base()) {
            self.changed.insert(lane);
            let pieces = queue.pieces.values().chain(queue.spilled.values());
            pieces.for_each(|piece| Index::count_out(&mut self.files, piece));
        }
    }

    /// Messages left memory that are not durable.
    pub fn spill(&mut self, id: QueueId, piece: Piece) {
        let queue = self.queues.of(id);
        Index::add(&mut self.files, &mut queue.spilled, piece);
    }

    /// Spilled messages are in memory again, or not needed.
    pub fn release_spilled(&mut self, id: QueueId, first_seq: u64, end_seq: u64) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let start = queue.spilled.range(..=first_seq).next_back().map_or(first_seq, |(&key, _)| key);
        let keys: Vec<u64> = queue.spilled.range(start..end_seq).map(|(&key, _)| key).collect();
        for key in keys {
            let Some(piece) = queue.spilled.remove(&key) else { continue };
            Index::count_out(&mut self.files, &piece);
            for (from, to) in
                [(piece.first_seq, first_seq.min(piece.end_seq)), (end_seq.max(piece.first_seq), piece.end_seq)]
            {
                if from < to {
                    let bytes = share(piece.bytes, to - from, piece.count());
                    let rest = Piece { first_seq: from, end_seq: to, bytes, live: to - from, ..piece };
                    Index::count_in(&mut self.files, &rest);
                    queue.spilled.insert(from, rest);
                }
            }
        }
        if queue.pieces.is_empty() && queue.spilled.is_empty() && queue.next_seq == 0 {
            self.queues.remove(&id);
        }
    }

    /// Where the first message of a queue is that waits at `from_seq` or behind, before `to_seq`.
    pub fn plan(&self, id: QueueId, from_seq: u64, to_seq: u64) -> Option<ReadPlan> {
        let queue = self.queues.get(&id)?;
        let durable = queue.next_live(from_seq).map(|(seq, piece)| (seq, piece, false));
        let spilled = next_of(&queue.spilled, from_seq).map(|(seq, piece)| (seq, piece, true));
        let (from_seq, piece, spilled) = durable.into_iter().chain(spilled).min_by_key(|(seq, ..)| *seq)?;
        if from_seq >= to_seq {
            return None;
        }
        let offset = match queue.cursor {
            Some(cursor) if !spilled && (cursor.piece, cursor.seq) == (piece.first_seq, from_seq) => cursor.offset,
            _ => piece.place.offset,
        };
        Some(ReadPlan { piece, from_seq, offset, spilled })
    }

    /// Notes that a piece, which must still lie where it did, has been read up to a position, which is in the block at
    /// `offset` or in a later one.
    pub fn set_cursor(&mut self, id: QueueId, read: &Piece, seq: u64, offset: u64) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let still = queue.pieces.get(&read.first_seq);
        if still.is_some_and(|piece| (piece.place.file, piece.place.offset) == (read.place.file, read.place.offset)) {
            queue.cursor = Some(Cursor { piece: read.first_seq, seq, offset });
        }
    }

    /// Those of the positions that wait, as ranges.
    pub fn unsettled(&self, id: QueueId, first_seq: u64, end_seq: u64) -> Vec<(u64, u64)> {
        let Some(queue) = self.queues.get(&id) else { return Vec::new() };
        let mut waiting = Vec::new();
        for piece in queue.pieces_between(first_seq, end_seq) {
            let (from, to) = (piece.first_seq.max(first_seq), piece.end_seq.min(end_seq));
            waiting.extend(queue.settled.gaps(from, to));
        }
        waiting
    }

    /// As [`unsettled`](Self::unsettled), each with how often its messages have been returned.
    pub fn unsettled_with_returns(&self, id: QueueId, first_seq: u64, end_seq: u64) -> Vec<(u64, u64, u32)> {
        let Some(queue) = self.queues.get(&id) else { return Vec::new() };
        let mut waiting = Vec::new();
        for (from, to) in self.unsettled(id, first_seq, end_seq) {
            if queue.returned.is_empty() {
                waiting.push((from, to, 0));
            } else {
                waiting.extend(queue.returned.over(from, to));
            }
        }
        waiting
    }

    /// As [`unsettled`](Self::unsettled), but only of pieces with a block at that offset of that file.
    pub fn unsettled_in(&self, id: QueueId, first_seq: u64, end_seq: u64, file: u64, offset: u64) -> Vec<(u64, u64)> {
        let Some(queue) = self.queues.get(&id) else { return Vec::new() };
        let mut waiting = Vec::new();
        let is_there = |place: Place| place.file == file && (place.offset..place.end()).contains(&offset);
        for piece in queue.pieces_between(first_seq, end_seq).filter(|piece| is_there(piece.place)) {
            let (from, to) = (piece.first_seq.max(first_seq), piece.end_seq.min(end_seq));
            waiting.extend(queue.settled.gaps(from, to));
        }
        waiting
    }

    /// What a queue has in a file.
    pub fn pieces_in(&self, id: QueueId, file: u64) -> Vec<Piece> {
        let queue = self.queues.get(&id);
        queue
            .into_iter()
            .flat_map(|queue| queue.pieces.values().filter(|piece| piece.place.file == file))
            .copied()
            .collect()
    }

    /// Messages of `old_file` were copied: what still waits of them is in the new places from now on, and nothing in the
    /// old file. `copied` are ascending.
    pub fn relocate(&mut self, id: QueueId, old_file: u64, copied: &[Piece]) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        self.changed.insert(id);
        queue.cursor = None;
        let old: Vec<Piece> = queue.pieces.values().filter(|piece| piece.place.file == old_file).copied().collect();
        for piece in &old {
            Index::count_out(&mut self.files, piece);
            queue.pieces.remove(&piece.first_seq);
        }
        for (first_seq, end_seq) in spans(&old) {
            let start = copied.partition_point(|new| new.end_seq <= first_seq);
            for new in copied[start..].iter().take_while(|new| new.first_seq < end_seq) {
                let (from, to) = (new.first_seq.max(first_seq), new.end_seq.min(end_seq));
                let live = (to - from) - queue.settled.overlap(from, to);
                if live > 0 {
                    let bytes = share(new.bytes, to - from, new.count());
                    let moved = Piece { first_seq: from, end_seq: to, place: new.place, bytes, live };
                    Index::count_in(&mut self.files, &moved);
                    queue.pieces.insert(from, moved);
                }
            }
            queue.forget_outside(first_seq, end_seq);
        }
        queue.may_expire &= !queue.pieces.is_empty();
    }

    /// The queues that have changed since this was last asked, with their rows; `None` for those that are gone. What
    /// lies in the file `current` may be left out; its queues count as changed again, as the next time it may not be.
    pub fn take_changes(&mut self, current: u64, with_current: bool) -> HashMap<u64, Option<Vec<u8>>> {
        let changed = std::mem::take(&mut self.changed);
        let mut rows = HashMap::with_capacity(changed.len());
        for id in changed {
            let Some(queue) = self.queues.get(&id) else {
                rows.insert(id.0, None);
                continue;
            };
            if queue.has_some_in(current) {
                self.changed.insert(id);
            }
            rows.insert(id.0, Some(queue.encode((!with_current).then_some(current))));
        }
        rows
    }

    /// What was taken could not be written down.
    pub fn put_back_changes(&mut self, changes: impl IntoIterator<Item = u64>) {
        self.changed.extend(changes.into_iter().map(QueueId));
    }

    /// Takes in a queue as the checkpoint has it. `None` if the row cannot be read; else the number of a file that is
    /// missing, if one is.
    pub fn restore(&mut self, id: QueueId, row: &[u8]) -> Option<Option<u64>> {
        let queue = QueueIndex::decode(row)?;
        let missing = queue.pieces.values().map(|piece| piece.place.file).find(|file| !self.files.contains_key(file));
        if missing.is_some() {
            return Some(missing);
        }
        queue.pieces.values().for_each(|piece| Index::count_in(&mut self.files, piece));
        self.raise_next_queue_id(id.base().0 + 1);
        self.queues.insert(id, queue);
        Some(None)
    }
}

/// The positions of ascending pieces, as first and end, those without a gap between them together.
fn spans(pieces: &[Piece]) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for piece in pieces {
        match spans.last_mut() {
            Some((_, end)) if *end == piece.first_seq => *end = piece.end_seq,
            _ => spans.push((piece.first_seq, piece.end_seq)),
        }
    }
    spans
}

fn next_of(pieces: &BTreeMap<u64, Piece>, from_seq: u64) -> Option<(u64, Piece)> {
    let before = pieces.range(..=from_seq).next_back().map(|(_, piece)| *piece);
    if let Some(piece) = before.filter(|piece| piece.end_seq > from_seq) {
        return Some((from_seq, piece));
    }
    pieces.range(from_seq..).next().map(|(&first, piece)| (first, *piece))
}

impl QueueIndex {
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.values()
    }

    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Messages below may have been delivered.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    pub fn live(&self) -> u64 {
        self.pieces.values().map(|piece| piece.live).sum()
    }

    pub fn live_bytes(&self) -> u64 {
        self.pieces.values().map(Piece::live_bytes).sum()
    }

    /// The key of the piece that has `seq`, or `seq` itself.
    fn first_piece_from(&self, seq: u64) -> u64 {
        self.pieces.range(..=seq).next_back().filter(|(_, piece)| piece.end_seq > seq).map_or(seq, |(&key, _)| key)
    }

    fn pieces_between(&self, first_seq: u64, end_seq: u64) -> impl Iterator<Item = &Piece> {
        let start = self.first_piece_from(first_seq);
        self.pieces.range(start..end_seq.max(start)).map(|(_, piece)| piece)
    }

    fn next_live(&self, mut from_seq: u64) -> Option<(u64, Piece)> {
        loop {
            let (seq, piece) = next_of(&self.pieces, from_seq)?;
            match self.settled.first_gap(seq, piece.end_seq) {
                Some(seq) => return Some((seq, piece)),
                None => from_seq = piece.end_seq,
            }
        }
    }

    /// Forgets what is settled or was returned between two positions but is in no piece any more.
    fn forget_outside(&mut self, first_seq: u64, end_seq: u64) {
        let mut at = first_seq;
        let kept: Vec<(u64, u64)> =
            self.pieces_between(first_seq, end_seq).map(|piece| (piece.first_seq, piece.end_seq)).collect();
        for (first, end) in kept.into_iter().chain([(end_seq, end_seq)]) {
            if at < first {
                self.settled.remove(at, first);
                self.returned.remove(at, first);
            }
            at = end;
        }
    }

    /// What waits, for the broker: first what may have been delivered, then the rest.
    pub fn recovered(&self) -> RecoveredQueue {
        let mut waiting = Vec::new();
        for (redelivered, from, to) in [(true, 0, self.delivered), (false, self.delivered, u64::MAX)] {
            waiting.extend(self.cold_range(from, to, redelivered));
        }
        RecoveredQueue { next_seq: self.next_seq.max(self.delivered), may_expire: self.may_expire, waiting }
    }

    fn cold_range(&self, from: u64, to: u64, redelivered: bool) -> Option<ColdRange> {
        let mut range = ColdRange { first_seq: u64::MAX, end_seq: 0, count: 0, bytes: 0, redelivered };
        for piece in self.pieces_between(from, to) {
            let (first, end) = (piece.first_seq.max(from), piece.end_seq.min(to));
            let count = if (first, end) == (piece.first_seq, piece.end_seq) {
                piece.live
            } else {
                (end - first) - self.settled.overlap(first, end)
            };
            if count > 0 {
                range.first_seq = range.first_seq.min(first);
                range.end_seq = end;
                range.count += count;
                range.bytes += share(piece.bytes, count, piece.count());
            }
        }
        (range.count > 0).then_some(range)
    }

    fn has_some_in(&self, file: u64) -> bool {
        // New pieces come last.
        self.pieces.values().rev().any(|piece| piece.place.file == file)
    }
}

#[cfg(test)]
mod model_tests;
