//! Messages as bytes, in memory and on disk: one layout in both, and in a replication log.
//!
//! [`store::Store`] is what the broker sees. Everything durable goes through its [`log`](log::Log), epoch by epoch,
//! into the journal; docs/storage-format.md draws the files.

pub mod check;
pub mod checkpoint;
pub mod chunk;
mod committer;
mod compaction;
mod core;
pub mod counts;
pub mod disk;
pub mod format;
mod full;
pub mod index;
mod janitor;
pub mod lanes;
mod loader;
pub mod lock;
pub mod log;
pub mod open;
pub mod ranges;
pub mod record;
pub mod recovery;
#[cfg(test)]
pub(crate) mod sim_disk;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod stepped;
pub mod store;

use std::cmp::Ordering;

/// Identifies a queue for the life of the broker's data; a name may be deleted and declared again, an id never.
///
/// A queue with levels of priority has positions of its own for each: its **lanes**, whose ids have the level in their
/// highest byte. Level 0 is the queue itself. The order of ids has the lanes of a queue together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueId(pub u64);

impl QueueId {
    const LEVEL_SHIFT: u32 = 56;

    /// The id of a level of this queue.
    #[must_use]
    pub const fn lane(self, level: u8) -> QueueId {
        QueueId(self.base().0 | (level as u64) << Self::LEVEL_SHIFT)
    }

    /// The queue of which this is a lane, or the same.
    #[must_use]
    pub const fn base(self) -> QueueId {
        QueueId(self.0 & ((1 << Self::LEVEL_SHIFT) - 1))
    }

    /// The level whose lane this is.
    pub const fn level(self) -> u8 {
        (self.0 >> Self::LEVEL_SHIFT) as u8
    }
}

impl Ord for QueueId {
    fn cmp(&self, other: &QueueId) -> Ordering {
        (self.base().0, self.level()).cmp(&(other.base().0, other.level()))
    }
}

impl PartialOrd for QueueId {
    fn partial_cmp(&self, other: &QueueId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By how a queue is called in messages to people: its lanes are nothing they know.
impl std::fmt::Display for QueueId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.base().0)
    }
}

/// Numbers what is written and synced in one go. Grows by one from epoch to epoch for the life of the broker's data,
/// restarts included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Not in any epoch: there is nothing to wait for.
    pub const NONE: Epoch = Epoch(0);

    pub fn is_some(self) -> bool {
        self != Epoch::NONE
    }
}

/// What the key of a queue's definition begins with.
const QUEUE_KEY: u8 = 4;

/// The key of a queue's definition. The store knows it because the end of a queue, which its messages share, deletes it.
pub fn queue_key(queue: QueueId) -> Vec<u8> {
    [&[QUEUE_KEY][..], &queue.0.to_be_bytes()].concat()
}

/// The queue whose definition has this key, if it is such a key.
pub fn queue_of_key(key: &[u8]) -> Option<QueueId> {
    let id = key.strip_prefix(&[QUEUE_KEY])?.try_into().ok()?;
    Some(QueueId(u64::from_be_bytes(id)))
}
