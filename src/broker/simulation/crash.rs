//! Power cuts, and what is found then.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::clients::Connection;
use super::durable::{Durable, History, Row, To, Waiting};
use super::messages::{QueueModel, read};
use super::topology::{Bound, Exchange, Topology, is_predeclared};
use super::{Epoch, World};
use crate::broker::Broker;
use crate::broker::binding::Destination;
use crate::broker::definitions::{BoundTo, Definition};
use crate::broker::exchange::ExchangeKind;
use crate::broker::routes::{Batch, Routes};
use crate::config::Config;
use crate::model_testing::Random;
use crate::storage::log::{Outcome, SyncPolicy};
use crate::storage::open::Options;
use crate::storage::sim_disk::SimDisk;
use crate::storage::stepped::Stepped;
use crate::storage::store::{Recovered, Store};

const CONNECTIONS: usize = 3;

pub type Opened = (Arc<SimDisk>, Arc<Stepped>, Arc<Store>, Recovered);

fn options(random: &mut Random) -> Options {
    Options {
        sync: SyncPolicy::Always,
        unwritten_max_bytes: 1 << 20,
        queue_resident_bytes: random.pick(&[0, 300, 5000]),
        journal_file_bytes: random.pick(&[600, 5_000, 1 << 20]),
        reserve_bytes: 2_000,
    }
}

/// Opens the disk, which may fail again meanwhile.
pub fn open(mut disk: Arc<SimDisk>, random: &mut Random) -> Opened {
    let options = options(random);
    for attempt in 0.. {
        if attempt < 5 && random.one_in(3) {
            disk.stop_after(random.below(20) as u64);
        }
        match Stepped::open(disk.clone(), options) {
            Ok((stepped, store, recovered)) => {
                disk.heal();
                stepped.load_at_most(random.pick(&[1, 700, 5000, usize::MAX]));
                return (disk, stepped, store, recovered);
            }
            Err(error) => assert!(disk.is_stopped(), "cannot start: {error}"),
        }
        disk = disk.crash(random);
    }
    unreachable!("it is opened before the attempts run out");
}

fn kind(kind: ExchangeKind) -> &'static str {
    ["direct", "fanout", "topic", "headers"].into_iter().find(|name| *name == kind.to_string()).expect("a kind")
}

fn row(definition: Definition) -> Row {
    match definition {
        Definition::VHost { name, .. } => Row::VHost(name.to_string()),
        Definition::User(user) => Row::User(user.name.to_string()),
        Definition::Permission(permission) => {
            Row::Permission { vhost: permission.vhost.to_string(), user: permission.user.to_string() }
        }
        Definition::TopicPermission(_) => unreachable!("nobody sets one"),
        Definition::Exchange { definition, .. } => Row::Exchange {
            name: definition.name.to_string(),
            kind: kind(definition.kind),
            auto_delete: definition.auto_delete,
        },
        Definition::Queue { id, definition } => {
            Row::Queue { id, name: definition.name.to_string(), auto_delete: definition.auto_delete }
        }
        Definition::Window { .. } => unreachable!("nothing deduplicates"),
        Definition::Delays { .. } => unreachable!("nobody here delays anything"),
        Definition::Binding(binding) => Row::Binding {
            source: binding.source.to_string(),
            to: match binding.destination {
                BoundTo::Queue(id) => To::Queue(id),
                BoundTo::Exchange(name) => To::Exchange(name.to_string()),
            },
            key: String::from_utf8(binding.routing_key.to_vec()).expect("text"),
        },
        Definition::Parameter(_) | Definition::GlobalParameter { .. } => unreachable!("nobody here sets parameters"),
    }
}

fn is_administered(row: &Row) -> bool {
    match row {
        Row::VHost(name) => name == "v",
        Row::User(user) | Row::Permission { user, .. } => user == "u",
        _ => false,
    }
}

