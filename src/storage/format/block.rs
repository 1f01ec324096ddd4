//! Blocks: a head, a payload of entries, and a checksum for each page of the payload.

use smallvec::SmallVec;

use super::entry::Entries;
use super::reader::Reader;
use crate::storage::Epoch;

pub(super) const BLOCK_MAGIC: [u8; 4] = *b"LvB1";
/// Bytes of a block's head.
pub const BLOCK_HEAD_BYTES: usize = 36;
/// Bytes of payload that one checksum covers.
pub const PAGE_BYTES: usize = 4096;
/// Bytes of the table for each page: its checksum, and where the first entry begins in it.
const PAGE_ROW_BYTES: usize = 6;
/// In a row of the table: no entry begins in the page.
const NO_ENTRY: u16 = u16::MAX;
/// No block has more payload: a message is at most 512 MiB, and an entry has at most one such.
const PAYLOAD_MAX_BYTES: usize = 1 << 30;
/// In the block's number: it is the last of its epoch.
const LAST: u32 = 1 << 31;

/// What a block's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHead {
    /// The epoch that the block belongs to; none in segments and spill files.
    pub epoch: Epoch,
    /// Everything up to this epoch was synced when the block was written.
    pub synced: Epoch,
    /// Its number among the blocks of its epoch, from 0.
    pub index: u32,
    /// Whether it is the last of its epoch.
    pub last: bool,
    pub(super) payload_bytes: usize,
    pub(super) table_crc: u32,
}

impl BlockHead {
    pub fn new(epoch: Epoch, synced: Epoch, index: u32, last: bool) -> BlockHead {
        BlockHead { epoch, synced, index, last, payload_bytes: 0, table_crc: 0 }
    }

    /// The same, as the last of its epoch or not.
    pub fn ending(self, last: bool) -> BlockHead {
        BlockHead { last, ..self }
    }

    pub(super) fn encode(&self, at: BlockPlace) -> [u8; BLOCK_HEAD_BYTES] {
        let mut head = [0; BLOCK_HEAD_BYTES];
        head[0..4].copy_from_slice(&BLOCK_MAGIC);
        head[4..8].copy_from_slice(&(self.payload_bytes as u32).to_le_bytes());
        head[8..16].copy_from_slice(&self.epoch.0.to_le_bytes());
        head[16..24].copy_from_slice(&self.synced.0.to_le_bytes());
        let last = if self.last { LAST } else { 0 };
        head[24..28].copy_from_slice(&(self.index | last).to_le_bytes());
        head[28..32].copy_from_slice(&self.table_crc.to_le_bytes());
        let crc = head_crc(&head[..32], at);
        head[32..36].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// `None` if these bytes are no head of a block at that place.
    pub(super) fn decode(head: &[u8], at: BlockPlace) -> Option<BlockHead> {
        let head = head.get(..BLOCK_HEAD_BYTES)?;
        if head[..4] != BLOCK_MAGIC || u32_at(head, 32) != head_crc(&head[..32], at) {
            return None;
        }
        let index = u32_at(head, 24);
        let payload_bytes = u32_at(head, 4) as usize;
        (payload_bytes <= PAYLOAD_MAX_BYTES).then(|| BlockHead {
            epoch: Epoch(u64_at(head, 8)),
            synced: Epoch(u64_at(head, 16)),
            index: index & !LAST,
            last: index & LAST != 0,
            payload_bytes,
            table_crc: u32_at(head, 28),
        })
    }

    fn table_bytes(&self) -> usize {
        self.payload_bytes.div_ceil(PAGE_BYTES) * PAGE_ROW_BYTES
    }

    /// Bytes of the whole block.
    pub fn block_bytes(&self) -> usize {
        BLOCK_HEAD_BYTES + self.payload_bytes + self.table_bytes()
    }
}

/// Where a block is.
#[derive(Clone, Copy, Debug)]
pub struct BlockPlace {
    pub file: u64,
    pub offset: u64,
}

fn head_crc(head: &[u8], at: BlockPlace) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(&at.file.to_le_bytes());
    crc.update(&at.offset.to_le_bytes());
    crc.finalize()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Begins a block at the end of `out`; entries are appended next. Returns what [`end_block`] wants to know.
pub fn begin_block(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; BLOCK_HEAD_BYTES]);
    out.len() - BLOCK_HEAD_BYTES
}

