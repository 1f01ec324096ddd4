//! Directories that are damaged on purpose: what `check` says of them, what `repair` leaves, and that no message is
//! ever invented.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model_testing::{Random, each_seed};
use crate::storage::chunk::{Chunk, OpenChunk, Run};
use crate::storage::log::{Change, SyncPolicy, Work};
use crate::storage::open::{Engine, Options, open_engine};
use crate::storage::record::{append_prefix, flags};
use crate::storage::sim_disk::SimDisk;
use crate::storage::store::{ColdTarget, LoadRequest, Loaded};
use crate::storage::{compaction, loader, queue_key};

const QUEUES: u64 = 3;

struct Nobody;

impl ColdTarget for Nobody {
    fn loaded(self: Arc<Self>, _: Loaded) {}
    fn spilled(self: Arc<Self>, _: QueueId, _: Vec<Run>) {}
}

fn options() -> Options {
    Options {
        sync: SyncPolicy::Always,
        unwritten_max_bytes: 1 << 20,
        queue_resident_bytes: 0,
        journal_file_bytes: 20_000,
        reserve_bytes: 0,
    }
}

/// A message is the number of its queue and its position, and so many bytes more.
fn chunk(queue: u64, first: u64, count: u64, mut more: impl FnMut() -> usize) -> Arc<Chunk> {
    let mut open = OpenChunk::default();
    for seq in first..first + count {
        let body = [&queue.to_le_bytes()[..], &seq.to_le_bytes(), &vec![seq as u8; more()]].concat();
        let mut prefix = Vec::new();
        append_prefix(&mut prefix, flags::PERSISTENT, b"", b"k", &[0, 0], body.len() as u32);
        open.push(&prefix, &body);
    }
    open.close()
}

fn open(disk: &Arc<SimDisk>) -> Result<Engine, OpenError> {
    open_engine(disk.clone(), options()).map(|(engine, _)| engine)
}

fn commit(engine: &mut Engine) {
    if let Some(Work::Write { epoch, contents, .. }) = engine.core.log.take_now(true) {
        engine.committer.commit(epoch, &contents, true).unwrap();
    }
}

fn define(engine: &Engine, id: u64) {
    engine.core.log.define(vec![Change { key: queue_key(QueueId(id)), value: Some(vec![1]) }]);
}

/// What a queue gives out, position by position; each is a message that was published there.
fn load(engine: &Engine, id: u64) -> Vec<u64> {
    let mut at = 0;
    let mut found = Vec::new();
    loop {
        let request = LoadRequest {
            queue: QueueId(id),
            from_seq: at,
            to_seq: u64::MAX,
            max_bytes: 20_000,
            target: Arc::new(Nobody),
        };
        let loaded = loader::load(&engine.core, &request);
        assert!(loaded.through_seq > at, "loading goes on");
        at = loaded.through_seq;
        for run in &loaded.runs {
            for (seq, record) in (run.first_seq..).zip(run.records()) {
                let body = record.body();
                assert_eq!(body[..8], id.to_le_bytes(), "a message is in its queue");
                assert_eq!(body[8..16], seq.to_le_bytes(), "a message is at its position");
                assert!(body[16..].iter().all(|&byte| byte == seq as u8), "a message is as it was");
                found.push(seq);
            }
        }
        if at == u64::MAX {
            assert!(found.windows(2).all(|two| two[0] < two[1]), "in order, and once");
            return found;
        }
    }
}

fn as_disk(disk: &Arc<SimDisk>) -> Arc<dyn Disk> {
    disk.clone()
}

fn no_mending(_: &BTreeMap<Vec<u8>, Vec<u8>>, _: &[QueueId], _: bool) -> Vec<Mending> {
    Vec::new()
}

fn name_of(disk: &Arc<SimDisk>, kind: &str) -> String {
    let mut names: Vec<(String, u64)> = disk.list().unwrap();
    names.retain(|(name, len)| name.ends_with(kind) && *len > 200);
    names.sort();
    names.first().expect("there is one").0.clone()
}

/// A queue of 400 messages of 100 to 200 bytes, in a journal, killed.
fn one_queue() -> Arc<SimDisk> {
    let disk = SimDisk::new();
    let mut engine = open(&disk).unwrap();
    define(&engine, 1);
    for first in (0..400).step_by(20) {
        let mut more = (0..).map(|more| 50 + more * 7 % 100);
        engine.core.log.enqueue(QueueId(1), first, None, &chunk(1, first, 20, || more.next().unwrap()));
        commit(&mut engine);
    }
    disk.kill()
}

