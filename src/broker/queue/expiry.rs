//! Messages that expire: by the queue's time to live and by their own, whichever is shorter, at the head of the queue.
//!
//! The time to live counts from when a message entered the queue and stays with it when it is requeued. A message behind
//! another, or of a lower priority, waits until it is at the head; nothing is kept for a single message, and one timer
//! serves the queue.

use super::ready::Ready;
use super::state::QueueState;
use crate::broker::dead_letter::Reason;
use crate::storage::chunk::Run;
use crate::storage::record::{Record, flags};
use crate::wire::properties::PropertiesView;

/// Messages looked at in one step, so that the queue's lock is not held for long.
const MESSAGES_A_STEP: u32 = 4096;
/// Runs dropped in one step.
const RUNS_A_STEP: usize = 256;

/// When the messages of a run expire, in milliseconds since 1970; `u64::MAX` for those that do not.
struct Deadlines<'a> {
    run: &'a Run,
    of_queue_ms: u64,
    /// The properties that were read last, and when messages with them expire: many have the same.
    last: (&'a [u8], u64),
}

impl<'a> Deadlines<'a> {
    fn of(run: &'a Run) -> Deadlines<'a> {
        let of_queue_ms = if run.deadline_ms == 0 { u64::MAX } else { run.deadline_ms };
        Deadlines { run, of_queue_ms, last: (&[], u64::MAX) }
    }

    fn at(&mut self, index: u32) -> u64 {
        let record = self.run.record(index);
        if record.flags() & flags::EXPIRATION == 0 {
            return self.of_queue_ms;
        }
        if record.properties() != self.last.0 {
            self.last = (record.properties(), own_deadline_ms(&record, self.run.time_ms()));
        }
        self.of_queue_ms.min(self.last.1)
    }
}

fn own_deadline_ms(record: &Record<'_>, time_ms: u64) -> u64 {
    // It was checked when it was published.
    let expiration =
        PropertiesView::parse(record.properties(), u8::MAX).ok().and_then(|view| view.expiration_ms().ok()?);
    expiration.map_or(u64::MAX, |expiration_ms| time_ms.saturating_add(expiration_ms))
}

/// How many messages at the front of a run, of so many at most, have expired.
fn expired_prefix(run: &Run, most: u32, now_ms: u64) -> u32 {
    let most = most.min(run.count);
    if run.deadline_ms != 0 && run.deadline_ms <= now_ms {
        return most;
    }
    if !run.has_expirations() {
        return 0;
    }
    let mut deadlines = Deadlines::of(run);
    (0..most).take_while(|&index| deadlines.at(index) <= now_ms).count() as u32
}

impl Ready {
    /// As [`front_within`](Ready::front_within), but none that has expired, and none behind it.
    pub fn live_front_within(&self, messages: u32, bytes: usize, now_ms: u64) -> u32 {
        let Some(run) = self.front_run() else { return 0 };
        let most = run.count_within(bytes).min(messages);
        if run.deadline_ms != 0 && run.deadline_ms <= now_ms {
            return 0;
        }
        if !run.has_expirations() {
            return most;
        }
        let mut deadlines = Deadlines::of(run);
        (0..most).take_while(|&index| deadlines.at(index) > now_ms).count() as u32
    }

    /// Takes messages off the front that have expired, as far as they are one run.
    fn take_expired(&mut self, now_ms: u64) -> Option<Run> {
        match expired_prefix(self.front_run()?, MESSAGES_A_STEP, now_ms) {
            0 => None,
            expired => self.take(expired, usize::MAX),
        }
    }

    /// When the message at the front expires; `u64::MAX` if it does not, or is on disk.
    fn front_deadline_ms(&self) -> u64 {
        self.front_run().map_or(u64::MAX, |run| Deadlines::of(run).at(0))
    }
}

impl QueueState {
    /// The time, if some message may expire; else 0.
    #[inline]
    pub(super) fn expiry_now_ms(&self) -> u64 {
        match &self.rules {
            Some(rules) if rules.expiring => self.worker.now_ms(),
            _ => 0,
        }
    }

    /// Drops what has expired at the front. Returns false if there is more than a step's worth: then the rest is seen to
    /// soon.
    pub(super) fn drop_expired_front(&mut self, now_ms: u64) -> bool {
        for _ in 0..RUNS_A_STEP {
            let Some(run) = self.lanes.front_mut().ready.take_expired(now_ms) else { return true };
            self.expired(run);
        }
        self.effects.attend_soon();
        false
    }

    fn expired(&mut self, run: Run) {
        if let Some(rules) = &mut self.rules {
            rules.has_left(&run);
        }
        self.has_dropped(&run);
        self.bury(run, Reason::Expired);
    }

    /// When the message at the front expires; `u64::MAX` if it does not, or is on disk.
    pub(super) fn next_deadline_ms(&self) -> u64 {
        self.lanes.front().ready.front_deadline_ms()
    }
}
