//! Dead letters: messages that leave a queue for its dead-letter exchange, because they were rejected, have expired, were
//! too many, or were returned too often.
//!
//! A dead letter enters its new queues and leaves the old one in one epoch, so after a crash it is in one place. What is
//! rewritten is the same for messages that came in alike, so it is made once for a run of them.

mod death;

use std::sync::Arc;

use smallvec::SmallVec;

use self::death::Death;
use crate::broker::exchange::Exchange;
use crate::broker::message::Whole;
use crate::broker::outbox::Wakes;
use crate::broker::policy::effective::DeadLetter;
use crate::broker::queue::{Dying, Queue};
use crate::broker::router::Route;
use crate::broker::routes::{Batch, Routes, TargetId};
use crate::broker::vhost::VHost;
use crate::storage::chunk::{Chunk, OpenChunk};
use crate::storage::record::{self, Record, flags};
use crate::wire::properties::{PropertiesView, Property};

/// Why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Rejected,
    Expired,
    MaxLength,
    DeliveryLimit,
}

impl Reason {
    /// As `x-death` names it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::MaxLength => "maxlen",
            Reason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// How long dead letters rest that could not be moved, where none may be lost.
const RETRY_MS: u64 = 1000;

/// Moves messages from a queue to where its dead letters go. Where none may be lost, what cannot be moved stays with the
/// queue and is tried again.
pub(super) fn bury(queue: &Arc<Queue>, target: &DeadLetter, dying: Vec<Dying>, now_ms: u64) {
    let vhost = queue.vhost();
    let exchange = vhost.as_ref().and_then(|vhost| vhost.find_exchange(&target.exchange));
    match (vhost, exchange) {
        (Some(vhost), Some(exchange)) => {
            let undertaker = Undertaker::new(queue, &vhost, target, &exchange, now_ms / 1000);
            if target.at_least_once { undertaker.bury_surely(dying, now_ms) } else { undertaker.bury_all(dying) }
        }
        _ if target.at_least_once => queue.keep_dying(dying, now_ms + RETRY_MS),
        _ => queue.dropped(dying.into_iter().map(|dying| dying.run)),
    }
}

/// Rewrites, routes and enqueues the dead letters of one queue.
struct Undertaker<'a> {
    queue: &'a Arc<Queue>,
    vhost: &'a VHost,
    target: &'a DeadLetter,
    exchange: &'a Arc<Exchange>,
    time_s: u64,
    routes: Routes,
    batch: Batch,
    wakes: Wakes,
    last: Option<Last>,
    /// Where the first of them went.
    first_target: Option<TargetId>,
}

/// What the last message came to: one that looks the same comes to the same, if no more than its looks counts.
struct Last {
    reason: Reason,
    /// Its record up to the body, but for the length of that.
    before: Vec<u8>,
    after: Vec<u8>,
    to: TargetId,
    is_for_alike: bool,
}

/// A message as a dead letter, and where it goes.
struct Letter {
    /// The record up to the body.
    prefix: Vec<u8>,
    queues: SmallVec<[Arc<Queue>; 1]>,
    /// Whether every message that looks the same goes there too.
    is_for_alike: bool,
}

/// Where in a record the length of the body ends.
const BODY_LENGTH_END: usize = 4;