fn damaged(disk: &Arc<SimDisk>, name: &str, damage: impl FnOnce(&mut Vec<u8>)) {
    let mut content = disk.content(name).unwrap();
    damage(&mut content);
    disk.set_content(name, content);
}

/// Checks, repairs, checks again and loads: returns how many were lost before, and what is there in the end.
fn repaired(disk: &Arc<SimDisk>) -> (u64, Vec<u64>) {
    let before = check(&as_disk(disk)).unwrap();
    let lost = before.queues.get(&QueueId(1)).map_or(0, |queue| queue.lost);
    let waiting = before.queues.get(&QueueId(1)).map_or(0, |queue| queue.messages);
    let done = repair(&as_disk(disk), &no_mending).unwrap();
    assert!(before.is_sound() || !done.given_up.is_empty());
    let after = check(&as_disk(disk)).unwrap();
    assert!(after.is_sound() && after.harmless.is_empty(), "{after:?}");
    assert_eq!(repair(&as_disk(disk), &no_mending).unwrap().given_up, [""; 0], "a second repair has nothing to do");
    let found = load(&open(&disk.kill()).unwrap(), 1);
    assert_eq!(found.len() as u64, waiting, "what check counted can be read");
    (lost, found)
}

#[test]
fn a_sound_directory_after_a_kill_has_the_exact_counts_and_stays_as_it_is() {
    let disk = one_queue();
    let changes = disk.changes();
    let report = check(&as_disk(&disk)).unwrap();
    assert!(report.is_sound() && report.torn.is_none(), "{report:?}");
    let queue = &report.queues[&QueueId(1)];
    assert_eq!((queue.messages, queue.lost), (400, 0));
    assert_eq!(disk.changes(), changes, "nothing is changed");
    assert_eq!(load(&open(&disk).unwrap(), 1).len(), 400);
}

/// Whatever byte of the journal it is, but for the few of heads and tables, which cost their block of 20 messages.
#[test]
fn a_flipped_byte_costs_no_more_than_its_block_and_the_rest_is_counted_right() {
    let whole = one_queue();
    let name = name_of(&whole, "journal");
    let length = whole.content(&name).unwrap().len();
    let last_block = length - 4000;
    for at in (32..last_block).step_by(97) {
        let disk = whole.kill();
        damaged(&disk, &name, |content| content[at] ^= 0x10);
        let (lost, found) = repaired(&disk);
        assert!(found.len() >= 360, "byte {at}: {} are left", found.len());
        assert!(lost + found.len() as u64 <= 400, "byte {at}: {lost} are said to be lost");
    }
}

/// One large entry, of records of many lengths, over many pages.
#[test]
fn a_flipped_byte_costs_the_records_of_its_page() {
    let disk = SimDisk::new();
    let mut engine = open(&disk).unwrap();
    define(&engine, 1);
    let mut more = (0..).map(|more| 50 + more * 7 % 100);
    engine.core.log.enqueue(QueueId(1), 0, None, &chunk(1, 0, 1000, || more.next().unwrap()));
    commit(&mut engine);
    engine.finish().unwrap();
    let whole = disk.kill();
    let name = name_of(&whole, "journal");
    for page in [3, 10, 20] {
        let disk = whole.kill();
        // Within a body: a page holds about 30 of them.
        damaged(&disk, &name, |content| {
            let at = (page * 4096..).find(|&at| content[at..at + 9].iter().all(|&byte| byte == content[at])).unwrap();
            content[at + 8] ^= 1;
        });
        let (lost, found) = repaired(&disk);
        assert_eq!(lost + found.len() as u64, 1000);
        assert!((1..=45).contains(&lost), "page {page}: {lost} are lost");
    }
}

/// Small entries one after another in one block: those behind the damaged page are found again.
#[test]
fn entries_behind_a_damaged_page_are_read() {
    let disk = SimDisk::new();
    let mut engine = open(&disk).unwrap();
    define(&engine, 1);
    for seq in 0..1000 {
        engine.core.log.enqueue(QueueId(1), seq, None, &chunk(1, seq, 1, || 30));
    }
    commit(&mut engine);
    engine.finish().unwrap();
    let disk = disk.kill();
    damaged(&disk, &name_of(&disk, "journal"), |content| content[20_000..20_100].fill(0xFF));
    let (lost, found) = repaired(&disk);
    assert_eq!(lost + found.len() as u64, 1000);
    assert!((1..=60).contains(&lost), "{lost} are lost");
}

