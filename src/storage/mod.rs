//! Messages as bytes, in memory and on disk: one layout in both, and in a replication log.
//!
//! [`store::Store`] is what the broker sees. Everything durable goes through its [`log`](log::Log), epoch by epoch,
//! into the journal; docs/storage-format.md draws the files.

pub mod chunk;
pub mod disk;
pub mod log;
pub mod record;
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
