//! A queue's dealings with its store: messages that leave memory and come back, and who waits for them.

use std::sync::Arc;

use super::cold::Range;
use super::effects::LOAD_BYTES;
use super::leaving::{Leaving, Shrink};
use super::state::QueueState;
use super::{Got, Queue};
use crate::broker::outbox::{Outbox, Wakes};
use crate::storage::chunk::Run;
use crate::storage::log;
use crate::storage::store::{ColdTarget, Loaded, RecoveredQueue};
use crate::storage::{Epoch, QueueId};

/// Steps in which a queue's messages leave memory, at most; far more than the longest queue in memory needs.
const STEPS_MAX: usize = 1 << 16;

impl QueueState {
    /// Takes in what was found on disk of a level at start.
    pub fn recover(&mut self, level: u8, recovered: &RecoveredQueue) {
        let lane = self.lanes.at_mut(level);
        lane.next_seq = recovered.next_seq;
        for found in &recovered.waiting {
            lane.ready.insert_cold(Range::recovered(found));
        }
        if recovered.may_expire {
            self.set_expiring();
        }
    }

    /// If little is left in memory before the first message on disk of the line whose turn it is, has more loaded.
    pub(super) fn load_on(&mut self) {
        let level = self.lanes.front_level();
        let lane = self.lanes.at_mut(level);
        if !lane.loading
            && let Some((from_seq, to_seq)) = lane.ready.begin_load(LOAD_BYTES as u64 / 2)
        {
            lane.loading = true;
            self.effects.load(level, from_seq, to_seq);
        }
    }

    /// Why there is no message in memory for `basic.get`. If there is one on disk, `outbox` is notified when it is not.
    pub fn got_none(&mut self, outbox: &Arc<Outbox>) -> Got {
        if self.lanes.is_empty() {
            return Got::Empty;
        }
        self.load_on();
        if !self.getters.iter().any(|getter| Arc::ptr_eq(getter, outbox)) {
            self.getters.push(outbox.clone());
        }
        Got::Loading
    }

    pub(super) fn notify_getters(&mut self, wakes: &mut Wakes) {
        for outbox in self.getters.drain(..) {
            outbox.notify(wakes);
        }
    }

    /// Takes in what was loaded. Returns how many messages are lost.
    fn loaded(&mut self, loaded: Loaded, wakes: &mut Wakes) -> u64 {
        let level = loaded.queue.level();
        // What could not be read is asked for again when something else happens, not at once and for ever.
        let is_unreadable = loaded.through_seq <= loaded.from_seq;
        let lane = self.lanes.at_mut(level);
        lane.loading = is_unreadable;
        let lost = lane.ready.end_load(loaded);
        if self.rules.is_some() {
            self.look_at_limits(wakes);
        }
        self.assign(wakes);
        self.lanes.at_mut(level).loading &= !is_unreadable;
        self.notify_getters(wakes);
        lost
    }

    /// Lets what lies behind the heads leave memory as far as it is on disk, and has the queue told when more is.
    pub(super) fn fold_tails(&mut self) {
        let Some(store) = &self.store else { return };
        let mut missing: Option<Epoch> = None;
        for lane in self.lanes.iter_mut().filter(|lane| !lane.ready.tail.is_empty()) {
            if let Some(epoch) = lane.ready.fold_tail(store, store.queue_resident_bytes) {
                missing = Some(missing.map_or(epoch, |missing| missing.min(epoch)));
            }
        }
        if let Some(epoch) = missing
            && !self.awaits_written
        {
            self.awaits_written = true;
            self.effects.tell_when_written(epoch);
        }
        if self.consumers.count() > 0 && self.lanes.front().ready.has_cold() {
            self.load_on();
        }
    }

    /// Has a level give up memory, a step. Returns whether there is nothing more to be done.
    fn shrink(&mut self, level: u8, shrink: &mut Shrink) -> bool {
        let Some(store) = &self.store else { return true };
        if self.consumers.count() > 0 && level == self.lanes.front_level() {
            // They would have it loaded again at once.
            shrink.keep_bytes = shrink.keep_bytes.max(LOAD_BYTES as u64);
        }
        let is_done = self.lanes.at_mut(level).ready.shrink(shrink, store);
        if is_done {
            self.fold_tails();
            self.spill(level, shrink);
        }
        is_done
    }

    fn spill(&mut self, level: u8, shrink: &mut Shrink) {
        let lane = self.lanes.at_mut(level);
        if lane.spilling.is_none() && !shrink.to_spill.is_empty() {
            lane.spilling = Some(shrink.keep_bytes);
            let mut runs = std::mem::take(&mut shrink.to_spill);
            runs.reverse();
            self.effects.spill(level, runs);
        }
    }

    fn spilled(&mut self, level: u8, runs: Vec<Run>) {
        for run in runs {
            for (first_seq, end_seq) in self.lanes.at_mut(level).ready.fold_spilled(&run) {
                self.effects.release(level, first_seq, end_seq);
            }
        }
    }
}

impl Queue {
    /// Lets ready messages leave memory for the disk, from the back, until about `keep_bytes` of them are left there:
    /// at once those that are on disk, the others as they get there.
    pub fn shrink(&self, keep_bytes: u64, leaving: Leaving) {
        let levels = self.lock().lanes.count() as u64;
        for level in 0..levels {
            self.shrink_level(level as u8, keep_bytes / levels, leaving);
        }
    }

    fn shrink_level(&self, level: u8, keep_bytes: u64, leaving: Leaving) {
        let mut shrink = Shrink::to(keep_bytes, leaving);
        for _ in 0..STEPS_MAX {
            if self.lock().shrink(level, &mut shrink) {
                return;
            }
        }
    }
}

impl ColdTarget for Queue {
    fn loaded(self: Arc<Self>, loaded: Loaded) {
        let mut wakes = Wakes::default();
        let lost = self.lock().loaded(loaded, &mut wakes);
        if lost > 0 {
            tracing::error!("{lost} messages of {} are not on disk, where they should be", self.described());
        }
    }

    fn spilled(self: Arc<Self>, queue: QueueId, runs: Vec<Run>) {
        let level = queue.level();
        let is_some = !runs.is_empty();
        self.lock().spilled(level, runs);
        // Only now, so that what was released is not spilled again before.
        let keep_bytes = self.lock().lanes.at_mut(level).spilling.take();
        if let Some(keep_bytes) = keep_bytes.filter(|_| is_some) {
            self.shrink_level(level, keep_bytes, Leaving::All);
        }
    }
}

/// Told when more can leave memory.
impl log::Waiter for Queue {
    fn notify(self: Arc<Self>) {
        let mut state = self.lock();
        state.awaits_written = false;
        state.fold_tails();
    }
}
