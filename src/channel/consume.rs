//! Consuming: `basic.consume`, `basic.cancel`, `basic.get`, `basic.qos`, `basic.recover`, and writing deliveries.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::ledger::{Delivered, DeliveredFrom};
use super::methods::unimplemented;
use super::publish::REPLY_TO_NAMES;
use super::{Channel, Suspended, trace};
use crate::broker::arguments::{ConsumerArguments, Resource};
use crate::broker::outbox::ConsumerSlot;
use crate::broker::queue::{Got, NewConsumer, Queue, QueueDefinition};
use crate::broker::vhost::REPLY_TO_PREFIX;
use crate::connection::scratch::Scratch;
use crate::connection::session::{LocalConsumer, Session};
use crate::error::Fault;
use crate::storage::chunk::Run;
use crate::wire::deliver::{self, Recipient};

impl Channel {
    pub(super) fn basic_method(
        &mut self,
        method: basic::AMQPMethod,
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        use basic::AMQPMethod as M;
        match method {
            M::Consume(consume) => self.basic_consume(consume, session, scratch),
            M::Cancel(cancel) => self.basic_cancel(cancel, session, scratch),
            // The answer to a cancel that the broker sent with nowait; some clients send it all the same.
            M::CancelOk(_) => Ok(()),
            M::Get(get) => self.basic_get(get, session, scratch),
            M::Recover(basic::Recover { requeue }) => {
                self.recover(requeue, session, scratch)?;
                self.reply(scratch, AMQPClass::Basic(M::RecoverOk(basic::RecoverOk {})));
                Ok(())
            }
            M::RecoverAsync(basic::RecoverAsync { requeue }) => self.recover(requeue, session, scratch),
            _ => Err(unimplemented()),
        }
    }

