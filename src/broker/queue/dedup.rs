//! What comes in where duplicates are dropped: each message whose key is remembered, before anything else is looked at.
//!
//! Dead letters are let in whatever their key: they have been here before if they come back, and were taken elsewhere if
//! they do not, and nobody would publish them again. Their keys are remembered like others. What is returned to the queue
//! does not come this way.

use std::sync::Arc;

use super::overflow::part;
use super::rules::Rules;
use super::state::QueueState;
use super::{Enqueued, Queue};
use crate::broker::dedup::{Deduplication, Line, Mark};
use crate::broker::definitions::HiddenOwner;
use crate::broker::outbox::Wakes;
use crate::broker::policy::effective::Dedup;
use crate::storage::Epoch;
use crate::storage::chunk::{Chunk, OpenChunk};
use crate::storage::record::{Record, flags};

impl QueueState {
    /// Takes in what has not come before, by the queue's rules.
    pub(super) fn enqueue_once(
        &mut self,
        mut dedup: Box<Deduplication>,
        chunk: &Arc<Chunk>,
        may_refuse: bool,
        wakes: &mut Wakes,
    ) -> Enqueued {
        let enqueued = if may_refuse && self.refuses() {
            self.take_in_singly(&mut dedup, chunk, wakes)
        } else {
            self.take_in_together(&mut dedup, chunk, wakes)
        };
        self.rules.get_or_insert_default().dedup = Some(dedup);
        enqueued
    }

    /// All that is new in one go: none of it can be refused.
    fn take_in_together(&mut self, dedup: &mut Deduplication, chunk: &Arc<Chunk>, wakes: &mut Wakes) -> Enqueued {
        let now_ms = self.worker.now_ms();
        let before = dedup.epoch();
        let is_new = (0..chunk.records()).map(|index| self.note(dedup, &chunk.record(index), now_ms));
        let is_new: Vec<bool> = is_new.collect();
        let store = self.store.clone().filter(|_| dedup.is_behind());
        let _hold = store.as_ref().map(|store| store.log.hold());
        dedup.log();
        match is_new.iter().filter(|is_new| **is_new).count() {
            all if all == is_new.len() => self.take_in(chunk, false, wakes),
            0 => Enqueued { epoch: before, ready_bytes: self.lanes.bytes(), ..Enqueued::default() },
            _ => {
                let mut enqueued = self.take_in(&chosen(chunk, &is_new), false, wakes);
                enqueued.epoch = enqueued.epoch.max(dedup.epoch());
                enqueued
            }
        }
    }

    /// One after the other, so that nothing is remembered that is refused.
    fn take_in_singly(&mut self, dedup: &mut Deduplication, chunk: &Arc<Chunk>, wakes: &mut Wakes) -> Enqueued {
        let mut all = Enqueued::default();
        for index in 0..chunk.records() {
            let one = if chunk.records() == 1 { chunk.clone() } else { part(chunk, index, index + 1) };
            let taken = self.take_in_one(dedup, &one, wakes);
            all.ready_bytes = taken.ready_bytes;
            all.epoch = all.epoch.max(taken.epoch);
            if !taken.refused.is_empty() {
                all.refuse(index);
            }
        }
        all
    }

    fn take_in_one(&mut self, dedup: &mut Deduplication, one: &Arc<Chunk>, wakes: &mut Wakes) -> Enqueued {
        let now_ms = self.worker.now_ms();
        let record = one.record(0);
        let Some(mark) = dedup.header().and_then(|header| Mark::of_record(&record, header)) else {
            return self.take_in(one, true, wakes);
        };
        if !is_let_in(&record, dedup, &mark, now_ms) {
            return Enqueued { epoch: dedup.epoch(), ready_bytes: self.lanes.bytes(), ..Enqueued::default() };
        }
        let store = self.store.clone();
        let _hold = store.as_ref().map(|store| store.log.hold());
        let taken = self.take_in(one, true, wakes);
        if taken.refused.is_empty() {
            dedup.note(&mark, self.keeps(&record), now_ms);
            dedup.log();
        }
        taken
    }

