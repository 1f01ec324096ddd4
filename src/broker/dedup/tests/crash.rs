//! Queues and an exchange that deduplicate, over the real store on a simulated disk, with power cuts at any step.
//!
//! Nothing is consumed, so what is found after a crash says what was kept: the first so many durable messages of each
//! queue, all of them that were confirmed included. What is remembered then must be just the keys of the last of these.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::dedup::key::Key;
use crate::broker::outbox::Wakes;
use crate::broker::queue::{Queue, QueueId};
use crate::broker::routes::{Batch, Origin, Routes};
use crate::broker::vhost::{ExchangeDeclare, QueueDeclare, VHost};
use crate::broker::{Broker, ConnectionId, message};
use crate::config::Config;
use crate::model_testing::{Random, each_seed};
use crate::storage::Epoch;
use crate::storage::log::{Outcome, SyncPolicy};
use crate::storage::open::Options;
use crate::storage::record::{append_prefix, flags};
use crate::storage::sim_disk::SimDisk;
use crate::storage::stepped::Stepped;
use crate::storage::store::{Recovered, Store};
use crate::wire::properties::PropertiesView;
use crate::wire::table::ValueView;

const ME: ConnectionId = ConnectionId(1);

/// What was noted by a queue or an exchange.
#[derive(Clone, Debug)]
struct Note {
    key: u64,
    id: u64,
    is_kept: bool,
}

/// A queue or an exchange that deduplicates.
struct Remembering {
    name: &'static str,
    is_exchange: bool,
    /// The queue that has all that it let through.
    queue: &'static str,
    size: usize,
    /// What it remembered at the last start, and what it noted since.
    notes: Vec<Note>,
    /// The ids of durable messages that it let through.
    durable: Vec<u64>,
    /// How many of these were there at the last start.
    found: usize,
    /// What was published and is kept with an epoch: the id of the message that was taken.
    promised: Vec<(Epoch, u64)>,
}

impl Remembering {
    fn new(name: &'static str, queue: &'static str, size: usize) -> Remembering {
        let is_exchange = name != queue;
        let (notes, durable, promised) = (Vec::new(), Vec::new(), Vec::new());
        Remembering { name, is_exchange, queue, size, notes, durable, found: 0, promised }
    }

    /// The message of which one with this key is a duplicate.
    fn original(&self, key: u64) -> Option<&Note> {
        self.notes.iter().rev().take(self.size).find(|note| note.key == key)
    }
}

struct World {
    random: Random,
    disk: Arc<SimDisk>,
    stepped: Arc<Stepped>,
    store: Arc<Store>,
    broker: Arc<Broker>,
    routes: Routes,
    batch: Batch,
    remembering: Vec<Remembering>,
    next_id: u64,
    /// All messages are durable.
    all_durable: bool,
}

fn open(disk: &Arc<SimDisk>, random: &mut Random) -> (Arc<Stepped>, Arc<Store>, Recovered) {
    let options = Options {
        sync: SyncPolicy::Always,
        unwritten_max_bytes: 1 << 20,
        queue_resident_bytes: 300,
        journal_file_bytes: random.pick(&[600, 5_000, 1 << 20]),
        reserve_bytes: 0,
    };
    let opened = Stepped::open(disk.clone(), options).expect("a crash leaves nothing that cannot be opened");
    opened.0.load_at_most(random.pick(&[1, 100, usize::MAX]));
    opened
}

fn arguments(size: usize) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-deduplication".into(), AMQPValue::Boolean(true));
    arguments.insert("x-cache-size".into(), AMQPValue::LongInt(size as i32));
    arguments
}

