//! Entries: what blocks consist of, written and read.

use smallvec::SmallVec;

use super::block::Block;
use super::reader::Reader;
use crate::storage::log::Change;
use crate::storage::{QueueId, record};

pub(super) const DEFINE: u8 = 1;
pub(super) const ENQUEUE: u8 = 2;
pub(super) const SETTLE: u8 = 3;
pub(super) const DELIVER: u8 = 4;
pub(super) const DROP_QUEUE: u8 = 5;
pub(super) const FOOTER: u8 = 6;
/// As [`ENQUEUE`], with a time to live for each target.
pub(super) const ENQUEUE_TTL: u8 = 7;
pub(super) const RETURNS: u8 = 8;

/// Appends a number in 7 bits a byte, the lowest first.
pub fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a length and so many bytes.
pub fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub fn push_define(out: &mut Vec<u8>, changes: &[Change]) {
    out.push(DEFINE);
    push_number(out, changes.len() as u64);
    for Change { key, value } in changes {
        push_bytes(out, key);
        match value {
            Some(value) => {
                push_number(out, value.len() as u64 + 1);
                out.extend_from_slice(value);
            }
            None => push_number(out, 0),
        }
    }
}

/// A queue that messages enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub queue: QueueId,
    /// The position of the first message.
    pub first_seq: u64,
    /// How long they may stay there, counted from their publication; as long as they like if there is none.
    pub ttl_ms: Option<u64>,
}

/// Messages that enter queues at consecutive positions.
#[derive(Clone, Debug)]
pub struct Enqueue<'a> {
    pub targets: SmallVec<[Target; 2]>,
    /// When they were published, in milliseconds since 1970.
    pub time_ms: u64,
    pub records: u64,
    /// The length of every record, or 0 if they differ.
    pub stride: u64,
    pub bytes: &'a [u8],
    /// Where `bytes` cannot be trusted, as first and end, ascending.
    pub damaged: SmallVec<[(usize, usize); 1]>,
}

pub fn push_enqueue(out: &mut Vec<u8>, enqueue: &Enqueue<'_>) {
    let has_ttl = enqueue.targets.iter().any(|target| target.ttl_ms.is_some());
    out.push(if has_ttl { ENQUEUE_TTL } else { ENQUEUE });
    push_number(out, enqueue.targets.len() as u64);
    for &Target { queue, first_seq, ttl_ms } in &enqueue.targets {
        push_number(out, queue.0);
        push_number(out, first_seq);
        if has_ttl {
            push_number(out, ttl_ms.map_or(0, |ttl| ttl.saturating_add(1)));
        }
    }
    push_number(out, enqueue.time_ms);
    push_number(out, enqueue.records);
    push_number(out, enqueue.stride);
    push_bytes(out, enqueue.bytes);
}

/// `ranges` are first and end, ascending and apart.
pub fn push_settle(out: &mut Vec<u8>, queue: QueueId, ranges: &[(u64, u64)]) {
    out.push(SETTLE);
    push_number(out, queue.0);
    push_ranges(out, ranges);
}

/// Ranges as first and end, ascending and apart: each as its distance from the one before, and its length.
pub fn push_ranges(out: &mut Vec<u8>, ranges: &[(u64, u64)]) {
    push_number(out, ranges.len() as u64);
    let mut before = 0;
    for &(first, end) in ranges {
        push_number(out, first - before);
        push_number(out, end - first);
        before = end;
    }
}

/// Messages of a queue have been returned so often: first and end of their positions and the count, ascending and apart.
pub fn push_returns(out: &mut Vec<u8>, queue: QueueId, counts: &[(u64, u64, u32)]) {
    out.push(RETURNS);
    push_number(out, queue.0);
    push_counts(out, counts);
}

/// As [`push_ranges`], each with its count behind it.
pub fn push_counts(out: &mut Vec<u8>, counts: &[(u64, u64, u32)]) {
    push_number(out, counts.len() as u64);
    let mut before = 0;
    for &(first, end, count) in counts {
        push_number(out, first - before);
        push_number(out, end - first);
        push_number(out, u64::from(count));
        before = end;
    }
}

pub fn push_deliver(out: &mut Vec<u8>, queue: QueueId, through: u64) {
    out.push(DELIVER);
    push_number(out, queue.0);
    push_number(out, through);
}

pub fn push_drop_queue(out: &mut Vec<u8>, queue: QueueId) {
    out.push(DROP_QUEUE);
    push_number(out, queue.0);
}

/// What one queue has in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterPiece {
    pub queue: QueueId,
    pub first_seq: u64,
    pub end_seq: u64,
    /// Where the first block with some of it begins.
    pub offset: u64,
    /// From there to the end of the last such block.
    pub len: u64,
    /// Of its records.
    pub bytes: u64,
}

pub fn push_footer(out: &mut Vec<u8>, pieces: &[FooterPiece]) {
    out.push(FOOTER);
    push_number(out, pieces.len() as u64);
    for piece in pieces {
        for number in [piece.queue.0, piece.first_seq, piece.end_seq, piece.offset, piece.len, piece.bytes] {
            push_number(out, number);
        }
    }
}