    /// Takes out those messages that are to be held back, given by their numbers, that have come before, and remembers the
    /// others: they are looked at when they come, not when they are let go. Returns with which everything is kept of which
    /// there were duplicates.
    pub(super) fn note_delayed(&mut self, chunk: &Chunk, delayed: &mut Vec<(u32, u64)>) -> Epoch {
        let Some(mut dedup) = self.rules.as_mut().and_then(|rules| rules.dedup.take()) else { return Epoch::NONE };
        let (now_ms, all) = (self.worker.now_ms(), delayed.len());
        delayed.retain(|(index, _)| self.note(&mut dedup, &chunk.record(*index), now_ms));
        dedup.log();
        let original = if delayed.len() < all { dedup.epoch() } else { Epoch::NONE };
        self.rules.get_or_insert_default().dedup = Some(dedup);
        original
    }

    /// Takes in what was here before, whatever is remembered.
    pub(super) fn enqueue_again(&mut self, chunk: &Arc<Chunk>, wakes: &mut Wakes) -> Enqueued {
        let dedup = self.rules.as_mut().and_then(|rules| rules.dedup.take());
        let enqueued = self.enqueue(chunk, false, wakes);
        if dedup.is_some() {
            self.rules.get_or_insert_default().dedup = dedup;
        }
        enqueued
    }

    /// Remembers a message that cannot be refused. Returns whether it is to be let in.
    fn note(&self, dedup: &mut Deduplication, record: &Record<'_>, now_ms: u64) -> bool {
        let Some(mark) = dedup.header().and_then(|header| Mark::of_record(record, header)) else { return true };
        let is_let_in = is_let_in(record, dedup, &mark, now_ms);
        dedup.note(&mark, self.keeps(record), now_ms);
        is_let_in
    }

    /// Whether a message is to outlive the process.
    fn keeps(&self, record: &Record<'_>) -> bool {
        self.is_durable && record.flags() & flags::PERSISTENT != 0
    }

    /// Deduplicates as settings now say. Not for a queue that is dead.
    pub(super) fn deduplicate_by(&mut self, settings: Option<Dedup>) {
        let owner = HiddenOwner::Queue(self.id());
        let store = self.store.clone().filter(|_| self.is_durable && !self.dead);
        if let Some(rules) = &mut self.rules {
            let line = || store.map(|store| Line::new(store, owner));
            rules.dedup = Deduplication::follow(rules.dedup.take(), settings, line);
        }
    }

    /// The queue is gone: nothing is remembered any more, nor kept.
    pub(super) fn drop_window(&mut self) {
        if let Some(mut dedup) = self.rules.as_mut().and_then(|rules| rules.dedup.take()) {
            dedup.remove();
        }
    }

    fn restore_window(&mut self, found: Deduplication) {
        let rules: &mut Rules = self.rules.get_or_insert_default();
        rules.dedup = Some(match rules.dedup.take() {
            Some(empty) => empty.restored(found),
            None => Box::new(found),
        });
    }
}

impl Queue {
    /// Takes in the keys that were found at start.
    pub(in crate::broker) fn restore_window(&self, found: Deduplication) {
        self.lock().restore_window(found);
    }

    /// The keys that are remembered and kept.
    #[cfg(test)]
    pub(in crate::broker) fn remembers(&self) -> Vec<crate::broker::dedup::Key> {
        let state = self.lock();
        let dedup = state.rules.as_ref().and_then(|rules| rules.dedup.as_ref());
        dedup.map(|dedup| dedup.remembers()).unwrap_or_default()
    }
}

fn is_let_in(record: &Record<'_>, dedup: &Deduplication, mark: &Mark, now_ms: u64) -> bool {
    record.flags() & flags::DEAD_LETTER != 0 || !dedup.is_duplicate(mark, now_ms)
}

/// Some records of a chunk in a chunk of their own.
fn chosen(chunk: &Chunk, is_chosen: &[bool]) -> Arc<Chunk> {
    let mut open = OpenChunk::default();
    for (index, _) in (0..chunk.records()).zip(is_chosen).filter(|(_, is_chosen)| **is_chosen) {
        let record = chunk.record(index);
        open.push(record.prefix(), record.body());
    }
    let chosen = open.close();
    chosen.published_at(chunk.time_ms());
    chosen
}