/// A record up to the body, which is the id.
fn prefix(exchange: &str, key: u64, is_durable: bool) -> Vec<u8> {
    let nothing = PropertiesView::parse(&[0, 0], 1).unwrap();
    let properties = nothing.with_header(b"x-deduplication-header", &AMQPValue::LongLongInt(key as i64));
    let flags = flags::HEADERS | if is_durable { flags::PERSISTENT } else { 0 };
    let mut prefix = Vec::new();
    append_prefix(&mut prefix, flags, exchange.as_bytes(), b"k", &properties, 8);
    prefix
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let disk = SimDisk::new();
        let opened = open(&disk, &mut random);
        let mut size = || random.pick(&[1, 3, 8, 100]);
        let remembering = vec![
            Remembering::new("q0", "q0", size()),
            Remembering::new("q1", "q1", size()),
            Remembering::new("x", "q2", size()),
        ];
        let mut world = World::over(random, disk, opened, remembering, 0);
        world.all_durable = !world.random.one_in(3);
        world.declare();
        world
    }

    fn over(
        random: Random,
        disk: Arc<SimDisk>,
        (stepped, store, recovered): (Arc<Stepped>, Arc<Store>, Recovered),
        remembering: Vec<Remembering>,
        next_id: u64,
    ) -> World {
        let broker = Broker::open(Config { vhosts: vec!["/".into()], ..Config::default() }, store.clone(), recovered);
        let broker = broker.expect("what was written can be read");
        let (routes, batch) = (Routes::new(Some(store.clone())), Batch::default());
        World { random, disk, stepped, store, broker, routes, batch, remembering, next_id, all_durable: true }
    }

    fn vhost(&self) -> Arc<VHost> {
        self.broker.vhost("/").expect("it is configured")
    }

    fn queue(&self, name: &str) -> Arc<Queue> {
        self.vhost().find_queue(name).expect("it is declared before anything fails")
    }

    fn declare(&mut self) {
        let vhost = self.vhost();
        for queue in ["q0", "q1", "q2"] {
            let size = self.remembering.iter().find(|remembering| remembering.name == queue).map(|it| it.size);
            let arguments = size.map(arguments).unwrap_or_default();
            let (passive, durable, exclusive, auto_delete) = (false, true, false, false);
            let declare = QueueDeclare { name: queue, passive, durable, exclusive, auto_delete, arguments };
            vhost.queue_declare(declare, ME).unwrap();
        }
        let (arguments, passive, durable, auto_delete, internal) =
            (arguments(self.remembering[2].size), false, true, false, false);
        let kind = self.random.pick(&["fanout", "x-message-deduplication"]);
        let declare = ExchangeDeclare { name: "x", kind, passive, durable, auto_delete, internal, arguments };
        vhost.exchange_declare(declare).unwrap();
        vhost.queue_bind("q2", "x", b"", FieldTable::default(), ME).unwrap();
        self.stepped.commit(true).expect("nothing fails yet");
    }

    fn publish(&mut self) {
        let to = self.random.below(self.remembering.len());
        let count = if self.remembering[to].is_exchange { 1 } else { self.random.pick(&[1, 1, 2, 6]) };
        let messages: Vec<(u64, bool)> =
            (0..count).map(|_| (self.random.below(12) as u64, self.all_durable || self.random.one_in(2))).collect();
        let (before, target) = (self.next_id, &self.remembering[to]);
        let (name, queue) = (target.name, self.queue(target.queue));
        self.next_id += count as u64;
        if self.remembering[to].is_exchange {
            self.publish_to_exchange(name, messages[0], before);
        } else {
            let target = self.routes.target(&[queue]);
            for (&(key, is_durable), id) in messages.iter().zip(before..) {
                let (prefix, body) = (prefix("", key, is_durable), id.to_le_bytes());
                let origin = Origin { channel: 1, number: 1 };
                self.batch.push(&mut self.routes, target, (&prefix, &body), origin, &mut Wakes::default());
            }
            self.batch.flush(&mut self.routes, &mut Wakes::default());
        }
        let epoch = self.batch.take_epoch();
        let remembering = &mut self.remembering[to];
        for (&(key, is_kept), id) in messages.iter().zip(before..) {
            let original = remembering.original(key).cloned();
            let taken = original.clone().unwrap_or(Note { key, id, is_kept });
            if original.is_none() {
                remembering.notes.push(taken.clone());
                remembering.durable.extend(is_kept.then_some(id));
            }
            if taken.is_kept && !remembering.durable[..remembering.found].contains(&taken.id) {
                remembering.promised.push((epoch, taken.id));
            }
        }
    }

    fn publish_to_exchange(&mut self, name: &str, (key, is_durable): (u64, bool), id: u64) {
        let vhost = self.vhost();
        let prefix = prefix(name, key, is_durable);
        let record = [&prefix[..], &id.to_le_bytes()].concat();
        let properties = crate::storage::record::Record::new(&record).properties();
        let view = PropertiesView::parse(properties, 8).unwrap();
        let mut admission = vhost.admission();
        let exchange = vhost.find_exchange(name).unwrap();
        let mut message = message::Again(&view);
        let route = vhost.route_admitted(&exchange, &[b"k"], &mut message, Some(&mut admission));
        assert!(!route.cacheable && admission.is_asked());
        if admission.is_duplicate() {
            assert!(route.queues.is_empty());
            return self.batch.add_epoch(admission.epoch());
        }
        let target = self.routes.target(&route.queues);
        let origin = Origin { channel: 1, number: 1 };
        let (routes, wakes) = (&mut self.routes, &mut Wakes::default());
        self.batch.enqueue_admitted(routes, target, record.clone(), origin, admission, wakes);
    }

    fn step(&mut self) -> bool {
        let unlocks = if self.random.one_in(3) { self.random.within(1..4) } else { 0 };
        self.stepped.interrupt_in(unlocks);
        match self.random.below(20) {
            0..4 => return self.stepped.commit(!self.random.one_in(3)).is_ok(),
            4 => return self.stepped.sync().is_ok(),
            5 => return self.stepped.checkpoint().is_ok(),
            6 => {
                let pick = self.random.below(100);
                self.stepped.compact(pick);
            }
            7 if self.random.one_in(8) => self.disk.stop_after(self.random.below(12) as u64),
            _ => self.publish(),
        }
        self.stepped.check().is_ok()
    }

    /// The power fails, or the process is killed; then everything is looked at.
    fn crash(self) -> World {
        let World { mut random, disk, store, mut remembering, next_id, all_durable, .. } = self;
        let disk = if random.one_in(4) && !disk.is_stopped() { disk.kill() } else { disk.crash(&mut random) };
        let is_kept = |epoch: &Epoch| store.log.outcome(*epoch) == Outcome::Kept;
        let opened = open(&disk, &mut random);
        let world = World::over(random, disk, opened, Vec::new(), next_id);
        for remembering in &mut remembering {
            world.look_at(remembering, is_kept, all_durable);
        }
        World { remembering, all_durable, ..world }
    }

    fn look_at(&self, remembering: &mut Remembering, is_kept: impl Fn(&Epoch) -> bool, all_durable: bool) {
        let Remembering { name, size, notes, durable, promised, .. } = remembering;
        let found = self.found(self.queue(remembering.queue).id);
        assert!(durable.starts_with(&found), "{name} has {found:?} of {durable:?}");
        for (epoch, id) in promised.drain(..) {
            assert!(epoch.is_some(), "{name}: nobody is told when {id} is kept");
            assert!(!is_kept(&epoch) || found.contains(&id), "{name}: {id} was confirmed, and is not in {found:?}");
        }
        let keys = self.remembered(name, remembering.is_exchange);
        let key = |note: &&Note| Key::of(ValueView::Long(note.key as i64));
        // What is not durable is forgotten, whatever it has displaced.
        let kept: Vec<&Note> = notes.iter().filter(|note| note.is_kept && found.contains(&note.id)).collect();
        let last: Vec<Key> = kept.iter().rev().take(*size).rev().map(key).collect();
        assert!(last.ends_with(&keys), "{name} remembers {keys:?} and not the end of {last:?}");
        assert!(!all_durable || keys.len() == last.len(), "{name} remembers {keys:?} and not {last:?}");
        let remembered = kept[kept.len() - keys.len()..].iter().map(|note| (*note).clone()).collect();
        *notes = remembered;
        remembering.found = found.len();
        *durable = found;
    }

    /// The ids of the messages in a queue.
    fn found(&self, queue: QueueId) -> Vec<u64> {
        let (runs, _) = self.stepped.on_disk(queue);
        let id =
            |record: crate::storage::record::Record<'_>| u64::from_le_bytes(record.body().try_into().expect("an id"));
        runs.iter().flat_map(|run| run.records().map(id).collect::<Vec<_>>()).collect()
    }

    fn remembered(&self, name: &str, is_exchange: bool) -> Vec<Key> {
        if is_exchange {
            let exchange = self.vhost().find_exchange(name).expect("it is declared");
            let window = exchange.window();
            window.as_ref().map(|dedup| dedup.remembers()).unwrap_or_default()
        } else {
            self.queue(name).remembers()
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..world.random.within(1..5) {
        for _ in 0..world.random.within(1..60) {
            if !world.step() || world.disk.is_stopped() {
                break;
            }
        }
        world = world.crash();
    }
}

#[test]
fn after_a_crash_a_key_is_remembered_if_its_message_is_there() {
    each_seed("after_a_crash_a_key_is_remembered", 0..300, run);
}