/// One entry of a block.
#[derive(Clone, Debug)]
pub enum EntryView<'a> {
    Define(Vec<Change>),
    Enqueue(Enqueue<'a>),
    Settle(QueueId, Vec<(u64, u64)>),
    Returns(QueueId, Vec<(u64, u64, u32)>),
    Deliver(QueueId, u64),
    DropQueue(QueueId),
    Footer(Vec<FooterPiece>),
}

/// See [`Block::entries`].
pub struct Entries<'a, 'b> {
    block: &'b Block<'a>,
    rest: Reader<'a>,
    incomplete: bool,
}

impl<'a, 'b> Entries<'a, 'b> {
    pub(super) fn of(block: &'b Block<'a>) -> Entries<'a, 'b> {
        Entries { block, rest: Reader { bytes: block.payload }, incomplete: false }
    }

    /// Whether entries have been left out so far, for they cannot be read.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    fn at(&self) -> usize {
        self.block.payload.len() - self.rest.bytes.len()
    }

    /// Reads an entry. What it consists of must lie in intact pages, except for the records themselves.
    fn read(&mut self) -> Option<EntryView<'a>> {
        let from = self.at();
        let entry = match self.rest.byte()? {
            DEFINE => EntryView::Define(self.define()?),
            code @ (ENQUEUE | ENQUEUE_TTL) => return self.enqueue(from, code == ENQUEUE_TTL).map(EntryView::Enqueue),
            SETTLE => EntryView::Settle(QueueId(self.rest.number()?), self.rest.ranges()?),
            RETURNS => EntryView::Returns(QueueId(self.rest.number()?), self.rest.counts()?),
            DELIVER => EntryView::Deliver(QueueId(self.rest.number()?), self.rest.number()?),
            DROP_QUEUE => EntryView::DropQueue(QueueId(self.rest.number()?)),
            FOOTER => EntryView::Footer(self.footer()?),
            _ => return None,
        };
        (!self.block.is_damaged(from, self.at())).then_some(entry)
    }

    fn define(&mut self) -> Option<Vec<Change>> {
        let count = self.rest.number()?;
        let mut changes = Vec::new();
        for _ in 0..count {
            let key = self.rest.prefixed()?.to_vec();
            let value = match self.rest.number()? {
                0 => None,
                more => Some(self.rest.take(more - 1)?.to_vec()),
            };
            changes.push(Change { key, value });
        }
        Some(changes)
    }

    fn enqueue(&mut self, from: usize, has_ttl: bool) -> Option<Enqueue<'a>> {
        let count = self.rest.number()?;
        let mut targets: SmallVec<[Target; 2]> = SmallVec::new();
        for _ in 0..count {
            let (queue, first_seq) = (QueueId(self.rest.number()?), self.rest.number()?);
            let ttl_ms = if has_ttl { self.rest.number()?.checked_sub(1) } else { None };
            targets.push(Target { queue, first_seq, ttl_ms });
        }
        let (time_ms, records, stride) = (self.rest.number()?, self.rest.number()?, self.rest.number()?);
        let length = self.rest.number()?;
        let start = self.at();
        if self.block.is_damaged(from, start) {
            return None;
        }
        let bytes = self.rest.take(length)?;
        let is_possible = records > 0
            && (records as u128) * (record::HEAD_BYTES as u128) <= u128::from(length)
            && (stride == 0 || u128::from(stride) * u128::from(records) == u128::from(length))
            && targets.iter().all(|target| target.first_seq.checked_add(records).is_some());
        let within = |&(first, end): &(usize, usize)| {
            let (first, end) = (first.max(start), end.min(start + bytes.len()));
            (first < end).then(|| (first - start, end - start))
        };
        let damaged = self.block.damaged.iter().filter_map(within).collect();
        is_possible.then_some(Enqueue { targets, time_ms, records, stride, bytes, damaged })
    }

    fn footer(&mut self) -> Option<Vec<FooterPiece>> {
        let count = self.rest.number()?;
        let mut pieces = Vec::new();
        for _ in 0..count {
            let mut next = || self.rest.number();
            pieces.push(FooterPiece {
                queue: QueueId(next()?),
                first_seq: next()?,
                end_seq: next()?,
                offset: next()?,
                len: next()?,
                bytes: next()?,
            });
        }
        Some(pieces)
    }
}

impl<'a> Iterator for Entries<'a, '_> {
    type Item = EntryView<'a>;

    fn next(&mut self) -> Option<EntryView<'a>> {
        while !self.rest.bytes.is_empty() {
            let from = self.at();
            if let Some(entry) = self.read() {
                return Some(entry);
            }
            self.incomplete = true;
            self.rest.bytes = &self.block.payload[self.block.next_entry(from).unwrap_or(self.block.payload.len())..];
        }
        None
    }
}
