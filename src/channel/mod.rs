//! One AMQP channel: its state, and the methods that clients send on it.

mod confirms;
mod consume;
mod content;
#[doc(hidden)]
pub mod ledger;
mod methods;
mod publish;
mod report;
mod suspension;
pub mod timeout;
pub mod trace;
mod transaction;

use std::sync::Arc;

use amq_protocol::protocol::AMQPClass;

use self::confirms::Confirms;
pub use self::content::Content;
use self::ledger::Ledger;
pub use self::methods::unimplemented;
pub use self::publish::{Template, Whole};
pub use self::suspension::{Resumed, Suspended};
use self::transaction::Transaction;
use crate::broker::outbox::ConsumerSlot;
use crate::broker::queue::limiter::ChannelLimiter;
use crate::broker::queue::{HowReturned, HowSettled, Queue, QueueId, Returned};
use crate::broker::quota::ChannelSlot;
use crate::connection::scratch::{Scratch, Settled};
use crate::connection::session::Session;
use crate::error::Fault;
use crate::wire::hot::{Outcome, Settle};
use crate::wire::method;

/// What a publish means on this channel beyond routing it.
enum Mode {
    Plain,
    Confirm(Confirms),
    Transaction(Box<Transaction>),
}

pub struct Channel {
    pub number: u16,
    /// The server has closed it and waits for `close-ok`: everything else is ignored.
    pub closing: bool,
    pub content: Content,
    ledger: Ledger,
    /// The delivery tag of the next delivery.
    next_tag: u64,
    limiter: Arc<ChannelLimiter>,
    /// `basic.qos` without `global`, for consumers yet to start; 0 is unlimited.
    prefetch: u16,
    consumers: Vec<(Arc<str>, ConsumerSlot)>,
    mode: Mode,
    /// What an empty queue name means.
    last_queue: Arc<str>,
    /// The consumer of direct replies to what this channel publishes.
    reply_queue: Option<Arc<Queue>>,
    suspended: Option<Suspended>,
    /// Whether the session's list of channels that wait for the disk has this one.
    listed_as_waiting: bool,
    /// Of the channels that the user may have.
    _slot: ChannelSlot,
}

impl Channel {
    pub fn new(number: u16, session: &Session, slot: ChannelSlot) -> Box<Channel> {
        Box::new(Channel {
            number,
            closing: false,
            content: Content::default(),
            ledger: Ledger::default(),
            next_tag: 1,
            limiter: ChannelLimiter::new(session.limits().unacked_per_channel),
            prefetch: 0,
            consumers: Vec::new(),
            mode: Mode::Plain,
            last_queue: Arc::default(),
            reply_queue: None,
            suspended: None,
            listed_as_waiting: false,
            _slot: slot,
        })
    }

    /// Handles `basic.ack`, `basic.nack` and `basic.reject`.
    pub fn settle(&mut self, settle: Settle, session: &mut Session, scratch: &mut Scratch) -> Result<(), Fault> {
        if let Mode::Transaction(transaction) = &mut self.mode {
            return transaction.settle(&mut self.ledger, settle);
        }
        if settle.outcome == Outcome::Requeued {
            let mut returned = Vec::new();
            self.take_outstanding(settle, |delivered| returned.push(delivered))?;
            self.requeue(returned, session, scratch);
            return Ok(());
        }
        let mut credit = 0;
        let routes = &mut session.routes;
        let how = how_settled(settle.outcome);
        self.take_outstanding(settle, |delivered| {
            let ledger::DeliveredFrom { queue, consumer } = delivered.from;
            credit += if consumer.is_some() { delivered.run.count } else { 0 };
            scratch.settle(Settled { queue, consumer, run: delivered.run, how }, routes);
        })?;
        self.ledger.sweep();
        self.give_credit_back(credit, session, scratch);
        Ok(())
    }

    fn take_outstanding(&mut self, settle: Settle, mut each: impl FnMut(ledger::Delivered)) -> Result<(), Fault> {
        let tag = settle.delivery_tag;
        let taken =
            if settle.multiple { self.ledger.take_through(tag, each) } else { self.ledger.take(tag).map(&mut each) };
        taken.map_err(|_| Fault::precondition_failed(format!("unknown delivery tag {tag}")))
    }

    /// Tells the channel's limit that deliveries were settled, and the queues that waited for it.
    fn give_credit_back(&self, count: u32, session: &mut Session, scratch: &mut Scratch) {
        if count == 0 {
            return;
        }
        self.limiter.give_back(count);
        self.limit_lifted(session, scratch);
    }

    /// Lets queues go on that waited for the channel's limit.
    fn limit_lifted(&self, session: &mut Session, scratch: &mut Scratch) {
        while let Some(queue) = self.limiter.next_waiting() {
            // Credit of single consumers comes back first, so that a queue does not find its consumer without.
            session.apply(scratch);
            queue.limit_lifted(&self.limiter, &mut scratch.wakes);
        }
    }

    /// Puts deliveries back into their queues, flagged redelivered.
    fn requeue(&mut self, delivered: Vec<ledger::Delivered>, session: &mut Session, scratch: &mut Scratch) {
        session.apply(scratch);
        let mut credit = 0;
        for (queue, returned) in by_queue(delivered.into_iter().map(|d| {
            credit += if d.from.consumer.is_some() { d.run.count } else { 0 };
            unsettled(d)
        })) {
            let ended = queue.release(&[], || returned, &mut scratch.wakes);
            debug_assert!(!ended, "a queue ends with its last consumer only");
        }
        self.give_credit_back(credit, session, scratch);
    }