/// Ends the block that began at `start` of `out`, and will be there in the file.
pub fn end_block(out: &mut Vec<u8>, start: usize, at: BlockPlace, mut head: BlockHead) {
    let payload = start + BLOCK_HEAD_BYTES;
    head.payload_bytes = out.len() - payload;
    assert!(head.payload_bytes <= PAYLOAD_MAX_BYTES, "an entry is larger than any message may be");
    let table = table_of(&out[payload..]);
    head.table_crc = crc32fast::hash(&table);
    out.extend_from_slice(&table);
    out[start..payload].copy_from_slice(&head.encode(at));
}

fn table_of(payload: &[u8]) -> SmallVec<[u8; 256]> {
    let mut table = SmallVec::new();
    let mut entries = Reader { bytes: payload };
    let mut entry = 0;
    for (index, page) in payload.chunks(PAGE_BYTES).enumerate() {
        let (start, end) = (index * PAGE_BYTES, index * PAGE_BYTES + page.len());
        while entry < start {
            entries.skip_entry().expect("the payload is entries");
            entry = payload.len() - entries.bytes.len();
        }
        let first = if entry < end { (entry - start) as u16 } else { NO_ENTRY };
        table.extend_from_slice(&crc32fast::hash(page).to_le_bytes());
        table.extend_from_slice(&first.to_le_bytes());
    }
    table
}

/// A block that was read.
#[derive(Debug)]
pub struct Block<'a> {
    pub head: BlockHead,
    pub(super) payload: &'a [u8],
    /// Empty if it is damaged.
    table: &'a [u8],
    /// Pages whose checksum is wrong, as first and end in the payload, ascending.
    pub damaged: SmallVec<[(usize, usize); 1]>,
}

impl<'a> Block<'a> {
    /// Reads the block that is `bytes`, head and all.
    pub(super) fn read(head: BlockHead, bytes: &'a [u8]) -> Block<'a> {
        let payload = &bytes[BLOCK_HEAD_BYTES..BLOCK_HEAD_BYTES + head.payload_bytes];
        let table = &bytes[BLOCK_HEAD_BYTES + head.payload_bytes..head.block_bytes()];
        let mut damaged: SmallVec<[(usize, usize); 1]> = SmallVec::new();
        if crc32fast::hash(table) != head.table_crc {
            // Nothing vouches for the payload.
            damaged.push((0, payload.len()));
            return Block { head, payload, table: &[], damaged };
        }
        for (index, page) in payload.chunks(PAGE_BYTES).enumerate() {
            if crc32fast::hash(page) != u32_at(table, index * PAGE_ROW_BYTES) {
                let at = index * PAGE_BYTES;
                damaged.push((at, at + page.len()));
            }
        }
        Block { head, payload, table, damaged }
    }

    pub fn is_intact(&self) -> bool {
        self.damaged.is_empty()
    }

    /// The entries that can be read; whether some cannot, [`Entries::is_incomplete`] tells.
    pub fn entries(&self) -> Entries<'a, '_> {
        Entries::of(self)
    }

    /// Where the first entry begins that begins in an intact page behind the one that `at` is in.
    pub(super) fn next_entry(&self, at: usize) -> Option<usize> {
        let rows = self.table.chunks_exact(PAGE_ROW_BYTES).enumerate().skip(at / PAGE_BYTES + 1);
        let starts = rows.filter(|(_, row)| u16_at(row, 4) != NO_ENTRY);
        let mut starts = starts.map(|(index, row)| index * PAGE_BYTES + usize::from(u16_at(row, 4)));
        starts.find(|&start| start < self.payload.len() && !self.is_damaged(start, start + 1))
    }

    pub(super) fn is_damaged(&self, from: usize, to: usize) -> bool {
        self.damaged.iter().any(|&(first, end)| first < to && from < end)
    }
}
