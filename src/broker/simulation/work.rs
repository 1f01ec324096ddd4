//! One step: of a client, of the store, of the disk.

use std::io;

use amq_protocol::types::FieldTable;

use super::durable::{Event, Row, To};
use super::topology::{Bound, Exchange, is_predeclared};
use super::{QueueModel, World};
use crate::broker::ConnectionId;
use crate::broker::administration::VHostChange;
use crate::broker::outbox::Wakes;
use crate::broker::queue::Leaving;
use crate::broker::vhost::{ExchangeDeclare, QueueDeclare};
use crate::storage::sim_disk::Operation;
use crate::storage::stepped::{Committed, Crashed};

const ME: ConnectionId = ConnectionId(1);
const KINDS: [&str; 3] = ["direct", "fanout", "topic"];

impl World {
    pub fn step(&mut self) -> Result<(), Crashed> {
        let connection = self.some_connection();
        let unlocks = if self.random.one_in(3) { self.random.within(1..12) } else { 0 };
        self.stepped.interrupt_in(unlocks);
        match self.random.below(73) {
            0..5 => self.declare_queue(),
            5 => self.delete_queue(),
            6 | 7 => self.declare_exchange(),
            8 if self.random.one_in(2) => self.delete_exchange(),
            9..13 => self.bind(),
            13 => self.unbind(),
            14..24 => self.publish(),
            24 | 25 => return self.transaction(),
            26 => return self.move_messages(),
            27..31 => self.consume(),
            31..36 => self.write(connection, 4),
            36..40 => {
                let settled = self.take_outstanding(connection);
                self.settle(settled);
            }
            40 => {
                let requeued = self.take_outstanding(connection);
                self.requeue(requeued);
            }
            41 | 42 => self.get(),
            43 => self.cancel(),
            44 => self.lose(connection),
            45 => self.purge(),
            46..54 => return self.commit(),
            54 | 55 => return self.stepped.sync(),
            56..61 => self.serve(2),
            61 => self.serve_all(),
            62..65 => self.shrink(),
            65 => return self.stepped.checkpoint(),
            66 => {
                let pick = self.random.below(100);
                self.stepped.compact(pick);
            }
            67 => self.run_full(),
            68 if self.random.one_in(4) => {
                self.disk.fail(Operation::Sync, 1 + self.random.below(3) as u64, io::ErrorKind::Other);
            }
            69 if self.random.one_in(3) => self.disk.stop_after(self.random.below(12) as u64),
            70 => self.forget(connection),
            71 => self.remove_some_doomed(),
            72 => self.administer(),
            _ => {}
        }
        Ok(())
    }

    /// A user or a virtual host comes or goes, with its permissions, or a permission is set.
    fn administer(&mut self) {
        let at = self.at();
        let (user, vhost) = (Row::User("u".into()), Row::VHost("v".into()));
        let permission = |vhost: &str| Row::Permission { vhost: vhost.into(), user: "u".into() };
        let (has_user, has_vhost) = (self.administered.contains(&user), self.administered.contains(&vhost));
        match self.random.below(4) {
            0 if has_user => {
                self.broker.delete_user("u").expect("it is there");
                self.administered.retain(|row| *row != user && !matches!(row, Row::Permission { .. }));
            }
            0 => {
                self.broker.add_user("u", "secret").expect("it is not there");
                self.administered.insert(user);
            }
            1 if has_vhost => {
                self.broker.delete_vhost("v").expect("it is there");
                self.administered.retain(|row| *row != vhost && *row != permission("v"));
            }
            1 => {
                self.broker.add_vhost("v", VHostChange::default()).expect("it is not there");
                self.administered.insert(vhost);
            }
            2 | 3 if has_user => {
                let to = self.random.pick(if has_vhost { &["/", "v", "v"] } else { &["/", "other", "other"] });
                self.broker.set_permissions(to, "u", "^a", "", ".*").expect("both are there");
                self.administered.insert(permission(to));
            }
            _ => {}
        }
        self.defined(at);
    }

    pub fn commit(&mut self) -> Result<(), Crashed> {
        let sync = !self.random.one_in(3);
        if let Committed::Retried { before, after, relieved, cut_short } = self.stepped.commit(sync)? {
            self.history.retried(before, after, relieved, cut_short);
            if cut_short {
                return Err(Crashed);
            }
        }
        Ok(())
    }

    fn declare_queue(&mut self) {
        let name = format!("q{}", self.random.below(5));
        let (durable, auto_delete) = (!self.random.one_in(4), self.random.one_in(5));
        if self.queues.iter().any(|queue| queue.name == name && !queue.dead) {
            return;
        }
        let at = self.at();
        let declare = QueueDeclare {
            name: &name,
            passive: false,
            durable,
            exclusive: false,
            auto_delete,
            arguments: FieldTable::default(),
        };
        let queue = self.vhost.queue_declare(declare, ME).expect("the name is free");
        for &doomed in self.doomed.iter().filter(|doomed| self.queues[**doomed].name == name) {
            self.topology.unlink(&To::Queue(self.queues[doomed].id));
        }
        self.queues.push(QueueModel::new(queue));
        self.defined(at);
    }