#[test]
fn a_missing_segment_costs_what_is_in_it() {
    let disk = one_queue();
    let mut engine = open(&disk).unwrap();
    engine.core.log.settle(QueueId(1), 10, 30);
    commit(&mut engine);
    let first = engine.core.state().sealed_files().find(|(_, file)| file.pieces > 0).unwrap().0;
    let there: u64 = engine.core.state().index.pieces_in(QueueId(1), first).iter().map(|piece| piece.live).sum();
    compaction::compact(&engine.core, first).unwrap();
    engine.finish().unwrap();
    let disk = disk.kill();
    disk.remove(&name_of(&disk, "segment")).unwrap();
    assert!(matches!(open(&disk), Err(OpenError::Missing { .. })), "the broker does not start by itself");
    let (lost, found) = repaired(&disk);
    assert_eq!((lost, found.len() as u64), (there, 380 - there));
}

#[test]
fn a_journal_that_is_cut_behind_the_checkpoint_costs_what_was_cut() {
    let disk = one_queue();
    open(&disk).unwrap().finish().unwrap();
    let disk = disk.kill();
    damaged(&disk, &name_of(&disk, "journal"), |content| content.truncate(10_000));
    let report = check(&as_disk(&disk)).unwrap();
    assert!(!report.is_sound());
    let (lost, found) = repaired(&disk);
    assert_eq!(lost + found.len() as u64, 400);
    assert!(found.len() >= 40, "{} are left", found.len());
}

#[test]
fn a_lost_checkpoint_is_made_anew_from_the_other_files() {
    for is_removed in [false, true] {
        let disk = one_queue();
        let mut engine = open(&disk).unwrap();
        let first = engine.core.state().sealed_files().find(|(_, file)| file.pieces > 0).unwrap().0;
        compaction::compact(&engine.core, first).unwrap();
        engine.finish().unwrap();
        drop(engine);
        let disk = disk.kill();
        match is_removed {
            true => disk.remove(CHECKPOINT_FILE).unwrap(),
            false => damaged(&disk, CHECKPOINT_FILE, |content| content.fill(7)),
        }
        assert!(open(&disk).is_err(), "the broker does not begin anew");
        assert!(check(&as_disk(&disk)).unwrap().is_without_checkpoint);
        let (_, found) = repaired(&disk);
        assert_eq!(found.len(), 400);
        assert_eq!(disk.content(SET_ASIDE).is_some(), !is_removed);
    }
}

#[test]
fn what_is_no_data_directory_is_refused() {
    let disk = SimDisk::new();
    disk.set_content("notes.txt", vec![1]);
    assert!(matches!(check(&as_disk(&disk)), Err(CheckError::NoDataDirectory(_))));
    let disk = one_queue();
    let name = name_of(&disk, "journal");
    damaged(&disk, &name, |content| {
        content[8] = 9;
        let crc = crc32fast::hash(&content[..28]).to_le_bytes();
        content[28..32].copy_from_slice(&crc);
    });
    let error = check(&as_disk(&disk)).unwrap_err().to_string();
    assert!(error.contains("format version 9"), "{error}");
    assert!(repair(&as_disk(&disk), &no_mending).is_err(), "a newer version is not damage");
}

/// The files as a program wrote them that knew only version 1.
fn made_old(disk: &Arc<SimDisk>) {
    for name in disk.list().unwrap().into_iter().map(|(name, _)| name).filter(|name| FileKind::of_name(name).is_some())
    {
        damaged(disk, &name, |content| {
            content[8] = 1;
            let crc = crc32fast::hash(&content[..28]).to_le_bytes();
            content[28..32].copy_from_slice(&crc);
        });
    }
}

