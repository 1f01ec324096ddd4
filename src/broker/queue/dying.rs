//! Messages whose life in a queue has ended: they are settled, or go to the dead-letter exchange first.

use std::sync::Arc;

use super::Queue;
use super::rules::{Dying, Rules};
use super::state::QueueState;
use crate::broker::dead_letter::{self, Reason};
use crate::broker::delay::retry;
use crate::broker::outbox::Wakes;
use crate::broker::policy::definition::Retry;
use crate::broker::policy::effective::DeadLetter;
use crate::broker::worker::{Attended, Duty};
use crate::storage::Epoch;
use crate::storage::chunk::Run;
use crate::storage::store::{ColdTarget, LoadRequest, Loaded};

/// Dead letters that are taken on at once: runs, and their bytes.
const RUNS_A_TURN: usize = 64;
const BYTES_A_TURN: usize = 256 * 1024;

/// What becomes of a message whose life in the queue has ended.
struct Afterlife {
    target: Option<DeadLetter>,
    retry: Option<Retry>,
}

impl QueueState {
    /// Ends the life of messages that have been taken out: they become dead letters, or are settled. Returns the epoch
    /// after which they do not come back, if they are settled.
    pub(super) fn bury(&mut self, run: Run, reason: Reason) -> Epoch {
        if self.dead || !self.rules.as_ref().is_some_and(|rules| rules.has_afterlife(reason)) {
            let epoch = self.log_settled_run(&run);
            run.settle();
            return epoch;
        }
        if let Some(rules) = &mut self.rules {
            rules.dying.push_back(Dying::new(run, reason));
        }
        self.see_to_dying();
        Epoch::NONE
    }

    fn see_to_dying(&mut self) {
        if let Some(rules) = &mut self.rules
            && !std::mem::replace(&mut rules.is_attended, true)
        {
            self.effects.attend_soon();
        }
    }

    /// Counts a failed delivery. Returns false if it was one too many.
    pub(super) fn count_return(&mut self, run: &mut Run) -> bool {
        let Some(Rules { counts_returns: true, effective, .. }) = self.rules.as_deref() else { return true };
        run.returns = run.returns.saturating_add(1);
        if effective.delivery_limit.is_some_and(|limit| run.returns > limit) {
            return false;
        }
        if run.epoch.is_some()
            && let Some(log) = self.log()
        {
            let (id, end_seq) = (self.lanes.at(run.lane).id, run.end_seq());
            // Until that is written, what is on disk has the old count.
            run.epoch = run.epoch.max(log.count_returns(id, run.first_seq, end_seq, run.returns));
        }
        true
    }

    /// Has the queue attended to when the next thing is due: a message expires, or the queue does.
    pub(super) fn set_timer(&mut self) {
        let Some(rules) = &self.rules else { return };
        let mut due_ms = u64::MAX;
        if rules.expiring {
            due_ms = self.next_deadline_ms();
            let front = &self.lanes.front().ready;
            if front.has_cold() && !front.has_front() {
                // When it expires is not known before it is read.
                self.load_on();
            }
        }
        let Some(rules) = &mut self.rules else { return };
        if let Some(expires_ms) = rules.effective.expires_ms
            && self.consumers.count() == 0
        {
            due_ms = due_ms.min(rules.used_ms.saturating_add(expires_ms));
        }
        if rules.retry_ms != 0 {
            due_ms = due_ms.min(rules.retry_ms);
        }
        if !self.dead && due_ms != u64::MAX && (rules.timer_ms == 0 || due_ms < rules.timer_ms) {
            let instead_of_ms = std::mem::replace(&mut rules.timer_ms, due_ms);
            self.effects.attend_at(due_ms, instead_of_ms);
        }
    }

    /// Notes that the queue was used, so that it does not expire yet.
    pub(super) fn note_use(&mut self) {
        if let Some(rules) = &mut self.rules
            && rules.effective.expires_ms.is_some()
        {
            rules.used_ms = self.worker.now_ms();
            self.set_timer();
        }
    }

    /// Does what is due by now. Returns whether nobody has used the queue for as long as it was to live unused.
    fn attend(&mut self, now_ms: u64, wakes: &mut Wakes) -> bool {
        let Some(rules) = &mut self.rules else { return false };
        if rules.timer_ms <= now_ms {
            rules.timer_ms = 0;
        }
        let (expiring, expires_ms, used_ms) = (rules.expiring, rules.effective.expires_ms, rules.used_ms);
        if expiring {
            self.drop_expired_front(now_ms);
        }
        self.look_at_limits(wakes);
        self.assign_at(if expiring { now_ms } else { 0 }, wakes);
        let is_unused = self.consumers.count() == 0 && !self.dead;
        is_unused && expires_ms.is_some_and(|ms| now_ms >= used_ms.saturating_add(ms))
    }

