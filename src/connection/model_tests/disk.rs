//! A disk that does one step at a time, when the test says so.

use std::sync::Arc;

use crate::storage::log::{Contents, Log, SyncPolicy, Waiter, Work};
use crate::storage::store::{Cold, LoadRequest, Loaded, SpillRequest, Store};
use crate::storage::{Epoch, QueueId};

/// Waits so that nothing rests.
struct Nobody;

impl Waiter for Nobody {
    fn notify(self: Arc<Self>) {}
}

/// All is in memory.
struct NothingCold;

impl Cold for NothingCold {
    fn load(&self, _: LoadRequest) {
        unreachable!("nothing leaves memory")
    }

    fn read(&self, _: QueueId, _: u64, _: u64, _: usize) -> Loaded {
        unreachable!("nothing leaves memory")
    }

    fn spill(&self, _: SpillRequest) {
        unreachable!("nothing leaves memory")
    }

    fn release_spilled(&self, _: QueueId, _: u64, _: u64) {
        unreachable!("nothing leaves memory")
    }
}

/// A disk that does one step at a time.
pub struct Disk(pub Arc<Store>);

impl Disk {
    /// Publishers are to pause while so many bytes wait to be written.
    pub fn new(unwritten_max_bytes: usize) -> Disk {
        let log = Log::new(Epoch::NONE, SyncPolicy::Always, unwritten_max_bytes);
        Disk(Store::over(log, Box::new(NothingCold), u64::MAX))
    }

    /// The epoch that has been filled, of which there must be one.
    pub fn take(&self) -> (Epoch, Contents) {
        loop {
            match self.0.log.next_work() {
                Work::Write { epoch, contents, .. } => return (epoch, contents),
                Work::Sync => {}
                Work::Stop => unreachable!("nobody stops it"),
            }
        }
    }

    pub fn write(&self, (epoch, contents): &(Epoch, Contents)) {
        self.0.log.written(*epoch, contents);
    }

    pub fn keep(&self, taken: &(Epoch, Contents)) {
        self.write(taken);
        self.0.log.synced(taken.0);
    }

    pub fn refuse(&self) -> (Epoch, Contents) {
        let taken = self.take();
        self.0.log.refused(taken.0);
        taken
    }

    /// The epoch that is being filled, at once and even if there is nothing in it.
    pub fn take_now(&self) -> (Epoch, Contents) {
        let epoch = self.0.log.define(Vec::new());
        self.0.log.wait_until_settled(epoch, Arc::new(Nobody));
        self.take()
    }

    /// Keeps all that there is.
    pub fn keep_all(&self) -> Contents {
        let taken = self.take_now();
        self.keep(&taken);
        taken.1
    }
}
