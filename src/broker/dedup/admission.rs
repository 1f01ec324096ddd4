//! A publish on its way through exchanges that deduplicate.
//!
//! What comes between looking a key up and remembering it, the message's way into its queues, happens under one lock of
//! the virtual host, so that of two that come at the same time one is taken, and the other is told when that one is kept.
//! Only publishes that meet such an exchange, and have the header that it compares, take this lock: the gate.

use std::sync::{Arc, Mutex, MutexGuard};

use smallvec::SmallVec;

use super::Mark;
use crate::broker::exchange::Exchange;
use crate::broker::worker::Worker;
use crate::storage::Epoch;

pub struct Admission<'v> {
    gate: &'v Mutex<()>,
    /// Locked since the first exchange was asked.
    locked: Option<MutexGuard<'v, ()>>,
    worker: &'v Worker,
    /// Where the message is new.
    claims: SmallVec<[(Arc<Exchange>, Mark); 1]>,
    is_duplicate: bool,
    /// With which everything is kept of which this is a duplicate.
    epoch: Epoch,
}

impl<'v> Admission<'v> {
    pub fn new(gate: &'v Mutex<()>, worker: &'v Worker) -> Admission<'v> {
        let claims = SmallVec::new();
        Admission { gate, locked: None, worker, claims, is_duplicate: false, epoch: Epoch::NONE }
    }

    /// Whether the exchange lets a message with these headers through.
    pub(in crate::broker) fn asks(&mut self, exchange: &Arc<Exchange>, headers: &[u8]) -> bool {
        let Some(mark) = exchange.window().as_ref().and_then(|dedup| Mark::of_headers(headers, dedup.header()?)) else {
            return true;
        };
        if self.locked.is_none() {
            self.locked = Some(self.gate.lock().expect("no code panics while it holds the gate"));
        }
        let window = exchange.window();
        let Some(dedup) = window.as_ref() else { return true };
        if dedup.is_duplicate(&mark, self.worker.now_ms()) {
            self.is_duplicate = true;
            self.epoch = self.epoch.max(dedup.epoch());
            return false;
        }
        drop(window);
        self.claims.push((exchange.clone(), mark));
        true
    }

    /// Whether some exchange has looked at the message.
    pub fn is_asked(&self) -> bool {
        self.locked.is_some()
    }

    /// Whether some exchange has dropped it.
    pub fn is_duplicate(&self) -> bool {
        self.is_duplicate
    }

    /// With which everything is kept of which this is a duplicate; none if that is not to be kept.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The message is in some queue: has it remembered, in the epoch in which it is kept, if it is. The caller has held the
    /// log since before the message was enqueued.
    pub fn remember(&mut self, kept_in: Epoch) {
        let now_ms = self.worker.now_ms();
        for (exchange, mark) in self.claims.drain(..) {
            if let Some(dedup) = exchange.window().as_mut() {
                dedup.note(&mark, kept_in.is_some(), now_ms);
                dedup.log();
            }
        }
    }
}
