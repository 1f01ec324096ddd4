//! What a queue does beyond keeping messages in order: limits, expiry, dead letters. Most queues have none of it, and no
//! [`Rules`].

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::QueueId;
use super::state::QueueState;
use crate::broker::dead_letter::Reason;
use crate::broker::dedup::Deduplication;
use crate::broker::policy::effective::{Effective, Overflow};
use crate::storage::chunk::Run;
use crate::storage::record::HEAD_BYTES;

/// A message that is to go to the dead-letter exchange. Until it has, it is settled in nobody's eyes but its consumers'.
#[derive(Debug)]
pub struct Dying {
    pub run: Run,
    pub reason: Reason,
    /// The queues that have taken it, where every one has to.
    pub taken_by: SmallVec<[QueueId; 2]>,
}

impl Dying {
    pub fn new(run: Run, reason: Reason) -> Dying {
        Dying { run, reason, taken_by: SmallVec::new() }
    }

    /// Each message by itself.
    pub fn singly(self) -> impl Iterator<Item = Dying> {
        let Dying { run, reason, taken_by } = self;
        let mut rest = Some(run);
        std::iter::from_fn(move || {
            let mut run = rest.take()?;
            if run.count > 1 {
                let front = run.split_front(1);
                rest = Some(run);
                run = front;
            }
            Some(Dying { run, reason, taken_by: taken_by.clone() })
        })
    }
}

#[derive(Default)]
pub struct Rules {
    pub effective: Effective,
    /// Some message that waits may expire.
    pub expiring: bool,
    /// When the worker has been asked to attend to the queue; 0 if it has not.
    pub timer_ms: u64,
    /// When a consumer, a `basic.get` or a declaration last used the queue.
    pub used_ms: u64,
    /// Of what is ready, counted where there is a limit of it.
    pub body_bytes: u64,
    /// In the order in which they died.
    pub dying: VecDeque<Dying>,
    /// The worker has been asked to see to the dying.
    pub is_attended: bool,
    /// When the dead-letter exchange is to be tried again that did not take everything; 0 if it is not.
    pub retry_ms: u64,
    /// Tells duplicates, where that is wanted.
    pub dedup: Option<Box<Deduplication>>,
    /// Deliveries that fail are counted.
    pub counts_returns: bool,
}

/// What a record holds beside its body, where nobody has looked: its head, flag words, a delivery mode.
const GUESSED_PREFIX_BYTES: u64 = HEAD_BYTES as u64 + 3;

impl Rules {
    /// Bytes of the messages' bodies.
    fn measure(run: &Run) -> u64 {
        if run.has_bytes() {
            run.records().map(|record| record.body_bytes() as u64).sum()
        } else {
            (run.bytes() as u64).saturating_sub(u64::from(run.count) * GUESSED_PREFIX_BYTES)
        }
    }

    pub fn has_come(&mut self, run: &Run) {
        self.expiring |= run.deadline_ms != 0 || run.has_expirations();
        if self.effective.max_length_bytes.is_some() {
            self.body_bytes += Rules::measure(run);
        }
    }

    pub fn has_left(&mut self, run: &Run) {
        if self.effective.max_length_bytes.is_some() {
            self.body_bytes = self.body_bytes.saturating_sub(Rules::measure(run));
        }
    }

    /// Whether anything more becomes of a message whose life ends for this reason.
    pub fn has_afterlife(&self, reason: Reason) -> bool {
        let Effective { dead_letter, retry, .. } = &self.effective;
        dead_letter.is_some() || (retry.is_some() && reason == Reason::Rejected)
    }

    /// Nothing waits any more.
    pub fn emptied(&mut self) {
        self.body_bytes = 0;
        self.expiring = self.effective.message_ttl_ms.is_some();
    }

    /// Whether publishes may be refused.
    pub fn refuses(&self) -> bool {
        let Effective { max_length, max_length_bytes, overflow, .. } = &self.effective;
        *overflow != Overflow::DropHead && (max_length.is_some() || max_length_bytes.is_some())
    }

    /// Whether the head is dropped of what is too long.
    pub fn drops_head(&self) -> bool {
        let Effective { max_length, max_length_bytes, overflow, .. } = &self.effective;
        *overflow == Overflow::DropHead && (max_length.is_some() || max_length_bytes.is_some())
    }
}

impl QueueState {
    /// Has the queue follow these settings from now on.
    pub fn set_effective(&mut self, effective: Effective, counts_returns: bool) {
        if self.rules.is_none() && effective.is_plain() && !counts_returns {
            return;
        }
        let measures = effective.max_length_bytes.is_some();
        self.consumers.set_single_active(effective.single_active_consumer);
        let now_ms = self.worker.now_ms();
        let body_bytes = if measures { self.guess_body_bytes() } else { 0 };
        let rules = self.rules.get_or_insert_default();
        if measures && rules.effective.max_length_bytes.is_none() {
            rules.body_bytes = body_bytes;
        }
        if effective.expires_ms != rules.effective.expires_ms {
            rules.used_ms = now_ms;
        }
        rules.expiring |= effective.message_ttl_ms.is_some();
        rules.counts_returns = counts_returns;
        let dedup = effective.dedup.clone();
        rules.effective = effective;
        self.deduplicate_by(dedup);
    }

    /// What waits may expire, by what was found at start.
    pub fn set_expiring(&mut self) {
        self.rules.get_or_insert_default().expiring = true;
    }

    /// Bytes of the bodies that are ready: exact for what is in memory; for what is on disk as if it had come through the
    /// default exchange with no more than a delivery mode.
    fn guess_body_bytes(&self) -> u64 {
        let prefix_bytes = GUESSED_PREFIX_BYTES + self.name_bytes() as u64;
        let mut bytes = 0;
        for lane in self.lanes.iter() {
            bytes += lane.ready.resident().map(Rules::measure).sum::<u64>();
            bytes += lane.ready.cold.iter().map(|r| r.bytes.saturating_sub(r.count * prefix_bytes)).sum::<u64>();
        }
        bytes
    }
}