    /// Takes out messages that are dying, and where they go. They are in nobody's hands but the caller's then.
    fn take_dying(&mut self, now_ms: u64) -> Option<(Afterlife, Vec<Dying>)> {
        let rules = self.rules.as_mut()?;
        if rules.retry_ms > now_ms {
            return None;
        }
        rules.retry_ms = 0;
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < BYTES_A_TURN && taken.len() < RUNS_A_TURN {
            let Some(dying) = rules.dying.pop_front() else { break };
            bytes += dying.run.bytes();
            taken.push(dying);
        }
        rules.is_attended = !taken.is_empty();
        let afterlife = Afterlife { target: rules.effective.dead_letter.clone(), retry: rules.effective.retry.clone() };
        (!taken.is_empty()).then_some((afterlife, taken))
    }

    /// Puts back what could not be moved, to be tried again at some time.
    fn put_back_dying(&mut self, dying: Vec<Dying>, retry_ms: u64) {
        let Some(rules) = &mut self.rules else { return };
        for dying in dying.into_iter().rev() {
            rules.dying.push_front(dying);
        }
        rules.retry_ms = retry_ms;
        self.set_timer();
    }
}

impl Queue {
    /// Settles messages that have become dead letters.
    pub(in crate::broker) fn moved(&self, runs: impl IntoIterator<Item = Run>) {
        let state = self.lock();
        for run in runs {
            if run.epoch.is_some()
                && let Some(log) = state.log()
            {
                log.settle_moved(self.id.lane(run.lane), run.first_seq, run.end_seq());
            }
            run.settle();
        }
    }

    /// Settles messages that were to become dead letters and have nowhere to go.
    pub(in crate::broker) fn dropped(&self, runs: impl IntoIterator<Item = Run>) {
        let state = self.lock();
        for run in runs {
            state.log_settled_run(&run);
            run.settle();
        }
    }

    /// Takes messages back that cannot be dead-lettered now, to be tried again at some time.
    pub(in crate::broker) fn keep_dying(&self, dying: Vec<Dying>, retry_ms: u64) {
        self.lock().put_back_dying(dying, retry_ms);
    }

    fn bury_on(self: &Arc<Self>, now_ms: u64) -> bool {
        let taken = self.lock().take_dying(now_ms);
        let Some((Afterlife { target, retry }, dying)) = taken else { return false };
        let (mut here, forgotten): (Vec<_>, Vec<_>) = dying.into_iter().partition(|dying| dying.run.has_bytes());
        forgotten.into_iter().for_each(|dying| self.remember(dying));
        if let Some(retry) = retry {
            here = self.try_again(here, &retry);
        }
        match target {
            Some(target) => dead_letter::bury(self, &target, here, now_ms),
            None => self.dropped(here.into_iter().map(|dying| dying.run)),
        }
        true
    }

    /// Holds back what was rejected and is to be tried again. Returns the rest.
    fn try_again(self: &Arc<Self>, dying: Vec<Dying>, retry: &Retry) -> Vec<Dying> {
        let (rejected, mut rest): (Vec<_>, Vec<_>) =
            dying.into_iter().partition(|dying| dying.reason == Reason::Rejected);
        let mut parted = retry::part(rejected.into_iter(), retry, self.worker.clock.next_ms());
        let _hold = self.store.as_ref().map(|store| store.log.hold());
        self.hold_back(|delays| retry::hold_back(delays, &mut parted));
        self.moved(parted.taken.into_iter().map(|dying| dying.run));
        rest.extend(parted.over);
        rest
    }

    /// Has a dead letter read that memory was short for.
    fn remember(self: &Arc<Self>, Dying { run, reason, .. }: Dying) {
        let Some(store) = &self.store else { return };
        let (queue, from_seq, to_seq) = (self.id.lane(run.lane), run.first_seq, run.end_seq());
        let target = Arc::new(Remembered { queue: self.clone(), run, reason });
        store.cold.load(LoadRequest { queue, from_seq, to_seq, max_bytes: usize::MAX, target });
    }
}

impl Duty for Queue {
    fn attend(self: Arc<Self>, now_ms: u64) -> Attended {
        let mut wakes = Wakes::default();
        let is_unused = self.lock().attend(now_ms, &mut wakes);
        drop(wakes);
        if is_unused && let Some(vhost) = self.vhost.upgrade() {
            vhost.expire_queue(&self);
        }
        if self.bury_on(now_ms) { Attended::More } else { Attended::Done }
    }
}

/// A dead letter that is being read from disk.
struct Remembered {
    queue: Arc<Queue>,
    run: Run,
    reason: Reason,
}

impl ColdTarget for Remembered {
    fn loaded(self: Arc<Self>, loaded: Loaded) {
        let mut state = self.queue.lock();
        for mut run in loaded.runs {
            (run.redelivered, run.lane) = (self.run.redelivered, self.run.lane);
            state.bury(run, self.reason);
        }
    }

    fn spilled(self: Arc<Self>, _: crate::storage::QueueId, _: Vec<Run>) {
        unreachable!("nothing was asked to be spilled");
    }
}