    /// Confirms what has been published and is in its queues, as far as it is as durable as it is to be.
    pub fn confirm(&mut self, session: &mut Session, scratch: &mut Scratch) {
        let Mode::Confirm(confirms) = &mut self.mode else { return };
        confirms.unlist();
        confirms.refuse(scratch.batch.take_refused(self.number));
        let epoch = scratch.batch.epoch();
        if epoch.is_some() || confirms.is_waiting() {
            return self.confirm_when_kept(epoch, session, scratch);
        }
        confirms.confirm_all(self.number, &mut scratch.out);
    }

    /// Ends the channel. What is not confirmed by now will not be, what waits for the disk is not answered.
    pub fn release(&mut self, session: &mut Session, scratch: &mut Scratch) {
        self.leave(session, scratch);
        self.mode = Mode::Plain;
        self.suspended = None;
    }

    /// Takes out of the model what the channel has there: its consumers go, what they had goes back, an open transaction
    /// is rolled back. Answers that wait for the disk still do.
    pub fn leave(&mut self, session: &mut Session, scratch: &mut Scratch) {
        session.apply(scratch);
        self.content = Content::Nothing;
        match &self.suspended {
            Some(Suspended::Get(_)) => self.suspended = None,
            // The connection is to close and will not wait for room on the disk.
            Some(Suspended::Reply { until, .. }) => session.wait_until_settled(*until),
            _ => {}
        }
        if let Mode::Transaction(transaction) = &mut self.mode {
            std::mem::take(transaction).roll_back(&mut self.ledger);
        }
        let mut outstanding = Vec::new();
        self.ledger.take_all(|delivered| outstanding.push(delivered));
        let mut per_queue = by_queue(outstanding.into_iter().map(unsettled));
        let consumers = std::mem::take(&mut self.consumers);
        let mut slots: Vec<(Arc<Queue>, ConsumerSlot)> = Vec::new();
        for (_, slot) in consumers {
            let Some(consumer) = session.consumer(slot) else { continue };
            let queue = consumer.queue.clone();
            if !per_queue.iter().any(|(of, _)| of.id == queue.id) {
                per_queue.push((queue.clone(), Vec::new()));
            }
            slots.push((queue, slot));
        }
        for (queue, mut returned) in per_queue {
            let of_queue: Vec<_> = slots.iter().filter(|(of, _)| of.id == queue.id).map(|(_, slot)| *slot).collect();
            let keys: Vec<_> = of_queue.iter().filter_map(|slot| session.consumer(*slot)?.key).collect();
            let gather = || {
                for slot in &of_queue {
                    session.take_unsent(*slot, &mut returned);
                }
                returned
            };
            let ended = queue.release(&keys, gather, &mut scratch.wakes);
            for slot in of_queue {
                session.remove_consumer(slot);
            }
            if ended {
                session.remove_queue(&queue);
            }
        }
        self.drop_reply_queue(session);
    }

    /// Lets go of the bytes of what is delivered and on disk, as memory is short; a bounded part of it. Returns whether there
    /// is more.
    pub fn forget_bytes(&mut self, session: &Session) -> bool {
        const ENTRIES_A_STEP: usize = 256;
        let store = session.broker.store.as_ref();
        store.is_some_and(|store| self.ledger.forget_bytes(store, ENTRIES_A_STEP))
    }

    /// Handles a method other than those with content and those that settle; appends the replies.
    /// `payload` is what the method was decoded from.
    pub fn method(
        &mut self,
        method: AMQPClass,
        payload: &[u8],
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        session.apply(scratch);
        self.confirm(session, scratch);
        let handled = self.handle(method, payload, session, scratch);
        // It may have changed where messages go.
        session.routes.begin_batch();
        handled
    }

    fn reply(&self, scratch: &mut Scratch, class: AMQPClass) {
        method::encode(&mut scratch.out, self.number, class);
    }
}

/// What an outcome other than requeuing means to the queue.
fn how_settled(outcome: Outcome) -> HowSettled {
    if outcome == Outcome::Rejected { HowSettled::Rejected } else { HowSettled::Acked }
}

fn unsettled(delivered: ledger::Delivered) -> (Arc<Queue>, Returned) {
    let ledger::DeliveredFrom { queue, consumer } = delivered.from;
    (queue, Returned { run: delivered.run, consumer, to_be_acked: true, how: HowReturned::Unsettled })
}

/// Groups what goes back by queue, in the order in which queues first appear.
fn by_queue(returned: impl Iterator<Item = (Arc<Queue>, Returned)>) -> Vec<(Arc<Queue>, Vec<Returned>)> {
    let mut groups: Vec<(Arc<Queue>, Vec<Returned>)> = Vec::new();
    let mut index: hashbrown::HashMap<QueueId, usize> = hashbrown::HashMap::new();
    for (queue, item) in returned {
        let at = *index.entry(queue.id).or_insert_with(|| {
            groups.push((queue, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(item);
    }
    groups
}
