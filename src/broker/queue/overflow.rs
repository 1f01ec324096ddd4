//! What comes in where there are rules: levels of priority, times to live, and limits of length, at which the head is
//! dropped or the new refused.

use std::sync::Arc;

use super::Enqueued;
use super::state::QueueState;
use crate::broker::dead_letter::Reason;
use crate::broker::outbox::Wakes;
use crate::broker::policy::effective::Overflow;
use crate::storage::Epoch;
use crate::storage::chunk::{Chunk, OpenChunk, Run};

impl QueueState {
    /// As [`enqueue`](QueueState::enqueue), by the queue's rules.
    pub(super) fn enqueue_by_rules(&mut self, chunk: &Arc<Chunk>, may_refuse: bool, wakes: &mut Wakes) -> Enqueued {
        match self.rules.as_mut().and_then(|rules| rules.dedup.take()) {
            Some(dedup) => self.enqueue_once(dedup, chunk, may_refuse, wakes),
            None => self.take_in(chunk, may_refuse, wakes),
        }
    }

    /// As [`enqueue_by_rules`](Self::enqueue_by_rules), for what is known not to have come before.
    pub(super) fn take_in(&mut self, chunk: &Arc<Chunk>, may_refuse: bool, wakes: &mut Wakes) -> Enqueued {
        let now_ms = self.worker.now_ms();
        chunk.published_at(now_ms);
        let rules = self.rules.get_or_insert_default();
        rules.expiring |= chunk.has_expirations();
        let (expires, refuses) = (rules.expiring, may_refuse && rules.refuses());
        if expires {
            self.drop_expired_front(now_ms);
        }
        let mut enqueued = if refuses {
            self.take_what_fits(chunk, wakes)
        } else {
            let epoch = self.push_by_level(chunk);
            // What expires at once is there for a consumer that waits.
            self.assign_at(0, wakes);
            Enqueued { epoch, ..Enqueued::default() }
        };
        self.look_at_limits(wakes);
        if expires {
            self.drop_expired_front(now_ms);
        }
        self.set_timer();
        self.fold_tails();
        enqueued.ready_bytes = self.lanes.bytes();
        enqueued
    }

    /// Puts all messages of a chunk at the tails of their levels. Returns the epoch with which they are kept.
    fn push_by_level(&mut self, chunk: &Arc<Chunk>) -> Epoch {
        let Some(rules) = &mut self.rules else { return Epoch::NONE };
        let (ttl_ms, max_priority) = (rules.effective.message_ttl_ms, rules.effective.max_priority.unwrap_or(0));
        if rules.effective.max_length_bytes.is_some() {
            rules.body_bytes += (0..chunk.records()).map(|i| chunk.record(i).body_bytes() as u64).sum::<u64>();
        }
        let level_of = |index: u32| chunk.record(index).priority().unwrap_or(0).min(max_priority);
        let first = if max_priority == 0 { 0 } else { level_of(0) };
        if max_priority == 0 || (1..chunk.records()).all(|index| level_of(index) == first) {
            return self.push(first, chunk, ttl_ms);
        }
        let mut levels: Vec<OpenChunk> = Vec::new();
        levels.resize_with(usize::from(max_priority) + 1, OpenChunk::default);
        for index in 0..chunk.records() {
            let record = chunk.record(index);
            levels[usize::from(level_of(index))].push(record.prefix(), record.body());
        }
        let mut epoch = Epoch::NONE;
        for (level, open) in levels.iter_mut().enumerate().filter(|(_, open)| !open.is_empty()) {
            let part = open.close();
            part.published_at(chunk.time_ms());
            epoch = epoch.max(self.push(level as u8, &part, ttl_ms));
        }
        epoch
    }

    /// Takes in what there is room for, one message after the other: what consumers take at once makes room for the next.
    /// The rest is refused.
    fn take_what_fits(&mut self, chunk: &Arc<Chunk>, wakes: &mut Wakes) -> Enqueued {
        let mut enqueued = Enqueued::default();
        let (mut at, end) = (0, chunk.records());
        while at < end {
            let fit = self.count_that_fits(chunk, at);
            if fit == 0 {
                // A smaller one behind it may fit.
                enqueued.refuse(at);
                self.refused(chunk, at);
                at += 1;
                continue;
            }
            let whole = fit == end;
            let epoch = if whole { self.push_by_level(chunk) } else { self.push_by_level(&part(chunk, at, at + fit)) };
            enqueued.epoch = enqueued.epoch.max(epoch);
            self.assign_at(0, wakes);
            at += fit;
        }
        enqueued
    }

