//! What to do while the disk is full.
//!
//! The epoch that could not be written waits, and what comes later joins it; publishers are told that it is refused.
//! Consumers go on: what they settle of messages that are on the disk is written into room held in reserve, so that
//! files become unneeded and a disk that only this broker fills gets room again.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::committer::{CommitError, Committer};
use super::core::Core;
use super::disk::Disk;
use super::log::{Contents, Entry, Work};
use super::ranges::Ranges;
use super::{Epoch, QueueId};

/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// The file that holds room.
pub const RESERVE: &str = "reserve";

/// Holds room back, if it is not held back already.
pub fn hold_reserve(core: &Core) -> io::Result<()> {
    let disk = &*core.disk;
    if disk.list()?.iter().any(|(name, bytes)| name == RESERVE && *bytes >= core.reserve_bytes) {
        return Ok(());
    }
    release_reserve(disk);
    let file = disk.create(RESERVE)?;
    let zeros = vec![0; core.reserve_bytes.min(256 * 1024) as usize];
    let written = (0..core.reserve_bytes).step_by(zeros.len().max(1)).try_for_each(|at| file.write_all_at(&zeros, at));
    if written.is_err() {
        release_reserve(disk);
    }
    written
}

fn release_reserve(disk: &dyn Disk) {
    if let Err(error) = disk.remove(RESERVE)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot give up {}: {error}", disk.path(RESERVE));
    }
}

/// An epoch for which there was no room, with all that came later.
pub struct Refused {
    epoch: Epoch,
    contents: Contents,
}

impl Refused {
    pub fn new(core: &Core, epoch: Epoch, contents: Contents) -> Refused {
        if !core.is_full.swap(true, Ordering::Relaxed) {
            tracing::error!("the disk is full: publishes of persistent messages are refused until there is room");
        }
        release_reserve(&*core.disk);
        core.log.refuse();
        Refused { epoch, contents }
    }

