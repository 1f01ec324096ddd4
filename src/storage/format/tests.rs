//! Whatever bytes lie behind valid checksums: no panic, and nothing larger than the bytes themselves.

use super::block::PAGE_BYTES;
use super::*;
use crate::model_testing::{Random, each_seed};
use crate::storage::disk::MemoryFile;
use crate::storage::index::QueueIndex;
use crate::storage::{Epoch, QueueId};

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

fn enqueue(targets: &[Target]) -> Enqueue<'static> {
    let targets = targets.iter().copied().collect();
    Enqueue { targets, time_ms: 1000, records: 1, stride: 0, bytes: &[0; 12], damaged: Default::default() }
}

fn target(id: u64, first_seq: u64, ttl_ms: Option<u64>) -> Target {
    Target { queue: QueueId(id), first_seq, ttl_ms }
}

/// As programs wrote and read it that knew nothing of times to live.
#[test]
fn an_entry_without_a_time_to_live_is_as_it_ever_was() {
    let mut out = Vec::new();
    push_enqueue(&mut out, &enqueue(&[target(7, 300, None), target(8, 0, None)]));
    let head = [2, 2, 7, 0xAC, 2, 8, 0, 0xE8, 7, 1, 0, 12];
    assert_eq!(out, [&head[..], &[0; 12]].concat());
}

#[test]
fn times_to_live_and_returns_are_read_as_they_were_written() {
    let targets = [target(7, 300, None), target(8, 0, Some(0)), target(u64::MAX, 1, Some(1 << 40))];
    let counts = [(3, 5, 1), (5, 6, u32::MAX), (900, 1000, 2)];
    let mut out = Vec::new();
    let start = begin_block(&mut out);
    push_enqueue(&mut out, &enqueue(&targets));
    push_returns(&mut out, QueueId(9), &counts);
    push_deliver(&mut out, QueueId(9), 4);
    end_block(&mut out, start, BlockPlace { file: 7, offset: 0 }, BlockHead::new(Epoch(1), Epoch::NONE, 0, true));
    let (length, file) = (out.len() as u64, MemoryFile::new(out));
    let mut scanner = Scanner::new(&file, 7, 0, length);
    scanner.next_block().unwrap();
    let block = scanner.block().unwrap();
    let mut entries = block.entries();
    let Some(EntryView::Enqueue(found)) = entries.next() else { panic!() };
    assert_eq!((found.targets.as_slice(), found.time_ms, found.bytes), (&targets[..], 1000, &[0; 12][..]));
    let Some(EntryView::Returns(QueueId(9), found)) = entries.next() else { panic!() };
    assert_eq!(found, counts);
    assert!(matches!(entries.next(), Some(EntryView::Deliver(QueueId(9), 4))));
    assert!(entries.next().is_none() && !entries.is_incomplete());
}

#[test]
fn heads_of_older_versions_are_known_and_those_of_newer_ones_refused() {
    let check = |head: &[u8]| check_file_head(&MemoryFile::new(head.to_vec()), FileKind::Journal, 7).unwrap();
    for version in OLDEST_VERSION..=VERSION {
        assert_eq!(check(&head_of_version(version, FileKind::Journal, 7)), Ok(()));
        assert_eq!(check(&head_of_version(version, FileKind::Journal, 8)), Err(HeadError::Damaged));
    }
    for version in [0, VERSION + 1] {
        assert_eq!(check(&head_of_version(version, FileKind::Journal, 7)), Err(HeadError::Version(version)));
    }
}