#[test]
fn a_directory_of_version_1_is_read_and_goes_on() {
    let disk = one_queue();
    let mut engine = open(&disk).unwrap();
    let first = engine.core.state().sealed_files().find(|(_, file)| file.pieces > 0).unwrap().0;
    compaction::compact(&engine.core, first).unwrap();
    engine.finish().unwrap();
    let disk = disk.kill();
    made_old(&disk);
    let report = check(&as_disk(&disk)).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let mut engine = open(&disk).unwrap();
    engine.core.log.enqueue(QueueId(1), 400, Some(5), &chunk(1, 400, 1, || 7));
    commit(&mut engine);
    assert_eq!(load(&open(&disk.kill()).unwrap(), 1).len(), 401);
}

#[test]
fn lanes_are_counted_under_their_queue_and_what_they_lose_is_theirs() {
    let disk = SimDisk::new();
    let mut engine = open(&disk).unwrap();
    define(&engine, 1);
    let lanes = [0, 1, 200].map(|level| QueueId(1).lane(level));
    for (first, lane) in (0..400).step_by(20).flat_map(|first| lanes.map(|lane| (first, lane))) {
        engine.core.log.enqueue(lane, first, None, &chunk(lane.0, first, 20, || 50));
        commit(&mut engine);
    }
    engine.core.log.settle(lanes[2], 0, 5);
    engine.finish().unwrap();
    let disk = disk.kill();
    let report = check(&as_disk(&disk)).unwrap();
    assert_eq!(report.queues.keys().collect::<Vec<_>>(), [&QueueId(1)]);
    assert_eq!((report.queues[&QueueId(1)].messages, report.queues[&QueueId(1)].lost), (1195, 0));
    let name = name_of(&disk, "journal");
    damaged(&disk, &name, |content| (0..5).for_each(|block| content[8_000 + block * 2_300] ^= 1));
    let before = check(&as_disk(&disk)).unwrap();
    let (messages, lost) = (before.queues[&QueueId(1)].messages, before.queues[&QueueId(1)].lost);
    assert_eq!(messages + lost, 1195);
    assert!(lost > 0 && before.damage.iter().flat_map(|damage| damage.lost.keys()).all(|id| *id == QueueId(1)));
    assert!(
        repair(&as_disk(&disk), &no_mending).unwrap().given_up.iter().any(|line| line.contains("of queue 1 are lost"))
    );
    let after = check(&as_disk(&disk)).unwrap();
    assert!(after.is_sound() && after.harmless.is_empty(), "{after:?}");
    let engine = open(&disk.kill()).unwrap();
    assert_eq!(lanes.map(|lane| load(&engine, lane.0).len() as u64).iter().sum::<u64>(), messages);
}

/// A stop while an epoch was written, and once more in the first that came next.
#[test]
fn nothing_is_taken_in_behind_a_torn_epoch_because_another_was_cut_before() {
    let mut disk = SimDisk::new();
    let mut engine = open(&disk).unwrap();
    define(&engine, 1);
    commit(&mut engine);
    for life in 0..2 {
        // Of each life nothing is synced, and the first epoch is torn.
        for key in [8, 9] {
            engine.core.log.define(vec![Change { key: vec![key, life], value: Some(vec![1; 100]) }]);
            let Some(Work::Write { epoch, contents, .. }) = engine.core.log.take_now(false) else { unreachable!() };
            engine.committer.commit(epoch, &contents, false).unwrap();
        }
        disk = disk.kill();
        let names = disk.list().unwrap().into_iter().map(|(name, _)| name);
        let last = names.filter(|name| name.ends_with("journal")).max().unwrap();
        damaged(&disk, &last, |content| {
            let block = content.windows(4).enumerate().filter(|(_, four)| *four == b"LvB1").nth_back(1).unwrap().0;
            content[block + 5] ^= 1;
        });
        let (opened, recovered) = open_engine(disk.clone(), options()).unwrap();
        assert_eq!(recovered.definitions.into_keys().collect::<Vec<_>>(), [queue_key(QueueId(1))]);
        engine = opened;
    }
}

