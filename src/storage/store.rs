//! What the broker sees of the disk: the log of what is to be durable, and messages that are there and not in memory.

use std::sync::Arc;

use super::QueueId;
use super::chunk::Run;
use super::log::Log;

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
    pub from_seq: u64,
    /// Everything before this position and not before `from_seq` that is not in `runs` is settled, or lost.
    pub through_seq: u64,
    /// In the order of their positions, all in memory.
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
    /// These can be loaded from now on; if the disk had no room, they are fewer than asked, or none.
    fn spilled(self: Arc<Self>, runs: Vec<Run>);
}

/// Messages on disk.
pub trait Cold: Send + Sync {
    /// Answers through the target, soon, exactly once.
    fn load(&self, request: LoadRequest);
    /// Answers through the target, soon, exactly once. What is loaded again is thereby no longer spilled.
    fn spill(&self, request: SpillRequest);
    /// Spilled messages at these positions are not needed any more.
    fn release_spilled(&self, queue: QueueId, first_seq: u64, end_seq: u64);
}

/// The broker's durable half.
pub struct Store {
    pub log: Log,
    pub cold: Box<dyn Cold>,
    /// Bytes of ready messages that a queue keeps in memory once they are on disk.
    pub queue_resident_bytes: u64,
}
