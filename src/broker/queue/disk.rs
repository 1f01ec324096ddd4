//! A queue's dealings with its store: messages that leave memory and come back, and who waits for them.

use std::sync::Arc;

use super::cold::Range;
use super::effects::LOAD_BYTES;
use super::leaving::{Leaving, Shrink};
use super::state::QueueState;
use super::{Got, Queue};
use crate::broker::outbox::{Outbox, Wakes};
use crate::storage::QueueId;
use crate::storage::chunk::Run;
use crate::storage::log;
use crate::storage::store::{ColdTarget, Loaded, RecoveredQueue};

/// Steps in which a queue's messages leave memory, at most; far more than the longest queue in memory needs.
const STEPS_MAX: usize = 1 << 16;

impl QueueState {
    /// Takes in what was found on disk at start.
    pub fn recover(&mut self, recovered: &RecoveredQueue) {
        self.next_seq = recovered.next_seq;
        for found in &recovered.waiting {
            self.ready.insert_cold(Range::recovered(found));
        }
    }

    /// If little is left in memory before the first message on disk, has more loaded.
    pub(super) fn load_on(&mut self) {
        if !self.loading
            && let Some((from_seq, to_seq)) = self.ready.begin_load(LOAD_BYTES as u64 / 2)
        {
            self.loading = true;
            self.effects.load(from_seq, to_seq);
        }
    }

    /// Why there is no message in memory for `basic.get`. If there is one on disk, `outbox` is notified when it is not.
    pub fn got_none(&mut self, outbox: &Arc<Outbox>) -> Got {
        if self.ready.is_empty() {
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
        // What could not be read is asked for again when something else happens, not at once and for ever.
        let is_unreadable = loaded.through_seq <= loaded.from_seq;
        self.loading = is_unreadable;
        let lost = self.ready.end_load(loaded);
        self.assign(wakes);
        self.loading &= !is_unreadable;
        self.notify_getters(wakes);
        lost
    }

    /// Lets what lies behind the head leave memory as far as it is on disk, and has the queue told when more is.
    pub(super) fn fold_tail(&mut self) {
        if self.ready.tail.is_empty() {
            return;
        }
        let Some(store) = &self.store else { return };
        if let Some(epoch) = self.ready.fold_tail(store)
            && !self.awaits_written
        {
            self.awaits_written = true;
            self.effects.tell_when_written(epoch);
        }
        if self.ready.has_cold() && self.consumers.count() > 0 {
            self.load_on();
        }
    }

    fn shrink(&mut self, shrink: &mut Shrink) -> bool {
        let Some(store) = &self.store else { return true };
        if self.consumers.count() > 0 {
            // They would have it loaded again at once.
            shrink.keep_bytes = shrink.keep_bytes.max(LOAD_BYTES as u64);
        }
        let is_done = self.ready.shrink(shrink, store);
        if is_done {
            self.fold_tail();
            self.spill(shrink);
        }
        is_done
    }

    fn spill(&mut self, shrink: &mut Shrink) {
        if self.spilling.is_none() && !shrink.to_spill.is_empty() {
            self.spilling = Some(shrink.keep_bytes);
            let mut runs = std::mem::take(&mut shrink.to_spill);
            runs.reverse();
            self.effects.spill(runs);
        }
    }

    fn spilled(&mut self, runs: Vec<Run>) {
        for run in runs {
            for (first_seq, end_seq) in self.ready.fold_spilled(&run) {
                self.effects.release(first_seq, end_seq);
            }
        }
    }
}

impl Queue {
    /// Lets ready messages leave memory for the disk, from the back, until about `keep_bytes` of them are left there:
    /// at once those that are on disk, the others as they get there.
    pub fn shrink(&self, keep_bytes: u64, leaving: Leaving) {
        let mut shrink = Shrink::to(keep_bytes, leaving);
        for _ in 0..STEPS_MAX {
            if self.lock().shrink(&mut shrink) {
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

    fn spilled(self: Arc<Self>, _: QueueId, runs: Vec<Run>) {
        let is_some = !runs.is_empty();
        self.lock().spilled(runs);
        // Only now, so that what was released is not spilled again before.
        let keep_bytes = self.lock().spilling.take();
        if let Some(keep_bytes) = keep_bytes.filter(|_| is_some) {
            self.shrink(keep_bytes, Leaving::All);
        }
    }
}

/// Told when more can leave memory.
impl log::Waiter for Queue {
    fn notify(self: Arc<Self>) {
        let mut state = self.lock();
        state.awaits_written = false;
        state.fold_tail();
    }
}
