//! Messages on their way into queues, alone or together with others.

use std::collections::BTreeSet;

use super::durable::Event;
use super::messages::{Published, body_of, chunk_of, prefix_of};
use super::{Epoch, QueueId, World};
use crate::broker::outbox::Wakes;
use crate::broker::routes::TargetId;

pub const KEYS: [&str; 4] = ["a.b", "a.c", "b", "q0"];

impl World {
    fn messages(&mut self) -> Vec<Published> {
        let count = self.random.pick(&[1, 1, 2, 5, 20]);
        let kind = self.random.below(6);
        let one = |id, mixed: bool| Published { id, persistent: if kind == 5 { mixed } else { kind > 0 } };
        let messages: Vec<Published> =
            (self.next_id..self.next_id + count).map(|id| one(id, self.random.one_in(2))).collect();
        self.next_id += count;
        messages
    }

    /// Publishes as a connection does.
    pub fn publish(&mut self) {
        let mut exchanges = self.topology.names();
        exchanges.extend([String::new(), String::new()]);
        let exchange = self.random.pick(&exchanges);
        let key =
            if exchange.is_empty() { format!("q{}", self.random.below(5)) } else { self.random.pick(&KEYS).to_owned() };
        let (target, queues) = self.routed(&exchange, &key);
        if queues.is_empty() {
            return;
        }
        let messages = self.messages();
        let before = self.at();
        let open = self.batch.chunk(&mut self.routes, target, &mut Wakes::default());
        messages.iter().for_each(|&message| open.push(&prefix_of(message, &exchange, &key), &body_of(message.id)));
        self.batch.flush(&mut self.routes, &mut Wakes::default());
        let epoch = self.batch.take_epoch();
        self.enqueued(&queues, &messages, before, epoch);
    }

    /// Where the broker sends messages, which must be where they belong.
    fn routed(&mut self, exchange: &str, key: &str) -> (TargetId, BTreeSet<QueueId>) {
        self.routes.begin_batch();
        let target = match self.routes.find(exchange.as_bytes(), key.as_bytes()) {
            Some(target) => target,
            None => {
                let exchange = self.vhost.exchange_to_publish(exchange).expect("it exists");
                let route = self.vhost.route(&exchange, &[key.as_bytes()], &mut || None);
                self.routes.insert(&exchange, key.as_bytes(), route)
            }
        };
        let expected = if exchange.is_empty() {
            let by_name = self.queues.iter().filter(|queue| queue.name == key && !queue.dead);
            by_name.map(|queue| queue.id).collect()
        } else {
            let mut bound = self.topology.route(exchange, key);
            bound.retain(|id| self.by_id(*id).is_some_and(|queue| !self.queues[queue].dead));
            bound
        };
        let live = self.routes.queues(target).iter().filter(|queue| !queue.is_dead());
        let found: BTreeSet<QueueId> = live.map(|queue| queue.id).collect();
        assert_eq!(found, expected, "from '{exchange}' with '{key}'");
        (target, expected)
    }

    /// Notes that messages have entered queues.
    fn enqueued(&mut self, queues: &BTreeSet<QueueId>, messages: &[Published], before: Epoch, epoch: Epoch) {
        let mut logged = false;
        for &id in queues {
            let queue = self.by_id(id).expect("only queues that exist are used");
            let durable = self.queues[queue].enqueue(messages);
            if !durable.is_empty() {
                logged = true;
                self.history.add(epoch, Event::Enqueued(id, durable));
            }
        }
        assert_eq!(epoch.is_some(), logged, "it is said when they are kept");
        assert!(epoch <= self.at());
        self.collect(if logged { epoch } else { before });
    }

    fn enqueue_into(&mut self, queue: usize) {
        let messages = self.messages();
        let (before, id) = (self.at(), self.queues[queue].id);
        let enqueued = self.queues[queue].queue.enqueue(&chunk_of(&messages), false, &mut Wakes::default());
        self.enqueued(&BTreeSet::from([id]), &messages, before, enqueued.epoch);
    }

    /// All or nothing: publishes, then settles, then puts back.
    pub fn transaction(&mut self) -> Result<(), super::Crashed> {
        let log = self.store.log.clone();
        let _hold = log.hold();
        let at = self.at();
        for _ in 0..self.random.below(3) {
            self.publish();
            self.try_to_commit()?;
        }
        let connection = self.some_connection();
        let (settled, requeued) = (self.take_outstanding(connection), self.take_outstanding(connection));
        self.settle(settled);
        self.try_to_commit()?;
        self.requeue(requeued);
        assert_eq!(self.at(), at, "nothing of it is written before the rest");
        Ok(())
    }

    /// As a dead letter goes: out of one queue and into another.
    pub fn move_messages(&mut self) -> Result<(), super::Crashed> {
        let log = self.store.log.clone();
        let _hold = log.hold();
        let (connection, at) = (self.some_connection(), self.at());
        let Some(to) = self.some_queue() else { return Ok(()) };
        let settled = self.take_outstanding(connection);
        self.settle(settled);
        self.try_to_commit()?;
        self.enqueue_into(to);
        assert_eq!(self.at(), at, "nothing of it is written before the rest");
        Ok(())
    }

    fn try_to_commit(&mut self) -> Result<(), super::Crashed> {
        if self.random.one_in(3) { self.commit() } else { Ok(()) }
    }
}
