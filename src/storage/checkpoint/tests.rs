//! Checkpoints over a disk that crashes, fails, fills up and rots.

use std::io::ErrorKind;

use super::*;
use crate::model_testing::Random;
use crate::storage::disk::StdDisk;
use crate::storage::sim_disk::{Operation, SimDisk};

fn open(disk: &Arc<SimDisk>) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(&(disk.clone() as Arc<dyn Disk>))
}

fn read(disk: &Arc<SimDisk>) -> Result<Contents, CheckpointError> {
    open(disk)?.read()
}

/// Changes some rows, of which some are there already, and all numbers.
fn update(random: &mut Random, epoch: u64) -> Update {
    let value = |random: &mut Random| {
        let most = if random.one_in(10) { 9000 } else { 200 };
        let bytes = random.below(most);
        (!random.one_in(3)).then(|| (0..bytes).map(|_| random.next() as u8).collect())
    };
    let mut numbers = Numbers { epoch, ..Numbers::default() };
    for (_, number) in numbers.rows().into_iter().skip(1) {
        *number = random.next();
    }
    let definitions = (0..random.below(10)).map(|_| (vec![random.below(20) as u8; 5], value(random))).collect();
    let queues = (0..random.below(40)).map(|_| (random.below(60) as u64, value(random))).collect();
    Update { numbers, definitions, queues }
}

fn apply(contents: &Contents, update: &Update) -> Contents {
    let mut after = Contents { numbers: update.numbers, ..contents.clone() };
    for (key, value) in update.definitions.clone() {
        after.definitions.remove(&key);
        after.definitions.extend(value.map(|value| (key, value)));
    }
    for (id, value) in update.queues.clone() {
        after.queues.remove(&id);
        after.queues.extend(value.map(|value| (id, value)));
    }
    after
}

/// Updates, and what the checkpoint says before the first and after each.
fn series(random: &mut Random, length: u64) -> (Vec<Update>, Vec<Contents>) {
    let updates: Vec<Update> = (1..=length).map(|epoch| update(random, epoch)).collect();
    let mut states = vec![Contents::default()];
    for update in &updates {
        states.push(apply(states.last().unwrap(), update));
    }
    (updates, states)
}

/// A disk with a checkpoint after these updates, still open.
fn written(updates: &[Update]) -> (Arc<SimDisk>, Checkpoint) {
    let disk = SimDisk::new();
    let mut checkpoint = open(&disk).unwrap();
    for update in updates {
        checkpoint.write(update).unwrap();
    }
    (disk, checkpoint)
}

#[test]
fn a_new_one_says_nothing_and_is_there_after_a_crash() {
    let disk = SimDisk::new();
    assert_eq!(read(&disk).unwrap(), Contents::default());
    let crashed = disk.crash(&mut Random::new(1));
    assert_eq!(crashed.list().unwrap().len(), 1);
    assert_eq!(read(&crashed).unwrap(), Contents::default());
}

#[test]
fn says_what_was_written_last() {
    for seed in 0..20 {
        let (updates, states) = series(&mut Random::new(seed), 8);
        let disk = SimDisk::new();
        let mut checkpoint = open(&disk).unwrap();
        for (update, state) in updates.iter().zip(&states[1..]) {
            checkpoint.write(update).unwrap();
            assert_eq!(checkpoint.read().unwrap(), *state);
        }
        assert_eq!(read(&disk.kill()).unwrap(), states[8], "after a kill");
        drop(checkpoint);
        assert_eq!(read(&disk).unwrap(), states[8], "after it was closed");
    }
}

/// Writes until the disk stops; how many writes succeeded, or `None` if it could not even be opened.
fn write_all(disk: &Arc<SimDisk>, updates: &[Update]) -> Option<usize> {
    let mut checkpoint = open(disk).ok()?;
    Some(updates.iter().take_while(|update| checkpoint.write(update).is_ok()).count())
}

#[test]
fn a_crash_at_any_operation_leaves_the_state_before_or_after() {
    let (updates, states) = series(&mut Random::new(3), 4);
    for n in 0.. {
        let disk = SimDisk::new();
        disk.stop_after(n);
        let done = write_all(&disk, &updates);
        for seed in 0..3 {
            let crashed = disk.crash(&mut Random::new(seed << 32 | n));
            let found = read(&crashed).unwrap_or_else(|error| panic!("crash after {n}, seed {seed}: {error}"));
            let allowed = &states[done.unwrap_or(0)..states.len().min(done.map_or(1, |done| done + 2))];
            assert!(allowed.contains(&found), "crash after {n}, seed {seed}: {:?}", found.numbers);
        }
        if !disk.is_stopped() {
            assert_eq!(done, Some(4));
            return;
        }
    }
}

