//! What a queue wants of its store, to be asked for once its lock is released.

use std::sync::Arc;

use super::Queue;
use crate::storage::Epoch;
use crate::storage::chunk::Run;
use crate::storage::store::{LoadRequest, SpillRequest, Store};

/// Bytes that are loaded at once.
pub const LOAD_BYTES: usize = 512 * 1024;

#[derive(Default)]
pub struct Effects(Option<Box<Wanted>>);

#[derive(Default)]
struct Wanted {
    /// Positions to be loaded, first and end.
    load: Option<(u64, u64)>,
    spill: Vec<Run>,
    /// The queue is to be told when this epoch is written.
    written: Option<Epoch>,
    /// Positions, as first and end, whose spilled messages are not needed any more.
    released: Vec<(u64, u64)>,
}

impl Effects {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn wanted(&mut self) -> &mut Wanted {
        self.0.get_or_insert_default()
    }

    pub fn load(&mut self, from_seq: u64, to_seq: u64) {
        self.wanted().load = Some((from_seq, to_seq));
    }

    pub fn spill(&mut self, runs: Vec<Run>) {
        self.wanted().spill = runs;
    }

    pub fn tell_when_written(&mut self, epoch: Epoch) {
        self.wanted().written = Some(epoch);
    }

    pub fn release(&mut self, first_seq: u64, end_seq: u64) {
        self.wanted().released.push((first_seq, end_seq));
    }

    /// Asks the store. The caller holds no lock: the answer may come at once.
    pub fn carry_out(self, queue: &Arc<Queue>, store: &Store) {
        let Some(wanted) = self.0 else { return };
        for (first_seq, end_seq) in wanted.released {
            store.cold.release_spilled(queue.id, first_seq, end_seq);
        }
        if let Some(epoch) = wanted.written {
            store.log.wait_until_written(epoch, queue.clone());
        }
        if !wanted.spill.is_empty() {
            store.cold.spill(SpillRequest { queue: queue.id, runs: wanted.spill, target: queue.clone() });
        }
        if let Some((from_seq, to_seq)) = wanted.load {
            let target = queue.clone();
            store.cold.load(LoadRequest { queue: queue.id, from_seq, to_seq, max_bytes: LOAD_BYTES, target });
        }
    }
}
