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
pub mod disk;
pub mod format;
mod full;
pub mod index;
mod janitor;
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

/// Identifies a queue for the life of the broker's data; a name may be deleted and declared again, an id never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

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