    fn delete_queue(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let (at, ready) = (self.at(), self.queues[queue].ready.len() as u32);
        let at_once = self.random.one_in(2);
        let deleted = if at_once {
            self.vhost.queue_delete(&self.queues[queue].name, false, false, ME)
        } else {
            self.queues[queue].queue.kill(false, false).map(|count| count.expect("it lives"))
        };
        assert_eq!(deleted.ok(), Some(ready));
        self.killed(queue, at);
        if at_once {
            self.doomed.retain(|doomed| *doomed != queue);
            self.topology.unlink(&To::Queue(self.queues[queue].id));
            // An epoch may have been taken between the two.
            self.defined(self.store.log.defined());
        }
    }

    fn remove_some_doomed(&mut self) {
        if !self.doomed.is_empty() {
            let queue = self.random.pick(&self.doomed);
            self.remove_doomed(queue);
        }
    }

    fn declare_exchange(&mut self) {
        let name = format!("x{}", self.random.below(4));
        let kind = self.random.pick(&KINDS);
        let (durable, auto_delete) = (!self.random.one_in(4), self.random.one_in(3));
        if self.topology.exchanges.contains_key(&name) {
            return;
        }
        let at = self.at();
        let declare = ExchangeDeclare {
            name: &name,
            kind,
            passive: false,
            durable,
            auto_delete,
            internal: false,
            arguments: FieldTable::default(),
        };
        self.vhost.exchange_declare(declare).expect("the name is free");
        self.topology.exchanges.insert(name, Exchange { kind, durable, auto_delete });
        self.defined(at);
    }

    fn delete_exchange(&mut self) {
        let name = self.random.pick(&self.topology.names());
        if is_predeclared(&name) {
            return;
        }
        let at = self.at();
        self.vhost.exchange_delete(&name, false).expect("it can be deleted");
        self.topology.delete(&name);
        self.defined(at);
    }

    fn bind(&mut self) {
        let names = self.topology.names();
        let source = self.random.pick(&names);
        let key = self.random.pick(&["a.b", "a.*", "#", "*.b", "b"]).to_owned();
        let (at, arguments) = (self.at(), FieldTable::default());
        let to = if self.random.one_in(3) {
            let name = self.random.pick(&names);
            self.vhost.exchange_bind(&name, &source, key.as_bytes(), arguments).expect("both exist");
            To::Exchange(name)
        } else {
            let Some(queue) = self.some_queue() else { return };
            let queue = &self.queues[queue];
            self.vhost.queue_bind(&queue.name, &source, key.as_bytes(), arguments, ME).expect("both exist");
            To::Queue(queue.id)
        };
        self.topology.bindings.insert(Bound { source, to, key });
        self.defined(at);
    }

    fn unbind(&mut self) {
        let all: Vec<Bound> = self.topology.bindings.iter().cloned().collect();
        if all.is_empty() {
            return;
        }
        let bound = self.random.pick(&all);
        let Bound { source, to, key } = &bound;
        let (at, arguments) = (self.at(), FieldTable::default());
        match to {
            To::Exchange(name) => self.vhost.exchange_unbind(name, source, key.as_bytes(), arguments).unwrap(),
            To::Queue(id) => {
                let queue = &self.queues[self.by_id(*id).expect("it is bound")];
                if queue.dead {
                    return;
                }
                self.vhost.queue_unbind(&queue.name, source, key.as_bytes(), arguments, ME).unwrap();
            }
        }
        self.topology.unbind(&bound);
        self.defined(at);
    }

    fn purge(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let at = self.at();
        let model = &mut self.queues[queue];
        let (count, epoch) = model.queue.purge(&mut Wakes::default());
        assert_eq!(count as usize, model.ready.len(), "purged of {}", model.name);
        let purged = std::mem::take(&mut model.ready);
        assert!(epoch.is_some() || purged.values().all(|message| !message.logged), "it is said when it is kept");
        let durable: Vec<u64> = purged.iter().filter(|(_, message)| message.durable).map(|(seq, _)| *seq).collect();
        if !durable.is_empty() {
            assert_eq!(epoch, at);
            self.history.add(at, Event::Settled(model.id, durable));
        }
        self.collect(at);
    }

    fn shrink(&mut self) {
        let at = self.at();
        if self.random.one_in(3) {
            let leaving = self.random.pick(&[Leaving::All, Leaving::OnDisk]);
            self.broker.shrink_queues(u64::MAX, leaving);
        } else if let Some(queue) = self.some_queue() {
            let keep_bytes = self.random.pick(&[0, 500, 5000]);
            self.queues[queue].queue.shrink(keep_bytes, Leaving::All);
        }
        self.collect(at);
    }

    fn run_full(&mut self) {
        let is_full = self.random.one_in(2);
        let more = self.random.below(3000) as u64;
        self.disk.set_capacity(is_full.then(|| self.disk.used_bytes() + more));
    }

    /// Serves some of what queues have asked of the disk.
    pub fn serve(&mut self, most: usize) {
        for _ in 0..most {
            let at = self.at();
            if self.disk.is_stopped() || !self.stepped.serve_one() {
                return;
            }
            if !self.disk.is_stopped() {
                self.collect(at);
            }
        }
    }

    /// Then nobody waits who could be given something.
    pub fn serve_all(&mut self) {
        self.serve(usize::MAX);
        if self.disk.is_stopped() {
            return;
        }
        for consumer in self.consumers.iter().filter(|consumer| consumer.wants_more()) {
            let queue = &self.queues[consumer.queue];
            assert!(queue.ready.is_empty(), "{} of {} are not handed out", queue.ready.len(), queue.name);
        }
    }
}
