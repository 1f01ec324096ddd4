//! Messages that a queue holds back before it takes them in.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Enqueued, Queue, QueueDefinition, Surroundings};
use crate::broker::definitions::HiddenOwner;
use crate::broker::delay::{Delays, Owner, RecoveredLevel, header};
use crate::broker::outbox::Wakes;
use crate::broker::worker::Worker;
use crate::storage::Epoch;
use crate::storage::chunk::{Chunk, OpenChunk};
use crate::storage::record::{Record, flags};
use crate::wire::properties::PropertiesView;

impl Queue {
    /// What stands for delays where messages go to queues: it holds back all that comes. No name finds it.
    pub(in crate::broker) fn intake(
        definition: QueueDefinition,
        worker: &Arc<Worker>,
        delays: Arc<Delays>,
    ) -> Arc<Queue> {
        let around = Surroundings { worker: worker.clone(), ..Surroundings::default() };
        let queue = Queue::build(definition, Queue::new_id(), around, u64::MAX, []);
        queue.holds_back.store(true, Ordering::Release);
        queue.delays.get_or_init(|| delays);
        queue
    }

    /// Messages that are held back; those that are ready are not among them.
    pub fn messages_delayed(&self) -> u64 {
        self.delays.get().map_or(0, |delays| delays.messages())
    }

    /// Holds messages back, unless the queue is dead.
    pub(super) fn hold_back(&self, hold_back: impl FnOnce(&Arc<Delays>) -> Epoch) -> Epoch {
        if self.is_dead() {
            return Epoch::NONE;
        }
        let epoch = hold_back(self.delays_with(&[]));
        if self.is_dead() {
            // It may have ended before there was anything to end with it.
            self.end_delays();
        }
        epoch
    }

    #[cfg(test)]
    pub(in crate::broker) fn delayed_resident_bytes(&self) -> u64 {
        self.delays.get().map_or(0, |delays| delays.resident_bytes())
    }

    /// Takes in what was held back when the broker ended.
    pub(in crate::broker) fn restore_delays(&self, recovered: &[RecoveredLevel]) {
        self.delays_with(recovered);
    }

    fn delays_with(&self, recovered: &[RecoveredLevel]) -> &Arc<Delays> {
        self.delays.get_or_init(|| {
            let around =
                Surroundings { store: self.store.clone(), worker: self.worker.clone(), vhost: self.vhost.clone() };
            Delays::new(Owner::Queue(self.this.clone()), HiddenOwner::Queue(self.id), around, recovered)
        })
    }

    /// Drops what is held back: the queue is dead.
    pub(super) fn end_delays(&self) {
        if let Some(delays) = self.delays.get() {
            delays.kill();
        }
    }

    /// Takes messages in that were held back, at the tail; none is refused, as nobody could be told, and none is a duplicate.
    /// Their time begins now.
    pub(in crate::broker) fn enqueue_released(&self, chunk: &Arc<Chunk>, now_ms: u64, wakes: &mut Wakes) {
        chunk.published_at(now_ms);
        self.lock().enqueue_again(chunk, wakes);
    }

    /// Takes in what of a chunk is due at once, and holds back the rest.
    pub(super) fn enqueue_delayed(&self, chunk: &Arc<Chunk>, may_refuse: bool, wakes: &mut Wakes) -> Enqueued {
        chunk.published_at(self.worker.now_ms());
        let from_ms = self.worker.clock.next_ms();
        let (mut delayed, mut at_once) = (Vec::new(), Vec::new());
        for index in 0..chunk.records() {
            match delay_ms(&chunk.record(index)) {
                Some(delay_ms) => delayed.push((index, from_ms.saturating_add(delay_ms))),
                None => at_once.push(index),
            }
        }
        if delayed.is_empty() {
            return self.lock().enqueue(chunk, may_refuse, wakes);
        }
        // What is remembered is kept together with its message.
        let _hold = self.store.as_ref().map(|store| store.log.hold());
        let original = self.lock().note_delayed(chunk, &mut delayed);
        let mut epoch = original;
        if !delayed.is_empty() {
            epoch = epoch.max(self.hold_back(|delays| delays.hold_back(chunk, &delayed)));
        }
        if at_once.is_empty() {
            return Enqueued { epoch, ..Enqueued::default() };
        }
        let mut enqueued = self.lock().enqueue(&some_of(chunk, &at_once), may_refuse, wakes);
        enqueued.epoch = enqueued.epoch.max(epoch);
        let refused = std::mem::take(&mut enqueued.refused).into_iter().flat_map(|(first, end)| first..end);
        refused.for_each(|index| enqueued.refuse(at_once[index as usize]));
        enqueued
    }
}

fn delay_ms(record: &Record<'_>) -> Option<u64> {
    if record.flags() & flags::HEADERS == 0 {
        return None;
    }
    header::delay_ms(&PropertiesView::parse(record.properties(), u8::MAX).ok()?)
}

/// Some records of a chunk in a chunk of their own.
fn some_of(chunk: &Chunk, indexes: &[u32]) -> Arc<Chunk> {
    let mut open = OpenChunk::default();
    for index in indexes {
        let record = chunk.record(*index);
        open.push(record.prefix(), record.body());
    }
    let part = open.close();
    part.published_at(chunk.time_ms());
    part
}
