//! What the broker sees of the disk: the log of what is to be durable, and messages that are there and not in memory.

use std::io;
use std::sync::Arc;

use super::QueueId;
use super::chunk::{Persistence, Run};
use super::disk::Disk;
use super::log::Log;
use super::open::Closer;

/// Messages of a queue that are to come back into memory.
pub struct LoadRequest {
    pub queue: QueueId,
    /// Positions from here on ...
    pub from_seq: u64,
    /// ... and before this one.
    pub to_seq: u64,
    /// About so many bytes are enough; at least one message is loaded if there is one.
    pub max_bytes: usize,
    pub target: Arc<dyn ColdTarget>,
}

/// What was found of a [`LoadRequest`].
pub struct Loaded {
    /// Whose they are: the queue, or the lane of it, that was asked for.
    pub queue: QueueId,
    pub from_seq: u64,
    /// Everything before this position and not before `from_seq` that is not in `runs` is settled, or lost.
    pub through_seq: u64,
    /// In the order of their positions, all in memory; each with its lane, its deadline and how often it was returned.
    pub runs: Vec<Run>,
}

/// Messages of a queue that are to leave memory although they are not durable.
pub struct SpillRequest {
    pub queue: QueueId,
    /// In the order of their positions, all in memory.
    pub runs: Vec<Run>,
    pub target: Arc<dyn ColdTarget>,
}

/// The queue that asked. Called without any lock, from a thread of the store.
pub trait ColdTarget: Send + Sync {
    fn loaded(self: Arc<Self>, loaded: Loaded);
    /// These of the queue, or the lane of it, can be loaded from now on; if the disk had no room, they are fewer than
    /// asked, or none.
    fn spilled(self: Arc<Self>, queue: QueueId, runs: Vec<Run>);
}

/// Messages on disk.
pub trait Cold: Send + Sync {
    /// Answers through the target, soon, exactly once.
    fn load(&self, request: LoadRequest);
    /// Reads messages of a queue here and now, about so many bytes of them; at least one if there is one. For what is read
    /// before a broker serves anybody.
    fn read(&self, queue: QueueId, from_seq: u64, to_seq: u64, max_bytes: usize) -> Loaded;
    /// Answers through the target, soon, exactly once. What is loaded again is thereby no longer spilled.
    fn spill(&self, request: SpillRequest);
    /// Spilled messages at these positions are not needed any more.
    fn release_spilled(&self, queue: QueueId, first_seq: u64, end_seq: u64);
}

/// The broker's durable half.
pub struct Store {
    pub log: Arc<Log>,
    pub cold: Box<dyn Cold>,
    /// Bytes of ready messages that a queue keeps in memory once they are on disk.
    pub queue_resident_bytes: u64,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) closer: Closer,
}

impl Store {
    /// A store over other parts, without threads and files.
    #[cfg(test)]
    pub fn over(log: Log, cold: Box<dyn Cold>, queue_resident_bytes: u64) -> Arc<Store> {
        let disk = super::sim_disk::SimDisk::new();
        Arc::new(Store { log: Arc::new(log), cold, queue_resident_bytes, disk, closer: Closer::none() })
    }

    /// A store over an engine that the test drives.
    #[cfg(test)]
    pub(super) fn of_parts(
        log: Arc<Log>,
        cold: Box<dyn Cold>,
        queue_resident_bytes: u64,
        disk: Arc<dyn Disk>,
    ) -> Arc<Store> {
        Arc::new(Store { log, cold, queue_resident_bytes, disk, closer: Closer::none() })
    }

    /// Bytes that can still be written to the disk, where it is known.
    pub fn free_bytes(&self) -> io::Result<Option<u64>> {
        self.disk.free_bytes()
    }

    /// Makes everything durable that has been added to the log, and ends the store's threads.
    pub fn close(&self) {
        self.closer.close();
    }

    /// Whether messages can be read back from the journal, so that they may leave memory without further ado.
    #[inline]
    pub fn has(&self, run: &Run) -> bool {
        Store::keeps(run) && self.log.is_written(run.epoch)
    }

    /// Whether messages are to be in the journal, all of them.
    #[inline]
    pub fn keeps(run: &Run) -> bool {
        run.epoch.is_some() && run.persistence() == Persistence::All
    }

    /// Whether it is worth while to [forget the bytes](Run::forget_bytes) of messages that were delivered.
    pub fn may_forget(&self, run: &Run) -> bool {
        const WORTH_FORGETTING_BYTES: usize = 1024;
        run.bytes() >= WORTH_FORGETTING_BYTES && run.has_bytes() && self.has(run)
    }
}

/// What was found on disk at start.
#[derive(Debug, Default)]
pub struct Recovered {
    /// All definitions, by key.
    pub definitions: std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
    /// The queues and lanes of queues that anything is known of; one without an entry is empty. Definitions of others may
    /// exist.
    pub queues: std::collections::HashMap<QueueId, RecoveredQueue>,
    /// No queue has had this id or a higher one.
    pub next_queue_id: u64,
}

/// What waits in a queue, all of it on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredQueue {
    /// No message has had this position or a higher one.
    pub next_seq: u64,
    /// Some of what waits may expire, because of a time to live of the queue or one of its own.
    pub may_expire: bool,
    /// In the order of their positions.
    pub waiting: Vec<ColdRange>,
}

/// Messages on disk: those of the positions from `first_seq` to before `end_seq` that are not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdRange {
    pub first_seq: u64,
    pub end_seq: u64,
    pub count: u64,
    /// Of their records.
    pub bytes: u64,
    /// Whether they may have been delivered before.
    pub redelivered: bool,
}

#[cfg(test)]
pub(crate) mod memory;
