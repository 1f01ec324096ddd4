//! A store that tests look into: what is logged goes into a map of rows, as a disk would have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::definitions::queue_key;
use crate::storage::log::{Entry, Log, SyncPolicy, Work};
use crate::storage::store::{Cold, LoadRequest, Loaded, Recovered, SpillRequest, Store};
use crate::storage::{Epoch, QueueId};

pub struct Rows {
    pub store: Arc<Store>,
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Rows {
    pub fn new() -> Rows {
        let log = Log::new(Epoch::NONE, SyncPolicy::Always, usize::MAX);
        // So that there never is anything to wait for.
        log.stop();
        let store = Store::over(log, Box::new(NoCold), u64::MAX);
        Rows { store, rows: BTreeMap::new() }
    }

    /// Takes what has been logged since the last time, and applies it.
    pub fn take(&mut self) -> Vec<Entry> {
        let mut taken = Vec::new();
        while let Work::Write { epoch, contents, .. } = self.store.log.next_work() {
            self.store.log.written(epoch, &contents);
            self.store.log.synced(epoch);
            taken.extend(contents.entries);
        }
        taken.iter().for_each(|entry| self.apply(entry));
        taken
    }

    fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Define(changes) => {
                for change in changes {
                    match &change.value {
                        Some(value) => _ = self.rows.insert(change.key.clone(), value.clone()),
                        None => {
                            assert!(self.rows.remove(&change.key).is_some(), "only rows that are there are deleted")
                        }
                    }
                }
            }
            Entry::DropQueue(id) => _ = self.rows.remove(&queue_key(*id)),
            Entry::Enqueue { .. } => {}
        }
    }

    /// What a store would find after a restart.
    pub fn recovered(&self) -> Recovered {
        Recovered { definitions: self.rows.clone(), ..Recovered::default() }
    }
}

struct NoCold;

impl Cold for NoCold {
    fn load(&self, _request: LoadRequest) {
        unreachable!("nothing is on disk");
    }

    fn read(&self, _: QueueId, _: u64, _: u64, _: usize) -> Loaded {
        unreachable!("nothing is on disk");
    }

    fn spill(&self, request: SpillRequest) {
        request.target.spilled(request.queue, Vec::new());
    }

    fn release_spilled(&self, _queue: QueueId, _first_seq: u64, _end_seq: u64) {}
}