/// A directory with journals, segments and a checkpoint, and what was published and not settled for good.
fn random_directory(random: &mut Random) -> (Arc<SimDisk>, BTreeMap<u64, BTreeSet<u64>>) {
    let mut disk = SimDisk::new();
    let lanes = (1..=QUEUES).flat_map(|id| [0, 0, 9].map(|level| QueueId(id).lane(level)));
    let mut next: BTreeMap<QueueId, u64> = lanes.map(|id| (id, 0)).collect();
    for life in 0..random.within(1..4) {
        let mut engine = open(&disk).unwrap();
        if life == 0 {
            (1..=QUEUES).for_each(|id| define(&engine, id));
        }
        for _ in 0..random.within(5..40) {
            let id = *next.keys().nth(random.below(next.len())).unwrap();
            let end = next[&id];
            match random.below(9) {
                0..4 => {
                    let (count, of_one_length) = (random.pick(&[1, 2, 20]), random.one_in(2));
                    let ttl = random.pick(&[None, None, Some(1000)]);
                    let more = || if of_one_length { 20 } else { random.below(300) };
                    engine.core.log.enqueue(id, end, ttl, &chunk(id.0, end, count, more));
                    next.insert(id, end + count);
                }
                4 if end > 0 => {
                    let first = random.below(end as usize) as u64;
                    engine.core.log.settle(id, first, (first + 1 + random.below(20) as u64).min(end));
                }
                7 if end > 0 => {
                    let first = random.below(end as usize) as u64;
                    engine.core.log.count_returns(id, first, end, random.within(1..5) as u32);
                }
                5 if random.one_in(3) => {
                    let sealed: Vec<u64> = engine.core.state().sealed_files().map(|(number, _)| number).collect();
                    if !sealed.is_empty() {
                        compaction::compact(&engine.core, random.pick(&sealed)).unwrap();
                    }
                }
                6 if random.one_in(4) => {
                    engine.janitor.checkpoint(crate::storage::janitor::Extent::SealedFiles).unwrap()
                }
                _ => commit(&mut engine),
            }
        }
        commit(&mut engine);
        disk = disk.kill();
    }
    let published = next.into_iter().map(|(id, end)| (id.0, (0..end).collect())).collect();
    (disk, published)
}

fn damage_some_file(disk: &Arc<SimDisk>, random: &mut Random) {
    let mut names: Vec<String> = disk.list().unwrap().into_iter().map(|(name, _)| name).collect();
    names.sort();
    let name = random.pick(&names);
    let other = disk.content(&random.pick(&names)).unwrap();
    let kind = random.below(8);
    if kind == 0 {
        return disk.remove(&name).unwrap();
    }
    damaged(disk, &name, |content| {
        let at = random.below(content.len() + 1);
        let end = (at + random.pick(&[1, 8, 100, 5000])).min(content.len());
        match kind {
            1 => content.truncate(at),
            2 => content.clear(),
            3 => *content = other,
            4 => content[at..end].fill(0),
            5 => content.extend((0..random.below(3000)).map(|_| random.next() as u8)),
            6 if content.len() < 100_000 => content.iter_mut().for_each(|byte| *byte = random.next() as u8),
            _ => content[at..end].iter_mut().for_each(|byte| *byte = random.next() as u8),
        }
    });
}

fn assert_published(engine: &Engine, published: &BTreeMap<u64, BTreeSet<u64>>) {
    for (&id, all) in published {
        let found = load(engine, id);
        assert!(found.iter().all(|seq| all.contains(seq)), "queue {id}: nothing is invented");
    }
}

fn fuzz(seed: u64) {
    let random = &mut Random::new(seed);
    let (disk, published) = random_directory(random);
    for _ in 0..random.within(1..4) {
        damage_some_file(&disk, random);
    }
    let checked = check(&as_disk(&disk));
    if let Ok(engine) = open(&disk.kill()) {
        assert_published(&engine, &published);
    }
    let Ok(before) = checked else {
        return assert!(disk.content(CHECKPOINT_FILE).is_none() || repair(&as_disk(&disk), &no_mending).is_err());
    };
    repair(&as_disk(&disk), &no_mending).unwrap();
    let after = check(&as_disk(&disk)).unwrap();
    assert!(after.is_sound() && after.harmless.is_empty(), "{after:?}\nbefore: {before:?}");
    let engine = open(&disk.kill()).unwrap();
    assert_published(&engine, &published);
    for (id, queue) in &before.queues {
        let lanes = published.keys().filter(|lane| QueueId(**lane).base() == *id);
        let found: usize = lanes.map(|&lane| load(&engine, lane).len()).sum();
        assert_eq!(found as u64, queue.messages, "what check counted is there: {id:?} {before:?}");
    }
}

/// `LEVERET_SEEDS=FIRST..END` runs others.
#[test]
fn no_damage_invents_a_message_or_stops_a_repair() {
    each_seed("no_damage_invents", 0..300, fuzz);
}
