//! The broker's model over the real store on a simulated disk: random work of clients, power cuts at any step, recovery,
//! compared with plain lists.
//!
//! While it runs, [`messages`] knows where each message is: none is lost or doubled while messages leave memory and come
//! back. What is durable is noted in [`durable`], each change with the epoch that was being filled; what is found after
//! a crash must be what there was at the end of one of them, and of none before the last that was reported as kept.
//! Nothing runs beside the test; what other threads would do happens between two steps, or where a queue asks its store
//! for something.

mod clients;
mod crash;
mod durable;
mod messages;
mod publishing;
mod rules;
mod topology;
mod work;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use self::clients::{Connection, Consumer};
use self::durable::{Event, History, Row, To};
use self::messages::QueueModel;
use self::topology::Topology;
use super::Broker;
use super::outbox::Item;
use super::vhost::VHost;
use crate::broker::routes::{Batch, Routes};
use crate::model_testing::{Random, each_seed};
use crate::storage::sim_disk::SimDisk;
use crate::storage::stepped::{Crashed, Stepped};
use crate::storage::store::Store;
use crate::storage::{Epoch, QueueId};

struct World {
    random: Random,
    disk: Arc<SimDisk>,
    stepped: Arc<Stepped>,
    store: Arc<Store>,
    broker: Arc<Broker>,
    vhost: Arc<VHost>,
    routes: Routes,
    batch: Batch,
    connections: Vec<Connection>,
    /// All that ever were since the start, by their slots, which are different for all connections.
    consumers: Vec<Consumer>,
    queues: Vec<QueueModel>,
    /// Queues that are dead and not yet removed, as between two steps of the thread that deletes them.
    doomed: Vec<usize>,
    topology: Topology,
    rows: BTreeSet<Row>,
    /// Those of the user and the virtual host that come and go, and their permissions.
    administered: BTreeSet<Row>,
    history: History,
    next_id: u64,
}

impl World {
    /// The epoch that is being filled.
    fn at(&self) -> Epoch {
        self.store.log.filling_epoch()
    }

    fn live_queues(&self) -> Vec<usize> {
        (0..self.queues.len()).filter(|&queue| !self.queues[queue].dead).collect()
    }

    fn some_queue(&mut self) -> Option<usize> {
        let live = self.live_queues();
        (!live.is_empty()).then(|| self.random.pick(&live))
    }

    fn by_id(&self, id: QueueId) -> Option<usize> {
        self.queues.iter().position(|queue| queue.id == id)
    }

    /// Takes what queues have handed out, in this epoch, to the connections, and looks at all queues.
    fn collect(&mut self, at: Epoch) {
        let mut given: Vec<(usize, u64)> = Vec::new();
        for connection in 0..self.connections.len() {
            let mut items = VecDeque::new();
            self.connections[connection].outbox.take(&mut items);
            for item in &items {
                match item {
                    Item::Deliver { slot, run } => {
                        let consumer = &mut self.consumers[*slot as usize];
                        assert!(consumer.connection == connection && !consumer.gone, "{run:?} is given to nobody");
                        consumer.unacked += if consumer.no_ack { 0 } else { run.count };
                        let queue = &mut self.queues[consumer.queue];
                        if let Some(mark) = queue.give(run, consumer.no_ack) {
                            self.history.add(at, Event::Delivered(queue.id, mark));
                        }
                        given.push((consumer.queue, run.end_seq()));
                    }
                    Item::Cancelled { slot } => {
                        let consumer = &mut self.consumers[*slot as usize];
                        assert!(self.queues[consumer.queue].dead, "a consumer of a queue that lives is cancelled");
                        consumer.gone = true;
                    }
                }
            }
            self.connections[connection].inbox.append(&mut items);
        }
        for (queue, end_seq) in given {
            let first = self.queues[queue].ready.keys().next();
            assert!(first.is_none_or(|first| *first >= end_seq), "{} is not in order", self.queues[queue].name);
        }
        self.queues.iter().for_each(QueueModel::check);
    }

    /// A queue is dead; it is yet to be removed.
    fn killed(&mut self, queue: usize, at: Epoch) {
        let model = &mut self.queues[queue];
        model.dead = true;
        model.ready.clear();
        let id = model.id;
        if model.durable {
            self.history.add(at, Event::Dropped(id));
            self.rows.retain(|row| !matches!(row, Row::Queue { id: of, .. } if *of == id));
        }
        self.doomed.push(queue);
        self.collect(at);
    }

    fn remove_doomed(&mut self, queue: usize) {
        self.doomed.retain(|doomed| *doomed != queue);
        let at = self.at();
        self.vhost.remove_queue(&self.queues[queue].queue);
        self.topology.unlink(&To::Queue(self.queues[queue].id));
        self.defined(at);
    }

    /// Notes which rows have changed, and that what is defined is what should be.
    fn defined(&mut self, at: Epoch) {
        let is_durable = |id| self.by_id(id).is_some_and(|queue| self.queues[queue].durable);
        let mut rows = self.topology.rows(is_durable);
        rows.extend(["/", "other"].map(|name| Row::VHost(name.into())));
        rows.insert(Row::User("guest".into()));
        rows.extend(["/", "other"].map(|vhost| Row::Permission { vhost: vhost.into(), user: "guest".into() }));
        rows.extend(self.administered.iter().cloned());
        for queue in self.queues.iter().filter(|queue| queue.durable && !queue.dead) {
            let QueueModel { id, auto_delete, .. } = *queue;
            rows.insert(Row::Queue { id, name: queue.name.clone(), auto_delete });
        }
        let (put, deleted): (Vec<Row>, Vec<Row>) =
            (rows.difference(&self.rows).cloned().collect(), self.rows.difference(&rows).cloned().collect());
        if !put.is_empty() || !deleted.is_empty() {
            assert_eq!(self.store.log.defined(), at, "{put:?} and not {deleted:?} is to be kept");
            self.history.add(at, Event::Put(put, deleted));
        }
        self.rows = rows;
        self.check_topology();
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..world.random.within(1..4) {
        for _ in 0..world.random.within(1..120) {
            if world.step().and(world.stepped.check()).is_err() || world.disk.is_stopped() {
                break;
            }
        }
        world.crash();
        if world.random.one_in(2) {
            world.audit();
        }
    }
    world.audit();
}

/// `LEVERET_SEEDS=FIRST..END` runs others.
#[test]
fn a_broker_finds_after_a_crash_what_it_kept() {
    each_seed("a_broker_finds_after_a_crash", 0..1000, run);
}
