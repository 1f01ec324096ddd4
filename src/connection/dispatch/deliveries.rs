//! Deliveries: what queues have assigned is written, and the queues are told.

use smallvec::SmallVec;

use super::Dispatcher;
use crate::broker::outbox::ConsumerSlot;
use crate::channel::trace;
use crate::connection::scratch::Scratch;
use crate::storage::chunk::Run;

/// What has been written for one consumer.
pub(super) struct Sent {
    slot: ConsumerSlot,
    bytes: usize,
    /// Positions of durable messages, as level, first and end, that need no acknowledgement.
    settled: SmallVec<[(u8, u64, u64); 4]>,
}

impl Sent {
    fn settle(&mut self, (level, first, end): (u8, u64, u64)) {
        match self.settled.last_mut() {
            Some((last_level, _, last_end)) if *last_end == first && *last_level == level => *last_end = end,
            _ => self.settled.push((level, first, end)),
        }
    }
}

impl Dispatcher {
    /// Writes messages that a queue assigned. To be followed, sooner or later, by [`report_sent`](Self::report_sent).
    pub fn deliver(&mut self, slot: ConsumerSlot, run: Run, scratch: &mut Scratch) {
        if self.sent.as_ref().is_some_and(|sent| sent.slot != slot) {
            self.report_sent(scratch);
        }
        let Some(consumer) = self.session.consumer(slot) else { return };
        let Ok(at) = self.find(consumer.channel) else { return };
        if self.session.vhost.is_traced() {
            let (channel, queue) = (consumer.channel, consumer.queue.clone());
            trace::delivered(channel, queue.name(), &run, &mut self.session, scratch);
        }
        let sent = self.sent.get_or_insert_with(|| Sent { slot, bytes: 0, settled: SmallVec::new() });
        sent.bytes += run.bytes();
        if let Some(settled) = self.channels[at].deliver(slot, run, &self.session, &mut scratch.out) {
            sent.settle(settled);
        }
    }

    /// Tells the queue of the last deliveries that so much of what it assigned is written, and that there is room for
    /// more.
    pub fn report_sent(&mut self, scratch: &mut Scratch) {
        let Some(Sent { slot, bytes, settled }) = self.sent.take() else { return };
        if let Some(consumer) = self.session.consumer(slot)
            && let Some(key) = consumer.key
        {
            consumer.queue.sent(key, bytes, &settled, &mut scratch.wakes);
        }
    }

    /// While memory is short, has what was delivered and is on disk leave it, a part at a time. Returns whether there is
    /// more.
    pub fn give_up_memory(&mut self) -> bool {
        let Dispatcher { channels, session, .. } = self;
        session.broker.alarm.is_paging() && channels.iter_mut().any(|channel| channel.forget_bytes(session))
    }

    /// A consumer's queue is gone.
    pub fn consumer_cancelled(&mut self, slot: ConsumerSlot, scratch: &mut Scratch) {
        let Some(consumer) = self.session.consumer(slot) else { return };
        let Ok(at) = self.find(consumer.channel) else { return };
        self.channels[at].consumer_cancelled(slot, &mut self.session, scratch);
    }
}