    /// `payload` gives the prefetch size, a field that the decoded method leaves out.
    pub(super) fn basic_qos(
        &mut self,
        qos: basic::Qos,
        payload: &[u8],
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        let prefetch_size = payload.get(4..8).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        if prefetch_size != 0 {
            return Err(Fault::not_implemented(format!("prefetch_size!=0 ({prefetch_size})")));
        }
        // As in RabbitMQ, a prefetch for each consumer to come also lifts the one that all share.
        let shared = if qos.global { u32::from(qos.prefetch_count) } else { 0 };
        if !qos.global {
            self.prefetch = qos.prefetch_count;
        }
        self.limiter.set_prefetch(shared);
        self.limit_lifted(session, scratch);
        self.reply(scratch, AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {})));
        Ok(())
    }

    fn basic_consume(
        &mut self,
        consume: basic::Consume,
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        let is_reply_consumer = REPLY_TO_NAMES.contains(&consume.queue.as_str().as_bytes());
        if is_reply_consumer && self.reply_queue.is_some() {
            return Err(Fault::precondition_failed("reply consumer already set"));
        }
        let tag = consume.consumer_tag.as_str();
        if self.consumers.iter().any(|(known, _)| **known == *tag) {
            return Err(Fault::not_allowed(format!("attempt to reuse consumer tag '{tag}'")));
        }
        let max = session.limits().consumers_per_channel;
        if max != 0 && self.consumers.len() >= max as usize {
            return Err(Fault::not_allowed(format!("reached maximum ({max}) of consumers per channel")));
        }
        let tag: Arc<str> = if tag.is_empty() { generated("amq.ctag-").into() } else { tag.into() };
        let queue = if is_reply_consumer {
            self.new_reply_queue(&consume, session)?
        } else {
            self.queue_to_read(consume.queue.as_str(), session)?
        };
        // Nobody else consumes there, so its arguments mean nothing.
        let ConsumerArguments { priority, timeout_ms } = if is_reply_consumer {
            ConsumerArguments::default()
        } else {
            ConsumerArguments::of(Resource::queue(queue.name(), session.vhost.name()), &consume.arguments)?
        };
        let slot = session.add_consumer(LocalConsumer {
            channel: self.number,
            tag: tag.clone(),
            queue: queue.clone(),
            key: None,
            no_ack: consume.no_ack,
            timeout_ms,
        });
        let new = NewConsumer {
            connection: session.id,
            channel: self.number,
            tag: tag.clone(),
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority,
            prefetch: u32::from(self.prefetch),
            outbox: session.outbox.clone(),
            slot,
            limiter: self.limiter.clone(),
            window_bytes: session.limits().consumer_window_bytes as usize,
            arguments: (!consume.arguments.inner().is_empty()).then(|| Arc::new(consume.arguments.clone())),
        };
        let key = match queue.consume(new, &mut scratch.wakes) {
            Ok(key) => key,
            Err(fault) => {
                session.remove_consumer(slot);
                return Err(fault);
            }
        };
        if let Some(consumer) = session.consumer_mut(slot) {
            consumer.key = Some(key);
        }
        if is_reply_consumer {
            session.vhost.register_reply_queue(queue.clone());
            self.reply_queue = Some(queue);
        }
        self.consumers.push((tag.clone(), slot));
        if !consume.nowait {
            let ok = basic::ConsumeOk { consumer_tag: tag.as_ref().into() };
            self.reply(scratch, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)));
        }
        Ok(())
    }

    /// Direct reply-to: a queue of this consumer alone, under a name that cannot be guessed.
    fn new_reply_queue(&self, consume: &basic::Consume, session: &Session) -> Result<Arc<Queue>, Fault> {
        if !consume.no_ack {
            return Err(Fault::precondition_failed("reply consumer cannot acknowledge"));
        }
        let definition = QueueDefinition {
            vhost: session.vhost.name().clone(),
            name: generated(REPLY_TO_PREFIX).into(),
            durable: false,
            auto_delete: true,
            exclusive_owner: Some(session.id),
            arguments: Default::default(),
        };
        Ok(Queue::bounded(definition, session.limits().reply_queue_bytes))
    }

    pub(super) fn drop_reply_queue(&mut self, session: &Session) {
        if let Some(queue) = self.reply_queue.take() {
            // Auto-delete has marked it dead with its consumer.
            session.vhost.remove_reply_queue(&queue);
        }
    }

    fn basic_cancel(
        &mut self,
        cancel: basic::Cancel,
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        let tag = cancel.consumer_tag.as_str();
        if let Some(at) = self.consumers.iter().position(|(known, _)| **known == *tag) {
            let (_, slot) = self.consumers.remove(at);
            self.end_consumer(slot, session, scratch);
        }
        if !cancel.nowait {
            let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
            self.reply(scratch, AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)));
        }
        Ok(())
    }

    /// Takes a consumer from its queue; what was assigned to it and not written goes back as if nothing had happened.
    fn end_consumer(&mut self, slot: ConsumerSlot, session: &mut Session, scratch: &mut Scratch) {
        let Some(consumer) = session.consumer(slot) else { return };
        let (queue, key, no_ack) = (consumer.queue.clone(), consumer.key, consumer.no_ack);
        let mut unsent_count = 0;
        let gather = || {
            let mut unsent = Vec::new();
            session.take_unsent(slot, &mut unsent);
            unsent_count = unsent.iter().map(|returned| returned.run.count).sum();
            unsent
        };
        let ended = queue.release(key.as_slice(), gather, &mut scratch.wakes);
        session.remove_consumer(slot);
        if self.reply_queue.as_ref().is_some_and(|reply| reply.id == queue.id) {
            self.drop_reply_queue(session);
        } else if ended {
            session.remove_queue(&queue);
        }
        if !no_ack {
            self.give_credit_back(unsent_count, session, scratch);
        }
    }

    /// The queue of a consumer is gone: tells the client, if it can be told.
    pub fn consumer_cancelled(&mut self, slot: ConsumerSlot, session: &mut Session, scratch: &mut Scratch) {
        let Some(consumer) = session.remove_consumer(slot) else { return };
        self.consumers.retain(|(_, of)| *of != slot);
        if session.capabilities.consumer_cancel_notify && !self.closing {
            let cancel = basic::Cancel { consumer_tag: consumer.tag.as_ref().into(), nowait: true };
            self.tell(scratch, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)));
        }
    }

    pub(super) fn basic_get(
        &mut self,
        get: basic::Get,
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        let queue = self.queue_to_read(get.queue.as_str(), session)?;
        let (run, remaining) = match queue.get(get.no_ack, &session.outbox, &mut scratch.wakes) {
            Got::Message(run, remaining) => (run, remaining),
            Got::Empty => {
                self.reply(scratch, AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})));
                return Ok(());
            }
            Got::Loading => {
                self.suspend(Suspended::Get(get), session);
                return Ok(());
            }
        };
        if session.vhost.is_traced() {
            trace::delivered(self.number, queue.name(), &run, session, scratch);
        }
        let tag = self.take_tags(1);
        deliver::get_ok(&mut scratch.out, self.recipient(b"", session), tag, &run, remaining);
        if get.no_ack {
            run.settle();
        } else {
            let due = self.due(None, &queue, session);
            self.ledger.file(Delivered { first_tag: tag, run, from: DeliveredFrom { queue, consumer: None }, due });
        }
        Ok(())
    }

    fn recover(&mut self, requeue: bool, session: &mut Session, scratch: &mut Scratch) -> Result<(), Fault> {
        if !requeue {
            return Err(Fault::not_implemented("requeue=false"));
        }
        let mut outstanding = Vec::new();
        self.ledger.take_all(|delivered| outstanding.push(delivered));
        self.requeue(outstanding, session, scratch);
        Ok(())
    }

    /// Writes messages that were assigned to a consumer of this channel, and files them if they are to be acknowledged.
    /// If not, they are settled: returns the positions of durable ones, as level, first and end.
    pub fn deliver(
        &mut self,
        slot: ConsumerSlot,
        run: Run,
        session: &Session,
        out: &mut Vec<u8>,
    ) -> Option<(u8, u64, u64)> {
        let first_tag = self.take_tags(run.count);
        let consumer = session.consumer(slot).expect("nothing is assigned to a consumer that has gone");
        deliver::deliveries(out, self.recipient(consumer.tag.as_bytes(), session), first_tag, &run);
        if consumer.no_ack {
            let settled = run.epoch.is_some().then(|| (run.lane, run.first_seq, run.end_seq()));
            run.settle();
            return settled;
        }
        let from = DeliveredFrom { queue: consumer.queue.clone(), consumer: consumer.key };
        let due = self.due(consumer.timeout_ms, &consumer.queue, session);
        self.ledger.file(Delivered { first_tag, run, from, due });
        None
    }

    fn take_tags(&mut self, count: u32) -> u64 {
        let first = self.next_tag;
        self.next_tag += u64::from(count);
        first
    }

    fn recipient<'a>(&self, consumer_tag: &'a [u8], session: &Session) -> Recipient<'a> {
        Recipient { channel: self.number, consumer_tag, frame_max: session.frame_max }
    }
}

/// A name that cannot be guessed, as RabbitMQ generates them: 128 random bits behind the prefix.
fn generated(prefix: &str) -> String {
    format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()))
}
