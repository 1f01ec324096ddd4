//! A bucket: messages that are due in the same while, in the order in which they came. To the store it is a lane of a queue
//! that no name finds.

use std::sync::Arc;

use super::wheel::Place;
use crate::broker::queue::cold::Range;
use crate::broker::queue::ready::Ready;
use crate::storage::chunk::{Chunk, Run};
use crate::storage::store::{RecoveredQueue, Store};
use crate::storage::{Epoch, QueueId};

/// Bytes of a bucket of level 0, which has its turn soon, that stay in memory; nothing of others does once it is on disk.
const RESIDENT_BYTES: u64 = 32 * 1024;

pub struct Bucket {
    /// The lane.
    pub id: QueueId,
    pub ready: Ready,
    /// No message has had this position or a higher one.
    pub next_seq: u64,
    /// Messages are being read from disk.
    pub loading: bool,
    resident_bytes: u64,
}

impl Bucket {
    pub fn new(level: QueueId, place: Place, has_store: bool) -> Bucket {
        let resident_bytes = match place.level {
            _ if !has_store => u64::MAX,
            0 => RESIDENT_BYTES,
            _ => 0,
        };
        Bucket { id: level.lane(place.lane), ready: Ready::default(), next_seq: 0, loading: false, resident_bytes }
    }

    /// Takes in what was found on disk at start.
    pub fn recover(&mut self, found: &RecoveredQueue) {
        self.next_seq = found.next_seq;
        for range in &found.waiting {
            self.ready.insert_cold(Range::recovered(range));
        }
    }

    /// Puts all messages of a chunk at the tail. Returns the epoch with which they are kept; none without a store.
    pub fn push(&mut self, chunk: &Arc<Chunk>, store: Option<&Store>) -> Epoch {
        let mut run = Run::of_chunk(chunk, self.next_seq);
        run.lane = self.id.level();
        run.epoch = store.map_or(Epoch::NONE, |store| store.log.enqueue(self.id, run.first_seq, None, chunk));
        let epoch = run.epoch;
        self.next_seq = run.end_seq();
        self.ready.push(run, self.resident_bytes);
        epoch
    }

    /// Lets what is on disk leave memory. Returns the epoch with which more will be there, if more is to leave.
    pub fn fold(&mut self, store: &Store) -> Option<Epoch> {
        self.ready.fold_tail(store, self.resident_bytes)
    }
}