/// What a process finds was perhaps never synced by the one that was killed before it.
#[test]
fn what_is_read_after_a_kill_is_there_after_a_crash() {
    let (updates, states) = series(&mut Random::new(4), 2);
    for n in 0.. {
        let disk = SimDisk::new();
        disk.stop_after(n);
        write_all(&disk, &updates[..1]);
        for seed in 0..6 {
            let killed = disk.kill();
            let mut checkpoint = open(&killed).unwrap();
            let found = checkpoint.read().unwrap();
            assert!(states[..2].contains(&found), "kill after {n}");
            let random = &mut Random::new(seed << 32 | n);
            assert_eq!(read(&killed.crash(random)).unwrap(), found, "kill after {n}, seed {seed}");
            checkpoint.write(&updates[1]).unwrap();
            let after = apply(&found, &updates[1]);
            assert_eq!(read(&killed.crash(random)).unwrap(), after, "kill after {n}, seed {seed}");
        }
        if !disk.is_stopped() {
            return;
        }
    }
}

/// As above, over a file that has a history, with a process that comes back each time.
#[test]
fn crashes_one_after_another_lose_nothing_that_was_written() {
    for seed in 0..25 {
        let random = &mut Random::new(seed);
        let mut disk = SimDisk::new();
        let mut expected = vec![Contents::default()];
        for epoch in 1..9 {
            disk.stop_after(random.below(60) as u64);
            if let Ok(mut checkpoint) = open(&disk) {
                let update = update(random, epoch);
                let after = apply(&checkpoint.read().unwrap(), &update);
                match checkpoint.write(&update) {
                    Ok(()) => expected = vec![after],
                    Err(_) => expected.push(after),
                }
            }
            disk = if random.one_in(2) { disk.crash(random) } else { disk.kill() };
            let found = read(&disk).unwrap_or_else(|error| panic!("seed {seed}, epoch {epoch}: {error}"));
            assert!(expected.contains(&found), "seed {seed}, epoch {epoch}: {:?}", found.numbers);
            expected = vec![found];
        }
    }
}

#[test]
fn works_over_files_of_the_system() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(StdDisk::open(directory.path()).unwrap());
    let (updates, states) = series(&mut Random::new(9), 3);
    let mut checkpoint = Checkpoint::open(&disk).unwrap();
    for update in &updates {
        checkpoint.write(update).unwrap();
    }
    drop(checkpoint);
    assert_eq!(Checkpoint::open(&disk).unwrap().read().unwrap(), states[3]);
}

#[test]
fn without_room_none_is_made_and_with_room_one_is() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(1000));
    assert!(matches!(open(&disk), Err(CheckpointError::Full { .. })));
    disk.set_capacity(None);
    assert_eq!(read(&disk).unwrap(), Contents::default());
}

#[test]
fn an_unfinished_file_of_a_crash_does_not_matter() {
    let disk = SimDisk::new();
    disk.set_content(UNFINISHED_FILE, b"half a database".to_vec());
    assert_eq!(read(&disk).unwrap(), Contents::default());
    assert_eq!(disk.content(UNFINISHED_FILE), None);
}

#[test]
fn a_full_disk_keeps_the_old_state_and_later_writes_succeed() {
    let (updates, states) = series(&mut Random::new(5), 2);
    let (disk, mut checkpoint) = written(&updates[..1]);
    disk.set_content("something else", vec![0; 1000]);
    let mut large = updates[1].clone();
    large.queues.insert(99, Some(vec![7; 8 << 20]));
    disk.set_capacity(Some(disk.used_bytes() + 100));
    for _ in 0..3 {
        let error = checkpoint.write(&large).unwrap_err();
        assert!(matches!(&error, CheckpointError::Full { path } if path == "/simulated/checkpoint"), "{error}");
        assert_eq!(checkpoint.read().unwrap(), states[1]);
        assert_eq!(read(&disk.kill()).unwrap(), states[1], "a broker can start on a full disk");
    }
    disk.set_capacity(None);
    checkpoint.write(&large).unwrap();
    let expected = apply(&states[1], &large);
    assert_eq!(checkpoint.read().unwrap(), expected);
    drop(checkpoint);
    assert_eq!(read(&disk.crash(&mut Random::new(1))).unwrap(), expected);
}

/// Whatever operation fails, and with whatever error, the one after it succeeds.
#[test]
fn any_single_failure_is_reported_and_overcome() {
    let (updates, states) = series(&mut Random::new(6), 2);
    for operation in [Operation::Write, Operation::Sync, Operation::SetLen, Operation::Read, Operation::Len] {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            for nth in 1.. {
                let (disk, mut checkpoint) = written(&updates[..1]);
                disk.fail(operation, nth, kind);
                let Err(error) = checkpoint.write(&updates[1]) else { break };
                let is_full = matches!(error, CheckpointError::Full { .. });
                assert_eq!(is_full, kind == ErrorKind::StorageFull, "{operation:?} {nth}: {error}");
                let found = checkpoint.read().unwrap();
                assert!(states[1..].contains(&found), "{operation:?} {nth}");
                checkpoint.write(&updates[1]).unwrap();
                assert_eq!(checkpoint.read().unwrap(), states[2], "{operation:?} {nth}");
                assert_eq!(read(&disk.crash(&mut Random::new(nth))).unwrap(), states[2], "{operation:?} {nth}");
            }
        }
    }
}