    /// How many messages from `from` on there is room for.
    fn count_that_fits(&self, chunk: &Chunk, from: u32) -> u32 {
        let Some(rules) = &self.rules else { return chunk.records() - from };
        let most = rules.effective.max_length.map_or(u64::MAX, |max| max.saturating_sub(self.lanes.messages()));
        let most = most.min(u64::from(chunk.records() - from)) as u32;
        let Some(max_bytes) = rules.effective.max_length_bytes else { return most };
        let mut bytes = rules.body_bytes;
        let fits = |index: &u32| {
            bytes += chunk.record(*index).body_bytes() as u64;
            bytes <= max_bytes
        };
        (from..from + most).take_while(fits).count() as u32
    }

    fn refused(&mut self, chunk: &Arc<Chunk>, index: u32) {
        let rules = self.rules.as_ref();
        if rules.is_some_and(|rules| rules.effective.overflow == Overflow::RejectPublishDlx) {
            // It has no place in the queue, and no position that could be settled.
            self.bury(Run::of_records(chunk, index, 1, u64::MAX - 1, Epoch::NONE), Reason::MaxLength);
        }
    }

    /// Drops the head of what is too long.
    pub(super) fn look_at_limits(&mut self, wakes: &mut Wakes) {
        if !self.rules.as_ref().is_some_and(|rules| rules.drops_head()) {
            return;
        }
        while let Some(excess) = self.excess() {
            if let Some(run) = self.take_excess(&excess) {
                self.has_dropped(&run);
                self.bury(run, Reason::MaxLength);
            } else if !self.drop_cold(&excess) {
                self.load_on();
                break;
            }
        }
        self.notify_drained(wakes);
    }

    /// By how much the queue is too long, if it is.
    fn excess(&self) -> Option<Excess> {
        let effective = &self.rules.as_ref()?.effective;
        let over = |is: u64, max: Option<u64>| max.map_or(0, |max| is.saturating_sub(max));
        let excess = Excess {
            messages: over(self.lanes.messages(), effective.max_length),
            body_bytes: over(self.rules.as_ref()?.body_bytes, effective.max_length_bytes),
        };
        ((excess.messages > 0 || excess.body_bytes > 0) && !self.lanes.is_empty()).then_some(excess)
    }

    /// Takes messages off the front that are too many, as far as they are one run in memory.
    fn take_excess(&mut self, excess: &Excess) -> Option<Run> {
        let front = self.lanes.front().ready.front_run()?;
        let mut bytes = 0;
        let mut is_needed = |index: &u32| {
            let is_needed = bytes < excess.body_bytes;
            bytes += front.record(*index).body_bytes() as u64;
            is_needed
        };
        let of_bytes =
            if excess.body_bytes == 0 { 0 } else { (0..front.count).take_while(&mut is_needed).count() as u64 };
        let messages = excess.messages.max(of_bytes).min(u64::from(front.count)) as u32;
        self.take_front(messages)
    }

    /// Drops messages off the front that are on disk, without reading them, where nobody wants to see them any more and
    /// only their number matters. Returns whether it could.
    fn drop_cold(&mut self, excess: &Excess) -> bool {
        let Some(rules) = &self.rules else { return false };
        if rules.effective.dead_letter.is_some() || rules.effective.max_length_bytes.is_some() {
            return false;
        }
        let level = self.lanes.front_level();
        let Some((first_seq, end_seq)) = self.lanes.at_mut(level).ready.drop_cold_front(excess.messages) else {
            return false;
        };
        self.log_settled(level, first_seq, end_seq);
        true
    }
}

/// By how much a queue is too long.
struct Excess {
    messages: u64,
    body_bytes: u64,
}

/// Some records of a chunk in a chunk of their own.
pub(super) fn part(chunk: &Chunk, from: u32, to: u32) -> Arc<Chunk> {
    let mut open = OpenChunk::default();
    for index in from..to {
        let record = chunk.record(index);
        open.push(record.prefix(), record.body());
    }
    let part = open.close();
    part.published_at(chunk.time_ms());
    part
}
