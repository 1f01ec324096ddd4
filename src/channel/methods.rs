//! The synchronous methods of a channel: each checks, acts on the model and replies, unless `nowait` asks for silence.

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, exchange, queue, tx};
use std::sync::Arc;

use super::{Channel, Confirms, Mode, Transaction};
use crate::broker::queue::Queue;
use crate::broker::vhost::{ExchangeDeclare, QueueDeclare, VHost};
use crate::connection::scratch::{Scratch, Settled};
use crate::connection::session::Session;
use crate::error::{Fault, ReplyCode};
use crate::storage::Epoch;
use crate::wire::hot::Outcome;

impl Channel {
    pub(super) fn handle(
        &mut self,
        method: AMQPClass,
        payload: &[u8],
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        match method {
            AMQPClass::Channel(method) => self.channel_method(method, scratch),
            AMQPClass::Exchange(method) => self.exchange_method(method, session, scratch),
            AMQPClass::Queue(method) => self.queue_method(method, session, scratch),
            AMQPClass::Basic(basic::AMQPMethod::Qos(qos)) => self.basic_qos(qos, payload, session, scratch),
            AMQPClass::Basic(method) => self.basic_method(method, session, scratch),
            AMQPClass::Confirm(method) => self.confirm_method(method, scratch),
            AMQPClass::Tx(method) => self.tx_method(method, session, scratch),
            // Old clients ask for a ticket before anything else; RabbitMQ gives everyone the same.
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                let ok = access::RequestOk {};
                self.reply(scratch, AMQPClass::Access(access::AMQPMethod::RequestOk(ok)));
                Ok(())
            }
            _ => Err(unimplemented()),
        }
    }

    fn channel_method(&mut self, method: channel::AMQPMethod, scratch: &mut Scratch) -> Result<(), Fault> {
        match method {
            channel::AMQPMethod::Flow(channel::Flow { active: true }) => {
                let ok = channel::FlowOk { active: true };
                self.reply(scratch, AMQPClass::Channel(channel::AMQPMethod::FlowOk(ok)));
                Ok(())
            }
            channel::AMQPMethod::Flow(_) => Err(Fault::not_implemented("active=false")),
            channel::AMQPMethod::Open(_) => {
                Err(Fault::connection(ReplyCode::ChannelError, "second 'channel.open' seen"))
            }
            _ => Err(unimplemented()),
        }
    }

    fn exchange_method(
        &mut self,
        method: exchange::AMQPMethod,
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        use exchange::AMQPMethod as M;
        let (vhost, caller) = (&session.vhost, session.caller());
        let (nowait, until, ok) = match method {
            M::Declare(m) => {
                let is_kept = m.durable && !m.passive;
                let declare = ExchangeDeclare {
                    name: m.exchange.as_str(),
                    kind: m.kind.as_str(),
                    passive: m.passive,
                    durable: m.durable,
                    auto_delete: m.auto_delete,
                    internal: m.internal,
                    arguments: m.arguments,
                };
                vhost.exchange_declare_by(declare, caller)?;
                let until = if is_kept { session.defined() } else { Epoch::NONE };
                (m.nowait, until, M::DeclareOk(exchange::DeclareOk {}))
            }
            M::Delete(m) => {
                vhost.exchange_delete_by(m.exchange.as_str(), m.if_unused, caller)?;
                (m.nowait, session.defined(), M::DeleteOk(exchange::DeleteOk {}))
            }
            M::Bind(m) => {
                let key = m.routing_key.as_str().as_bytes();
                vhost.exchange_bind_by(m.destination.as_str(), m.source.as_str(), key, m.arguments, caller)?;
                (m.nowait, session.defined(), M::BindOk(exchange::BindOk {}))
            }
            M::Unbind(m) => {
                let key = m.routing_key.as_str().as_bytes();
                vhost.exchange_unbind_by(m.destination.as_str(), m.source.as_str(), key, m.arguments, caller)?;
                (m.nowait, session.defined(), M::UnbindOk(exchange::UnbindOk {}))
            }
            _ => return Err(unimplemented()),
        };
        if !nowait {
            self.reply_when_kept(until, AMQPClass::Exchange(ok), session, scratch);
        }
        Ok(())
    }

    fn queue_method(
        &mut self,
        method: queue::AMQPMethod,
        session: &mut Session,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        use queue::AMQPMethod as M;
        let (nowait, until, ok) = match method {
            M::Declare(m) => {
                let nowait = m.nowait;
                let is_kept = m.durable && !m.passive && !m.exclusive;
                let ok = self.queue_declare(m, session)?;
                let until = if is_kept { session.defined() } else { Epoch::NONE };
                (nowait, until, M::DeclareOk(ok))
            }
            M::Bind(m) => {
                let queue = self.queue_name(m.queue.as_str())?;
                let key = self.binding_key(m.queue.as_str(), m.routing_key.as_str(), &queue);
                session.vhost.queue_bind(&queue, m.exchange.as_str(), key.as_bytes(), m.arguments, session.caller())?;
                (m.nowait, session.defined(), M::BindOk(queue::BindOk {}))
            }
            M::Unbind(m) => {
                let queue = self.queue_name(m.queue.as_str())?;
                let key = self.binding_key(m.queue.as_str(), m.routing_key.as_str(), &queue);
                session.vhost.queue_unbind(
                    &queue,
                    m.exchange.as_str(),
                    key.as_bytes(),
                    m.arguments,
                    session.caller(),
                )?;
                (false, session.defined(), M::UnbindOk(queue::UnbindOk {}))
            }
            M::Purge(m) => {
                let queue = self.queue_to_read(m.queue.as_str(), session)?;
                let (message_count, until) = queue.purge(&mut scratch.wakes);
                (m.nowait, until, M::PurgeOk(queue::PurgeOk { message_count }))
            }
            M::Delete(m) => {
                let name = self.queue_name(m.queue.as_str())?;
                let message_count = session.vhost.queue_delete(&name, m.if_unused, m.if_empty, session.caller())?;
                (m.nowait, session.defined(), M::DeleteOk(queue::DeleteOk { message_count }))
            }
            _ => return Err(unimplemented()),
        };
        if !nowait {
            self.reply_when_kept(until, AMQPClass::Queue(ok), session, scratch);
        }
        Ok(())
    }

    fn queue_declare(&mut self, method: queue::Declare, session: &mut Session) -> Result<queue::DeclareOk, Fault> {
        let name = method.queue.as_str();
        if VHost::is_reply_to_declared(name) {
            return Ok(queue::DeclareOk { queue: method.queue, message_count: 0, consumer_count: 1 });
        }
        let declare = QueueDeclare {
            name,
            passive: method.passive,
            durable: method.durable,
            exclusive: method.exclusive,
            auto_delete: method.auto_delete,
            arguments: method.arguments,
        };
        let queue = session.vhost.queue_declare(declare, session.caller())?;
        self.last_queue = queue.name().clone();
        if queue.definition.exclusive_owner == Some(session.id)
            && !session.exclusive_queues.iter().any(|own| own.id == queue.id)
        {
            session.exclusive_queues.retain(|own| !own.is_dead());
            session.exclusive_queues.push(queue.clone());
        }
        let (message_count, consumer_count) = queue.counts();
        Ok(queue::DeclareOk { queue: queue.name().as_ref().into(), message_count, consumer_count })
    }

    /// What a queue name means: empty is the queue last declared on this channel; 404 if there is none.
    pub(super) fn queue_name(&self, given: &str) -> Result<Arc<str>, Fault> {
        match given {
            "" if self.last_queue.is_empty() => Err(Fault::not_found("no previously declared queue")),
            "" => Ok(self.last_queue.clone()),
            name => Ok(name.into()),
        }
    }

    /// The queue of that name, from which messages are to be taken: 403 without the permission, then 404, then 405.
    pub(super) fn queue_to_read(&self, given: &str, session: &Session) -> Result<Arc<Queue>, Fault> {
        let name = self.queue_name(given)?;
        session.caller().read_queue(&name)?;
        session.vhost.queue(&name, session.id)
    }

    /// With neither queue nor routing key given, the key is the queue's name.
    fn binding_key(&self, given_queue: &str, given_key: &str, queue: &Arc<str>) -> Arc<str> {
        if given_queue.is_empty() && given_key.is_empty() { queue.clone() } else { given_key.into() }
    }

    fn confirm_method(&mut self, method: confirm::AMQPMethod, scratch: &mut Scratch) -> Result<(), Fault> {
        let confirm::AMQPMethod::Select(select) = method else { return Err(unimplemented()) };
        match self.mode {
            Mode::Transaction(_) => return Err(Fault::precondition_failed("cannot switch from tx to confirm mode")),
            Mode::Confirm(_) => {}
            Mode::Plain => self.mode = Mode::Confirm(Confirms::default()),
        }
        if !select.nowait {
            self.reply(scratch, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})));
        }
        Ok(())
    }

    fn tx_method(&mut self, method: tx::AMQPMethod, session: &mut Session, scratch: &mut Scratch) -> Result<(), Fault> {
        use tx::AMQPMethod as M;
        let (until, ok) = match method {
            M::Select(_) => {
                match self.mode {
                    Mode::Confirm(_) => {
                        return Err(Fault::precondition_failed("cannot switch from confirm to tx mode"));
                    }
                    Mode::Transaction(_) => {}
                    Mode::Plain => self.mode = Mode::Transaction(Box::default()),
                }
                (Epoch::NONE, M::SelectOk(tx::SelectOk {}))
            }
            M::Commit(_) => {
                let transaction = self.take_transaction()?;
                let until = self.commit(transaction, session, scratch);
                (until, M::CommitOk(tx::CommitOk {}))
            }
            M::Rollback(_) => {
                self.take_transaction()?.roll_back(&mut self.ledger);
                self.note_earliest_due(session);
                (Epoch::NONE, M::RollbackOk(tx::RollbackOk {}))
            }
            _ => return Err(unimplemented()),
        };
        self.reply_when_kept(until, AMQPClass::Tx(ok), session, scratch);
        Ok(())
    }

    fn take_transaction(&mut self) -> Result<Transaction, Fault> {
        match &mut self.mode {
            Mode::Transaction(transaction) => Ok(std::mem::take(transaction)),
            _ => Err(Fault::precondition_failed("channel is not transactional")),
        }
    }

    /// Carries out a transaction, all of it in one epoch. Returns the epoch with which it is kept.
    fn commit(&mut self, transaction: Transaction, session: &mut Session, scratch: &mut Scratch) -> Epoch {
        let store = session.broker.store.clone();
        let _hold = store.as_ref().map(|store| store.log.hold());
        // What others have published or settled in this turn is not what this waits for.
        let before = scratch.batch.take_epoch();
        scratch.settled_in = Epoch::NONE;
        self.apply_transaction(transaction, session, scratch);
        let until = scratch.batch.epoch().max(scratch.settled_in);
        scratch.batch.add_epoch(before);
        until
    }

    fn apply_transaction(&mut self, transaction: Transaction, session: &mut Session, scratch: &mut Scratch) {
        self.enqueue_staged(transaction.published, session, scratch);
        let (mut requeued, mut credit) = (Vec::new(), 0);
        for (outcome, delivered) in transaction.settled {
            if outcome == Outcome::Requeued {
                requeued.push(delivered);
                continue;
            }
            credit += if delivered.from.consumer.is_some() { delivered.run.count } else { 0 };
            let super::ledger::DeliveredFrom { queue, consumer } = delivered.from;
            scratch.settle(Settled { queue, consumer, run: delivered.run }, &mut session.routes);
        }
        session.apply(scratch);
        self.give_credit_back(credit, session, scratch);
        self.requeue(requeued, session, scratch);
    }
}

/// A method that clients do not send.
pub fn unimplemented() -> Fault {
    Fault::connection(ReplyCode::CommandInvalid, "unimplemented method")
}