/// Some bytes are not what they were: single ones, blocks, or blocks that are somewhere else, or the file is cut.
fn rot(content: &mut Vec<u8>, random: &mut Random) {
    let length = content.len();
    // The parts in which everything begins are hit as often as all the others.
    let within = if random.one_in(2) { length } else { random.pick(&[16, 320, 16384, 65536]).min(length) };
    let at = random.below(within);
    let block = at / 4096 * 4096;
    match random.below(7) {
        0 => content[at] ^= 1 << random.below(8),
        1 => content[at] = random.next() as u8,
        2 => content[at..].iter_mut().take(64).for_each(|byte| *byte = random.next() as u8),
        3 => content[block..].iter_mut().take(4096).for_each(|byte| *byte = 0),
        4 => content.copy_within(block..(block + 4096).min(length), random.below(length / 4096) * 4096),
        5 => content.truncate(at),
        _ => {
            let longer = length + random.below(10000);
            content.resize(longer, random.next() as u8);
        }
    }
}

/// The last state but one is what a header that was damaged may lead to: the same as if the last write was never
/// finished, and the journal that follows on it tells.
#[test]
fn a_damaged_file_is_an_error_or_still_says_what_it_said() {
    let (updates, states) = series(&mut Random::new(8), 6);
    let (disk, checkpoint) = written(&updates);
    let killed = disk.content(CHECKPOINT_FILE).unwrap();
    drop(checkpoint);
    let closed = disk.content(CHECKPOINT_FILE).unwrap();
    let mut refused = 0;
    for seed in 0..600 {
        let random = &mut Random::new(seed);
        let mut content = random.pick(&[&killed, &closed]).clone();
        for _ in 0..random.within(1..4) {
            if content.len() > 8192 {
                rot(&mut content, random);
            }
        }
        let disk = SimDisk::new();
        disk.set_content(CHECKPOINT_FILE, content);
        match read(&disk) {
            Ok(found) => assert!(states[5..].contains(&found), "seed {seed}: {:?}", found.numbers),
            Err(CheckpointError::Damaged { path, .. }) => {
                refused += 1;
                assert_eq!(path, "/simulated/checkpoint");
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn what_is_no_checkpoint_is_refused_with_its_path() {
    for content in [vec![], b"x".to_vec(), vec![0; 4096], vec![0; 1 << 20], b"redb\x1A\x0A\xA9\x0D\x0A".to_vec()] {
        let disk = SimDisk::new();
        disk.set_content(CHECKPOINT_FILE, content.clone());
        let error = read(&disk).unwrap_err().to_string();
        assert!(error.starts_with("/simulated/checkpoint is damaged (") && error.contains("restore"), "{error}");
        assert_eq!(disk.content(CHECKPOINT_FILE).unwrap(), content, "and left as it is");
    }
}

#[test]
fn an_older_format_is_read_and_becomes_the_newest_when_it_is_written() {
    let (updates, states) = series(&mut Random::new(9), 2);
    let (disk, checkpoint) = written(&updates[..1]);
    let transaction = checkpoint.database.as_ref().unwrap().begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", OLDEST_FORMAT).unwrap();
    transaction.commit().unwrap();
    drop(checkpoint);
    let as_disk: Arc<dyn Disk> = disk.clone();
    let mut checkpoint = Checkpoint::open(&as_disk).unwrap();
    assert_eq!(checkpoint.read().unwrap(), states[1]);
    checkpoint.write(&updates[1]).unwrap();
    let transaction = checkpoint.database.as_ref().unwrap().begin_read().unwrap();
    let format = transaction.open_table(META).unwrap().get("format").unwrap().unwrap().value();
    assert_eq!((format, checkpoint.read().unwrap()), (FORMAT, states[2].clone()));
}

#[test]
fn an_unknown_format_is_refused_with_what_to_do() {
    let (disk, checkpoint) = written(&[]);
    let transaction = checkpoint.database.as_ref().unwrap().begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", FORMAT + 6).unwrap();
    transaction.commit().unwrap();
    drop(checkpoint);
    let error = read(&disk).unwrap_err().to_string();
    assert!(error.starts_with("/simulated/checkpoint has format 8"), "{error}");
    assert!(error.contains("start the version that wrote it"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_error() {
    let (disk, checkpoint) = written(&[]);
    drop(checkpoint);
    disk.fail_always(Operation::Read, ErrorKind::PermissionDenied);
    let error = read(&disk).unwrap_err();
    assert!(matches!(&error, CheckpointError::Io { error, .. } if error.kind() == ErrorKind::PermissionDenied));
    assert!(error.to_string().starts_with("cannot use /simulated/checkpoint: permission denied"), "{error}");
}