    /// With which it is kept once it is written.
    #[cfg(test)]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Tries again. Returns whether everything is written now.
    pub fn try_again(&mut self, committer: &mut Committer, core: &Core) -> Result<bool, CommitError> {
        core.log.refuse();
        if let Some(Work::Write { epoch, contents, .. }) = core.log.take_now(true) {
            let relief = absorb(&mut self.contents, contents);
            match committer.relieve(std::mem::replace(&mut self.epoch, epoch), &relief) {
                Ok(()) => {}
                Err(CommitError::Full) => take_back(&mut self.contents, relief),
                Err(error) => return Err(error),
            }
        }
        if hold_reserve(core).is_err() {
            return Ok(false);
        }
        match committer.commit(self.epoch, &self.contents, true) {
            Ok(()) => {
                tracing::warn!("there is room on the disk again");
                Ok(true)
            }
            Err(CommitError::Full) => {
                release_reserve(&*core.disk);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Tries until it is written, or the store is to stop.
    pub fn wait(mut self, committer: &mut Committer, core: &Core) -> Result<(), CommitError> {
        while !self.try_again(committer, core)? {
            if core.log.is_stopping() {
                tracing::error!("the disk is full: what was not confirmed could not be written");
                return Ok(());
            }
            thread::sleep(RETRY);
        }
        Ok(())
    }
}

/// Adds what came later to what waits, and takes out what can do without: the settling of messages that are on the disk and
/// have not moved elsewhere, and queues that are gone.
fn absorb(waiting: &mut Contents, later: Contents) -> Contents {
    waiting.append(later);
    let mut relief = Contents::default();
    relief.time_ms = waiting.time_ms;
    let dropped = |entry: &Entry| if let Entry::DropQueue(id) = entry { Some(*id) } else { None };
    let gone: HashSet<QueueId> = waiting.entries.iter().filter_map(dropped).collect();
    relief.entries.extend(gone.iter().map(|&id| Entry::DropQueue(id)));
    waiting.settled.retain(|id, _| !gone.contains(&id.base()));
    waiting.moved.retain(|id, _| !gone.contains(&id.base()));
    waiting.delivered.retain(|id, _| !gone.contains(&id.base()));
    waiting.returned.retain(|id, _| !gone.contains(&id.base()));
    for entry in &mut waiting.entries {
        if let Entry::Enqueue { targets, .. } = entry {
            targets.retain(|target| !gone.contains(&target.queue.base()));
        }
    }
    let enqueued = enqueued(waiting);
    for (id, ranges) in waiting.settled.iter_mut() {
        let mut settled = Ranges::default();
        ranges.iter().for_each(|&(from, to)| settled.insert(from, to));
        if let Some(counts) = waiting.returned.get_mut(&id) {
            settled.to_vec().iter().for_each(|&(from, to)| counts.remove(from, to));
        }
        let mut on_disk = settled.clone();
        for (from, to) in enqueued.get(&id).into_iter().flat_map(Ranges::to_vec) {
            on_disk.remove(from, to);
        }
        // Where they have gone is not on the disk.
        for &(from, to) in waiting.moved.get(&id).into_iter().flatten() {
            on_disk.remove(from, to);
        }
        on_disk.to_vec().iter().for_each(|&(from, to)| settled.remove(from, to));
        *ranges = settled.to_vec();
        if !on_disk.is_empty() {
            relief.settled.insert(id, on_disk.to_vec());
        }
    }
    waiting.settled.retain(|_, ranges| !ranges.is_empty());
    relief
}

/// What could not be written on its own waits again. Queues that are gone are in what waits all along.
fn take_back(waiting: &mut Contents, relief: Contents) {
    for (id, ranges) in relief.settled {
        waiting.settled.of(id).extend(ranges);
    }
}

/// The positions that are to be enqueued.
fn enqueued(contents: &Contents) -> HashMap<QueueId, Ranges> {
    let mut enqueued: HashMap<QueueId, Ranges> = HashMap::new();
    for entry in &contents.entries {
        let Entry::Enqueue { chunk, targets } = entry else { continue };
        for target in targets {
            let end = target.first_seq + u64::from(chunk.records());
            enqueued.entry(target.queue).or_default().insert(target.first_seq, end);
        }
    }
    enqueued
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::chunk::Chunk;
    use super::super::log::{Change, SyncPolicy};
    use super::super::open::{Engine, Options, open_engine};
    use super::super::record::{append_prefix, flags};
    use super::super::sim_disk::SimDisk;
    use super::*;

    const OPTIONS: Options = Options {
        sync: SyncPolicy::Always,
        unwritten_max_bytes: 1 << 20,
        queue_resident_bytes: 0,
        journal_file_bytes: 120,
        reserve_bytes: 0,
    };

    fn define(engine: &mut Engine, key: u8, bytes: usize) -> Result<(), CommitError> {
        let log = &engine.core.log;
        log.define(vec![Change { key: vec![key], value: Some(vec![key; bytes]) }]);
        let Some(Work::Write { epoch, contents, .. }) = log.take_now(true) else {
            unreachable!("something is defined")
        };
        engine.committer.commit(epoch, &contents, true)
    }

    /// What is left of it looks like the torn end of the journal, behind which nothing was ever confirmed.
    #[test]
    fn a_write_that_found_no_room_costs_nothing_that_is_written_later() {
        let disk = SimDisk::new();
        let (mut engine, _) = open_engine(disk.clone(), OPTIONS).unwrap();
        disk.set_capacity(Some(disk.used_bytes() + 500));
        assert!(matches!(define(&mut engine, 1, 2000), Err(CommitError::Full)));
        disk.set_capacity(None);
        // The second goes into another file.
        define(&mut engine, 2, 100).unwrap();
        define(&mut engine, 3, 100).unwrap();
        let disk: Arc<SimDisk> = disk.kill();
        let (_, recovered) = open_engine(disk, OPTIONS).unwrap();
        assert_eq!(recovered.definitions.into_keys().collect::<Vec<_>>(), [[2], [3]]);
    }

    /// Not even what was settled found room on its own.
    #[test]
    fn what_was_settled_while_there_was_no_room_at_all_does_not_come_back() {
        let disk = SimDisk::new();
        let (mut engine, _) = open_engine(disk.clone(), OPTIONS).unwrap();
        let mut record = Vec::new();
        append_prefix(&mut record, flags::PERSISTENT, b"", b"q", &[0, 0], 0);
        engine.core.log.enqueue(QueueId(1), 0, None, &Chunk::of_one(record));
        define(&mut engine, 1, 200).unwrap();
        disk.set_capacity(Some(disk.used_bytes()));
        engine.core.log.settle(QueueId(1), 0, 1);
        let Some(Work::Write { epoch, contents, .. }) = engine.core.log.take_now(true) else { unreachable!() };
        let mut refused = Refused::new(&engine.core, epoch, contents);
        engine.core.log.define(vec![Change { key: vec![2], value: Some(vec![2]) }]);
        assert!(!refused.try_again(&mut engine.committer, &engine.core).unwrap());
        disk.set_capacity(None);
        assert!(refused.try_again(&mut engine.committer, &engine.core).unwrap());
        let (_, recovered) = open_engine(disk.kill(), OPTIONS).unwrap();
        assert_eq!(recovered.definitions.len(), 2);
        assert!(recovered.queues[&QueueId(1)].waiting.is_empty(), "{:?}", recovered.queues);
    }

    /// A dead letter whose copy finds no room stays where it was, although there is room to say that it has gone.
    #[test]
    fn what_has_moved_is_not_settled_before_it_is_where_it_went() {
        let disk = SimDisk::new();
        let (mut engine, _) = open_engine(disk.clone(), OPTIONS).unwrap();
        let message = |body_bytes: usize| {
            let mut record = Vec::new();
            append_prefix(&mut record, flags::PERSISTENT, b"", b"q", &[0, 0], body_bytes as u32);
            record.resize(record.len() + body_bytes, 0);
            Chunk::of_one(record)
        };
        for first_seq in 0..2 {
            engine.core.log.enqueue(QueueId(1), first_seq, None, &message(0));
        }
        define(&mut engine, 1, 200).unwrap();
        disk.set_capacity(Some(disk.used_bytes() + 500));
        engine.core.log.enqueue(QueueId(2), 0, None, &message(2000));
        engine.core.log.settle_moved(QueueId(1), 0, 1);
        let Some(Work::Write { epoch, contents, .. }) = engine.core.log.take_now(true) else { unreachable!() };
        let mut refused = Refused::new(&engine.core, epoch, contents);
        engine.core.log.settle(QueueId(1), 1, 2);
        assert!(!refused.try_again(&mut engine.committer, &engine.core).unwrap());
        let (_, recovered) = open_engine(disk.kill(), OPTIONS).unwrap();
        let waiting: Vec<_> = recovered.queues[&QueueId(1)].waiting.iter().map(|range| range.first_seq).collect();
        assert_eq!(waiting, [0], "what was acknowledged is gone, what moved is not");
    }

    /// They come back again and again while nothing can be written.
    #[test]
    fn what_waits_of_returned_messages_is_one_count_for_each_that_is_not_settled() {
        let (queue, mut waiting) = (QueueId(1), Contents::default());
        for returns in 1..100 {
            let mut later = Contents::default();
            later.returned.of(queue).set(0, 5, returns);
            later.returned.of(queue.lane(3)).set(0, 1, returns);
            absorb(&mut waiting, later);
        }
        let mut later = Contents::default();
        later.settled.of(queue).push((1, 3));
        absorb(&mut waiting, later);
        let counts = |waiting: &Contents, id| waiting.returned.get(&id).map(|counts| counts.iter().collect::<Vec<_>>());
        assert_eq!(counts(&waiting, queue), Some(vec![(0, 1, 99), (3, 5, 99)]));
        let mut later = Contents::default();
        later.entries.push(Entry::DropQueue(queue));
        absorb(&mut waiting, later);
        assert!(waiting.returned.is_empty());
    }
}