/// What is on the disk, message by message.
fn found(stepped: &Stepped, recovered: &Recovered) -> Durable {
    let decode = |(key, value): (&Vec<u8>, &Vec<u8>)| row(Definition::decode(key, value).expect("it was written so"));
    let mut durable = Durable { rows: recovered.definitions.iter().map(decode).collect(), ..Durable::default() };
    for row in &durable.rows {
        let Row::Queue { id, name, .. } = row else { continue };
        let (runs, delivered) = stepped.on_disk(*id);
        let all: Vec<(u64, u64)> = runs.iter().flat_map(read).collect();
        assert!(all.is_sorted_by(|a, b| a.0 < b.0), "{name} has each message once and in order: {all:?}");
        let count = recovered.queues.get(id).map_or(0, |queue| queue.waiting.iter().map(|range| range.count).sum());
        assert_eq!(all.len() as u64, count, "the broker is told how many wait in {name}");
        assert!(id.0 < recovered.next_queue_id, "ids would be used again");
        durable.queues.insert(*id, Waiting { messages: all.into_iter().collect(), delivered });
    }
    durable
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let opened = open(SimDisk::new(), &mut random);
        World::over(random, opened, History::default(), Epoch::NONE, 1)
    }

    /// Starts a broker over what is found, which must be what is to be found.
    fn over(random: Random, opened: Opened, mut history: History, kept: Epoch, next_id: u64) -> World {
        let (disk, stepped, store, recovered) = opened;
        let durable = found(&stepped, &recovered);
        history.found(kept, durable.clone());
        let next_seqs = recovered.queues.iter().map(|(id, queue)| (*id, queue.next_seq)).collect::<Vec<_>>();
        let config = Config { vhosts: vec!["/".into(), "other".into()], ..Config::default() };
        let broker = Broker::open(config, store.clone(), recovered).expect("what was written can be read");
        assert!(broker.vhost("other").is_some() && broker.users.get("guest").is_some());
        let vhost = broker.vhost("/").expect("it is configured");
        let mut world = World {
            random,
            disk,
            stepped,
            routes: Routes::new(Some(store.clone())),
            store,
            broker,
            vhost,
            batch: Batch::default(),
            connections: (0..CONNECTIONS).map(|_| Connection::new()).collect(),
            consumers: Vec::new(),
            queues: Vec::new(),
            doomed: Vec::new(),
            topology: Topology::recovered(&durable.rows),
            administered: durable.rows.iter().filter(|row| is_administered(row)).cloned().collect(),
            rows: durable.rows,
            history,
            next_id,
        };
        for (id, waiting) in &durable.queues {
            let queue = world.vhost.queues().into_iter().find(|queue| queue.id == *id).expect("it is defined");
            let next_seq = next_seqs.iter().find(|(of, _)| of == id).map_or(0, |(_, next_seq)| *next_seq);
            let last = waiting.messages.keys().next_back();
            assert!(last.is_none_or(|last| *last < next_seq), "positions would be used again");
            world.queues.push(QueueModel::recovered(queue, waiting, next_seq));
        }
        let at = world.at();
        world.defined(at);
        world.collect(at);
        world
    }

    /// The power fails, or the process is killed; then everything is looked at.
    pub fn crash(&mut self) {
        let log = self.store.log.clone();
        let kept = self.history.epochs().filter(|epoch| log.outcome(*epoch) == Outcome::Kept).max();
        let disk = if self.random.one_in(4) && !self.disk.is_stopped() {
            self.disk.kill()
        } else {
            self.disk.crash(&mut self.random)
        };
        disk.set_capacity(None);
        let mut random = Random::new(self.random.next());
        let opened = open(disk, &mut random);
        let history = std::mem::take(&mut self.history);
        *self = World::over(random, opened, history, kept.unwrap_or(Epoch::NONE), self.next_id);
    }

    /// A consumer without limits gets all that there is.
    pub fn audit(&mut self) {
        self.disk.heal();
        self.disk.set_capacity(None);
        let connection = self.connections.len();
        self.connections.push(Connection::new());
        for queue in self.live_queues() {
            self.start_consumer(connection, queue, false, 0, true);
        }
        self.serve_all();
        self.lose(connection);
        self.connections.truncate(connection);
    }

    /// What is defined is what should be.
    pub fn check_topology(&self) {
        let mut found = Topology::new();
        let live = |id| self.by_id(id).is_some();
        for exchange in self.vhost.exchanges().iter().filter(|exchange| !exchange.name.is_empty()) {
            let name = exchange.name.to_string();
            for binding in exchange.bindings() {
                let to = match &binding.destination {
                    Destination::Queue(queue) => To::Queue(queue.id),
                    Destination::Exchange(exchange) => To::Exchange(exchange.name.to_string()),
                };
                assert!(!matches!(to, To::Queue(id) if !live(id)), "{name} leads to nothing");
                let key = String::from_utf8(binding.routing_key.to_vec()).expect("text");
                found.bindings.insert(Bound { source: name.clone(), to, key });
            }
            if !is_predeclared(&name) {
                let (durable, auto_delete) = (exchange.durable, exchange.auto_delete);
                found.exchanges.insert(name, Exchange { kind: kind(exchange.kind), durable, auto_delete });
            }
        }
        assert_eq!(found, self.topology);
        let mut queues: Vec<_> = self.vhost.queues().iter().map(|queue| queue.id).collect();
        queues.sort_unstable();
        let mut expected: Vec<_> = self.live_queues().into_iter().map(|queue| self.queues[queue].id).collect();
        expected.sort_unstable();
        assert_eq!(queues, expected, "the queues of the virtual host");
        let names: BTreeSet<&str> = self.live_queues().into_iter().map(|queue| &*self.queues[queue].name).collect();
        assert!(names.iter().all(|name| self.vhost.find_queue(name).is_some()));
    }
}
