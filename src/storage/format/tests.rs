//! Whatever bytes lie behind valid checksums: no panic, and nothing larger than the bytes themselves.

use super::block::PAGE_BYTES;
use super::*;
use crate::model_testing::{Random, each_seed};
use crate::storage::Epoch;
use crate::storage::disk::MemoryFile;
use crate::storage::index::QueueIndex;

/// Bytes that look like entries: known kinds, small and huge numbers.
fn payload(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..random.within(1..60) {
        match random.below(4) {
            0 => out.push(random.below(10) as u8),
            1 => push_number(&mut out, random.below(40) as u64),
            2 => push_number(&mut out, u64::MAX >> random.below(64)),
            _ => out.extend((0..random.below(300)).map(|_| random.next() as u8)),
        }
    }
    out
}

/// A block with a table that claims anything.
fn block(payload: &[u8], random: &mut Random, at: BlockPlace) -> Vec<u8> {
    let mut table = Vec::new();
    for page in payload.chunks(PAGE_BYTES) {
        table.extend((crc32fast::hash(page) ^ u32::from(random.one_in(4))).to_le_bytes());
        table.extend((random.next() as u16).to_le_bytes());
    }
    let mut head = BlockHead::new(Epoch(random.next()), Epoch::NONE, 0, true);
    (head.payload_bytes, head.table_crc) = (payload.len(), crc32fast::hash(&table));
    [&head.encode(at)[..], payload, &table].concat()
}

fn scan(seed: u64) {
    let random = &mut Random::new(seed);
    let mut content = file_head(FileKind::Journal, 7).to_vec();
    for _ in 0..random.within(1..4) {
        let at = BlockPlace { file: 7, offset: content.len() as u64 };
        let mut payload = payload(random);
        payload.resize(payload.len() + random.pick(&[0, 5000]), 0);
        content.extend(block(&payload, random, at));
    }
    let (length, file) = (content.len() as u64, MemoryFile::new(content));
    let mut scanner = Scanner::new(&file, 7, FILE_HEAD_BYTES, length);
    let mut blocks = 0;
    while scanner.next_block().unwrap().is_some() {
        let Some(block) = scanner.block() else { continue };
        blocks += 1;
        for entry in block.entries() {
            let EntryView::Enqueue(enqueue) = entry else { continue };
            let intact = enqueue.intact();
            assert!(intact.iter().map(|records| records.count).sum::<u64>() <= enqueue.records);
            assert!(intact.iter().map(|records| records.bytes.len()).sum::<usize>() <= enqueue.bytes.len());
        }
    }
    assert!(blocks > 0);
    let row = payload(random);
    let _ = QueueIndex::without_files(&row, |_| false);
}

#[test]
fn any_bytes_behind_valid_checksums_are_read_without_harm() {
    each_seed("any_bytes_behind_valid_checksums", 0..3000, scan);
}
