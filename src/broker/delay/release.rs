//! Messages whose time has come: to the tail of their queue, or through their exchange.

use smallvec::SmallVec;
use std::sync::Arc;

use super::envelope::{self, Why};
use super::{Owner, header};
use crate::broker::exchange::Exchange;
use crate::broker::message::{Message, Whole};
use crate::broker::outbox::Wakes;
use crate::broker::queue::{Queue, Surroundings};
use crate::broker::routes::{Batch, Routes, TargetId};
use crate::broker::vhost::VHost;
use crate::storage::chunk::OpenChunk;
use crate::storage::record::{self, Record};
use crate::wire::properties::PropertiesView;

/// Lets messages go, given in their envelopes.
pub fn release(owner: &Owner, around: &Surroundings, due: &[Record<'_>], now_ms: u64) {
    match owner {
        Owner::Queue(queue) => {
            if let Some(queue) = queue.upgrade() {
                to_queue(&queue, due, now_ms);
            }
        }
        Owner::Exchange(exchange) => {
            if let (Some(vhost), Some(exchange)) = (around.vhost.upgrade(), exchange.upgrade()) {
                Publisher::new(&vhost, &exchange, around).publish(due);
            }
        }
    }
}

fn to_queue(queue: &Arc<Queue>, due: &[Record<'_>], now_ms: u64) {
    let (mut wakes, mut rewritten) = (Wakes::default(), Rewritten::default());
    let mut open = OpenChunk::default();
    for envelope in due {
        let message = envelope::message(envelope);
        open.push(rewritten.prefix(&message, envelope::why(envelope)), message.body());
        if open.is_full() {
            queue.enqueue_released(&open.close(), now_ms, &mut wakes);
        }
    }
    if !open.is_empty() {
        queue.enqueue_released(&open.close(), now_ms, &mut wakes);
    }
}

/// What the last message's record up to its body came to: one that looks the same comes to the same.
#[derive(Default)]
struct Rewritten {
    /// But for the length of the body.
    before: Vec<u8>,
    after: Vec<u8>,
}

/// Where in a record the length of the body ends.
const BODY_LENGTH_END: usize = 4;

impl Rewritten {
    /// The record up to its body as the message goes on.
    fn prefix<'r>(&'r mut self, message: &Record<'r>, why: Why) -> &'r [u8] {
        if why == Why::Rejected {
            return message.prefix();
        }
        let before = &message.prefix()[BODY_LENGTH_END..];
        if self.after.is_empty() || self.before != before {
            self.before.clear();
            self.before.extend_from_slice(before);
            self.after = released(message);
        }
        self.after[..BODY_LENGTH_END].copy_from_slice(&(message.body_bytes() as u32).to_le_bytes());
        &self.after
    }
}

/// The record up to its body, with the delay negated.
fn released(message: &Record<'_>) -> Vec<u8> {
    let view = PropertiesView::parse(message.properties(), u8::MAX).expect("properties were checked when they came");
    let properties = header::with_delay_passed(&view);
    let mut prefix = Vec::new();
    let (exchange, key, body_bytes) = (message.exchange(), message.routing_key(), message.body_bytes() as u32);
    record::append_prefix(&mut prefix, message.flags(), exchange, key, &properties, body_bytes);
    prefix
}

/// Publishes through one exchange, as a client would.
struct Publisher<'a> {
    vhost: &'a VHost,
    exchange: &'a Arc<Exchange>,
    routes: Routes,
    batch: Batch,
    wakes: Wakes,
}

impl<'a> Publisher<'a> {
    fn new(vhost: &'a VHost, exchange: &'a Arc<Exchange>, around: &Surroundings) -> Publisher<'a> {
        let (routes, batch) = (Routes::new(around.store.clone()), Batch::of_broker());
        Publisher { vhost, exchange, routes, batch, wakes: Wakes::default() }
    }

    fn publish(mut self, due: &[Record<'_>]) {
        let mut rewritten = Rewritten::default();
        for envelope in due {
            let message = envelope::message(envelope);
            self.publish_one(rewritten.prefix(&message, envelope::why(envelope)), message.body());
        }
        self.batch.flush(&mut self.routes, &mut self.wakes);
    }

    fn publish_one(&mut self, prefix: &[u8], body: &[u8]) {
        let head = Record::of_prefix(prefix);
        let view = PropertiesView::parse(head.properties(), u8::MAX).expect("they have just been written");
        let has_more_keys = view.has_cc_or_bcc();
        if !has_more_keys && let Some(target) = self.routes.find(head.exchange(), head.routing_key()) {
            return self.push(target, prefix, body);
        }
        let without_bcc = view.has_bcc().then(|| without_bcc(&head, &view));
        let shown = without_bcc.as_deref().unwrap_or(prefix);
        let mut keys: SmallVec<[&[u8]; 4]> = SmallVec::from_slice(&[head.routing_key()]);
        keys.extend(view.cc_and_bcc().unwrap_or_default());
        let mut message = Waited(Whole { properties: &view, table_depth: u8::MAX, prefix: shown, body });
        let route = self.vhost.route(self.exchange, &keys, &mut message);
        let target = match route.cacheable && !has_more_keys {
            true => self.routes.insert(self.exchange, head.routing_key(), route),
            false => self.routes.target(&route.queues),
        };
        self.push(target, shown, body);
    }

    fn push(&mut self, target: TargetId, prefix: &[u8], body: &[u8]) {
        if !self.routes.queues(target).is_empty() {
            self.batch.chunk(&mut self.routes, target, &mut self.wakes).push(prefix, body);
        }
    }
}

/// The record up to its body without the header that no consumer sees.
fn without_bcc(head: &Record<'_>, view: &PropertiesView<'_>) -> Vec<u8> {
    let mut prefix = Vec::new();
    let (exchange, key, body_bytes) = (head.exchange(), head.routing_key(), head.body_bytes() as u32);
    record::append_prefix(&mut prefix, head.flags(), exchange, key, &view.without_bcc(), body_bytes);
    prefix
}

/// A message that has been held back, and is not again.
struct Waited<'a>(Whole<'a>);

impl Message for Waited<'_> {
    fn headers(&mut self) -> Option<amq_protocol::types::FieldTable> {
        self.0.headers()
    }

    fn properties(&self) -> Option<&PropertiesView<'_>> {
        self.0.properties()
    }

    fn record(&self) -> Option<Vec<u8>> {
        self.0.record()
    }

    fn has_waited(&self) -> bool {
        true
    }
}