impl<'a> Undertaker<'a> {
    fn new(
        queue: &'a Arc<Queue>,
        vhost: &'a VHost,
        target: &'a DeadLetter,
        exchange: &'a Arc<Exchange>,
        time_s: u64,
    ) -> Undertaker<'a> {
        let routes = Routes::new(queue.store().cloned());
        let batch = Batch::of_broker();
        Undertaker {
            queue,
            vhost,
            target,
            exchange,
            time_s,
            routes,
            batch,
            wakes: Wakes::default(),
            last: None,
            first_target: None,
        }
    }

    /// Moves all of them, wherever they are taken.
    fn bury_all(mut self, dying: Vec<Dying>) {
        let store = self.queue.store().cloned();
        let _hold = store.as_ref().map(|store| store.log.hold());
        let mut left: usize = dying.iter().map(|dying| dying.run.count as usize).sum();
        for Dying { run, reason, .. } in &dying {
            for record in run.records() {
                self.bury_one(&record, *reason, left);
                left -= 1;
            }
        }
        self.batch.flush(&mut self.routes, &mut self.wakes);
        self.queue.moved(dying.into_iter().map(|dying| dying.run));
    }

    /// `left` is how many there are from this on.
    fn bury_one(&mut self, record: &Record<'_>, reason: Reason, left: usize) {
        let before = &record.prefix()[BODY_LENGTH_END..];
        let is_alike = |last: &Last| last.is_for_alike && last.reason == reason && last.before == before;
        if !self.last.as_ref().is_some_and(is_alike) {
            let Letter { prefix: after, queues, is_for_alike } = self.rewrite(record, reason);
            let to = self.routes.target(&queues);
            self.last = Some(Last { reason, before: before.to_vec(), after, to, is_for_alike });
        }
        let Some(last) = &mut self.last else { return };
        if self.routes.queues(last.to).is_empty() {
            return;
        }
        last.after[..BODY_LENGTH_END].copy_from_slice(&(record.body_bytes() as u32).to_le_bytes());
        let chunk = self.batch.chunk(&mut self.routes, last.to, &mut self.wakes);
        if chunk.is_empty() && *self.first_target.get_or_insert(last.to) == last.to {
            // Most often all go there. A buffer that grows step by step is copied, and its pages are new, at each step.
            let letter_bytes = last.after.len() + record.body_bytes();
            chunk.reserve((left * letter_bytes).min(OpenChunk::FULL_BYTES + letter_bytes));
        }
        chunk.push(&last.after, record.body());
    }

    /// Moves them one by one, each when every queue that it goes to has taken it.
    fn bury_surely(mut self, dying: Vec<Dying>, now_ms: u64) {
        let store = self.queue.store().cloned();
        let mut stay = Vec::new();
        for mut dying in dying.into_iter().flat_map(Dying::singly) {
            let _hold = store.as_ref().map(|store| store.log.hold());
            let Letter { prefix, queues, .. } = self.rewrite(&dying.run.record(0), dying.reason);
            let chunk = Chunk::of_one([&prefix[..], dying.run.record(0).body()].concat());
            let mut is_taken = !queues.is_empty() || !dying.taken_by.is_empty();
            for queue in queues {
                if dying.taken_by.contains(&queue.id) {
                    continue;
                }
                match queue.enqueue(&chunk, true, &mut self.wakes).refused.is_empty() {
                    true => dying.taken_by.push(queue.id),
                    false => is_taken = false,
                }
            }
            match is_taken {
                true => self.queue.moved([dying.run]),
                false => stay.push(dying),
            }
        }
        if !stay.is_empty() {
            self.queue.keep_dying(stay, now_ms + RETRY_MS);
        }
    }

    fn rewrite(&self, record: &Record<'_>, reason: Reason) -> Letter {
        let view = PropertiesView::parse(record.properties(), u8::MAX).expect("properties were checked when they came");
        let headers = view.headers_bytes().unwrap_or_default();
        let mut keys: SmallVec<[&[u8]; 4]> = SmallVec::from_slice(&[record.routing_key()]);
        keys.extend(view.cc_and_bcc().unwrap_or_default());
        let is_dead_letter = record.flags() & flags::DEAD_LETTER != 0;
        let death = Death {
            reason: reason.name(),
            queue: self.queue.name().as_bytes(),
            time_s: self.time_s,
            exchange: record.exchange(),
            routing_keys: &keys,
            original_expiration: view.expiration(),
        };
        let other_key = self.target.routing_key.as_ref().map(|key| key.as_bytes());
        let dropped = other_key.map(|_| &b"CC"[..]);
        let headers = death::headers_after(headers, is_dead_letter, dropped, &death);
        let with_headers = view.with_headers(&headers);
        let properties = match view.has(Property::Expiration) {
            true => {
                PropertiesView::parse(&with_headers, u8::MAX).expect("they have just been written").without_expiration()
            }
            false => with_headers,
        };
        let flags = (record.flags() | flags::HEADERS | flags::DEAD_LETTER) & !flags::EXPIRATION;
        let key = other_key.unwrap_or(record.routing_key());
        let mut prefix = Vec::new();
        let body_bytes = record.body_bytes() as u32;
        record::append_prefix(&mut prefix, flags, self.exchange.name.as_bytes(), key, &properties, body_bytes);
        let new_keys = if other_key.is_some() { &[key] } else { &keys[..] };
        let properties = PropertiesView::parse(&properties, u8::MAX).expect("they have just been written");
        let (prefix_so_far, body) = (&prefix[..], record.body());
        let mut message = Whole { properties: &properties, table_depth: u8::MAX, prefix: prefix_so_far, body };
        let Route { mut queues, cacheable, one_of, .. } = self.vhost.route(self.exchange, new_keys, &mut message);
        if reason != Reason::Rejected {
            let own_name = self.queue.name().as_bytes();
            // Whoever has not died before can only come back to where it died now.
            let is_cycle =
                |name: &[u8]| if is_dead_letter { death::is_cycle(&headers, name) } else { name == own_name };
            queues.retain(|queue| !is_cycle(queue.name().as_bytes()));
        }
        Letter { prefix, queues, is_for_alike: cacheable && one_of.is_empty() }
    }
}
