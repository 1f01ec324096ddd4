//! What a queue wants of its store and of the worker, to be asked for once its lock is released.

use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use super::Queue;
use crate::broker::worker::Worker;
use crate::storage::Epoch;
use crate::storage::chunk::Run;
use crate::storage::store::{LoadRequest, SpillRequest, Store};

/// Bytes that are loaded at once.
pub const LOAD_BYTES: usize = 512 * 1024;

#[derive(Default)]
pub struct Effects(Option<Box<Wanted>>);

#[derive(Default)]
struct Wanted {
    /// Levels, and the positions to be loaded there, first and end.
    load: SmallVec<[(u8, u64, u64); 1]>,
    /// Levels, and what of them is to be spilled.
    spill: Vec<(u8, Vec<Run>)>,
    /// The queue is to be told when this epoch is written.
    written: Option<Epoch>,
    /// Levels and positions, as first and end, whose spilled messages are not needed any more.
    released: Vec<(u8, u64, u64)>,
    /// When the queue is to be attended to, and instead of when; 0 if it was not to be.
    timer_ms: Option<(u64, u64)>,
    /// It is to be attended to soon.
    attend: bool,
}

impl Effects {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn wanted(&mut self) -> &mut Wanted {
        self.0.get_or_insert_default()
    }

    pub fn load(&mut self, level: u8, from_seq: u64, to_seq: u64) {
        self.wanted().load.push((level, from_seq, to_seq));
    }

    pub fn spill(&mut self, level: u8, runs: Vec<Run>) {
        self.wanted().spill.push((level, runs));
    }

    pub fn attend_at(&mut self, due_ms: u64, instead_of_ms: u64) {
        let wanted = self.wanted();
        let instead_of_ms = wanted.timer_ms.map_or(instead_of_ms, |(_, registered_ms)| registered_ms);
        wanted.timer_ms = Some((due_ms, instead_of_ms));
    }

    pub fn attend_soon(&mut self) {
        self.wanted().attend = true;
    }

    pub fn tell_when_written(&mut self, epoch: Epoch) {
        self.wanted().written = Some(epoch);
    }

    pub fn release(&mut self, level: u8, first_seq: u64, end_seq: u64) {
        self.wanted().released.push((level, first_seq, end_seq));
    }

    /// Asks the worker and the store. The caller holds no lock: the answer may come at once.
    pub fn carry_out(self, queue: &Arc<Queue>, worker: &Worker, store: Option<&Store>) {
        let Some(wanted) = self.0 else { return };
        if let Some((due_ms, instead_of_ms)) = wanted.timer_ms {
            let weak: Weak<Queue> = Arc::downgrade(queue);
            worker.at(due_ms, instead_of_ms, weak);
        }
        if wanted.attend {
            worker.soon(queue.clone());
        }
        if let Some(store) = store {
            wanted.ask_store(queue, store);
        }
    }
}

impl Wanted {
    fn ask_store(self, queue: &Arc<Queue>, store: &Store) {
        for (level, first_seq, end_seq) in self.released {
            store.cold.release_spilled(queue.id.lane(level), first_seq, end_seq);
        }
        if let Some(epoch) = self.written {
            store.log.wait_until_written(epoch, queue.clone());
        }
        for (level, runs) in self.spill {
            store.cold.spill(SpillRequest { queue: queue.id.lane(level), runs, target: queue.clone() });
        }
        for (level, from_seq, to_seq) in self.load {
            let (id, target) = (queue.id.lane(level), queue.clone());
            store.cold.load(LoadRequest { queue: id, from_seq, to_seq, max_bytes: LOAD_BYTES, target });
        }
    }
}
