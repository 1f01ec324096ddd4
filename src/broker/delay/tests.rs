//! Delays over the real store on a simulated disk, with a clock that the test sets.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use super::header;
use crate::broker::Broker;
use crate::broker::exchange::Exchange;
use crate::broker::outbox::{Outbox, Wakes};
use crate::broker::policy::{AppliedPolicies, ApplyTo, Policy, PolicyDefinition};
use crate::broker::queue::{Got, HowSettled, Queue};
use crate::broker::vhost::{ExchangeDeclare, QueueDeclare, VHost};
use crate::broker::worker::Worker;
use crate::broker::{ConnectionId, definitions::Definition};
use crate::config::Config;
use crate::model_testing::{Random, each_seed};
use crate::storage::chunk::{Chunk, OpenChunk};
use crate::storage::log::SyncPolicy;
use crate::storage::open::Options;
use crate::storage::record::{self, flags};
use crate::storage::sim_disk::SimDisk;
use crate::storage::stepped::Stepped;
use crate::time::Clock;
use crate::wire::properties::PropertiesView;

const START_MS: u64 = 1_700_000_000_000;

struct World {
    disk: Arc<SimDisk>,
    stepped: Arc<Stepped>,
    worker: Arc<Worker>,
    broker: Arc<Broker>,
    /// Of the policy that applies to all queues.
    policy: Value,
}

impl World {
    fn new(policy: Value) -> World {
        let world = World::over(SimDisk::new(), START_MS, policy);
        world.declare_queue("q");
        world
    }

    fn over(disk: Arc<SimDisk>, now_ms: u64, policy: Value) -> World {
        let options = Options {
            sync: SyncPolicy::Always,
            unwritten_max_bytes: 1 << 20,
            queue_resident_bytes: 300,
            journal_file_bytes: 5_000,
            reserve_bytes: 2_000,
        };
        let (stepped, store, recovered) = Stepped::open(disk.clone(), options).expect("it can be opened");
        let worker = Worker::new(Clock::manual(now_ms));
        let config = Config { vhosts: vec!["/".into()], ..Config::default() };
        let broker = Broker::open_attended(config, store, recovered, worker.clone()).expect("it starts");
        let world = World { disk, stepped, worker, broker, policy };
        world.vhost().queues().iter().for_each(|queue| world.apply_policy(queue));
        world
    }

    fn now_ms(&self) -> u64 {
        self.worker.now_ms()
    }

    fn vhost(&self) -> Arc<VHost> {
        self.broker.vhost("/").expect("it is configured")
    }

    fn queue(&self) -> Arc<Queue> {
        self.vhost().find_queue("q").expect("it was declared")
    }

    fn exchange(&self) -> Arc<Exchange> {
        self.vhost().find_exchange("x").expect("it was declared")
    }

    fn declare_queue(&self, name: &str) {
        let declare = QueueDeclare {
            name,
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::default(),
        };
        let queue = self.vhost().queue_declare(declare, ConnectionId(1)).expect("it can be declared");
        self.apply_policy(&queue);
    }

    /// A delayed fanout exchange `x` with a queue.
    fn declare_exchange(&self) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-delayed-type".into(), AMQPValue::LongString("fanout".into()));
        let declare = ExchangeDeclare {
            name: "x",
            kind: "x-delayed-message",
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments,
        };
        self.vhost().exchange_declare(declare).expect("it can be declared");
        self.vhost().queue_bind("q", "x", b"", FieldTable::default(), ConnectionId(1)).expect("it can be bound");
    }

    fn apply_policy(&self, queue: &Queue) {
        let definition = self.policy.as_object().expect("an object").clone();
        let settings = PolicyDefinition::of(&definition);
        let policy = Policy {
            vhost: "/".into(),
            name: "p".into(),
            pattern: "".into(),
            apply_to: ApplyTo::All,
            priority: 0,
            definition,
            settings,
        };
        queue.apply_policies(AppliedPolicies { policy: Some(Arc::new(policy)), operator: None });
    }

    /// Does everything that there is to do at this time.
    fn settle_down(&self) {
        loop {
            let turns = self.worker.attend_due(1000);
            let served = std::iter::repeat_with(|| self.stepped.serve_one()).take_while(|served| *served).count();
            self.stepped.commit(true).expect("the disk works");
            if turns + served == 0 && self.worker.attend_due(1000) == 0 {
                return;
            }
        }
    }

    fn advance(&self, ms: u64) {
        self.worker.clock.set(self.now_ms() + ms);
        self.settle_down();
    }

    /// Loses all but the disk.
    fn end(self) -> (Arc<SimDisk>, u64, Value) {
        (self.disk.kill(), self.now_ms(), self.policy)
    }

    fn restart(self) -> World {
        let (disk, now_ms, policy) = self.end();
        World::over(disk, now_ms, policy)
    }

    /// Takes all that is ready.
    fn drain(&self) -> Vec<Message> {
        std::iter::from_fn(|| self.get(true)).map(|(message, _)| message).collect()
    }

    fn get(&self, no_ack: bool) -> Option<(Message, crate::storage::chunk::Run)> {
        let outbox = Arc::<Outbox>::default();
        loop {
            match self.queue().get(no_ack, &outbox, &mut Wakes::default()) {
                Got::Message(run, _) => return Some((Message::of(&run), run)),
                Got::Empty => return None,
                Got::Loading => self.settle_down(),
            }
        }
    }

    fn reject(&self) -> Message {
        let (message, run) = self.get(false).expect("a message");
        self.queue().settle([(None, run)], HowSettled::Rejected, &mut Wakes::default());
        self.settle_down();
        message
    }

    fn ready(&self) -> u32 {
        self.queue().counts().0
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Message {
    body: String,
    headers: FieldTable,
}

impl Message {
    fn of(run: &crate::storage::chunk::Run) -> Message {
        let record = run.record(0);
        let view = PropertiesView::parse(record.properties(), 8).expect("valid properties");
        let body = String::from_utf8(record.body().to_vec()).expect("text");
        let headers = view.headers_bytes().map(|headers| crate::wire::table::decode_entries(headers, 8).unwrap());
        Message { body, headers: headers.unwrap_or_default() }
    }

    fn number(&self, header: &str) -> Option<i64> {
        match self.headers.inner().get(header)? {
            AMQPValue::LongInt(number) => Some((*number).into()),
            AMQPValue::LongLongInt(number) => Some(*number),
            other => panic!("{other:?}"),
        }
    }
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| &*message.body).collect()
}

/// Persistent messages with these delays and bodies; 0 is none.
fn chunk(messages: &[(u64, &str)]) -> Arc<Chunk> {
    let mut open = OpenChunk::default();
    for (delay_ms, body) in messages {
        let mut prefix = Vec::new();
        let mut properties = vec![0x10, 0, 2];
        let mut with = flags::PERSISTENT;
        if *delay_ms > 0 {
            let view = PropertiesView::parse(&properties, 8).unwrap();
            properties = view.with_header(header::X_DELAY.as_bytes(), &AMQPValue::LongLongInt(*delay_ms as i64));
            with |= flags::HEADERS;
        }
        record::append_prefix(&mut prefix, with, b"x", b"k", &properties, body.len() as u32);
        open.push(&prefix, body.as_bytes());
    }
    open.close()
}

fn delaying() -> Value {
    json!({ "delayed-message": true })
}

#[test]
fn what_is_delayed_enters_the_tail_when_it_is_due() {
    let world = World::new(delaying());
    let queue = world.queue();
    let enqueued =
        queue.enqueue(&chunk(&[(500, "c"), (0, "a"), (20, "b"), (500, "d"), (0, "a2")]), true, &mut Wakes::default());
    assert!(enqueued.epoch.is_some() && enqueued.refused.is_empty());
    world.settle_down();
    assert_eq!((world.ready(), queue.messages_delayed()), (2, 3));
    world.advance(19);
    assert_eq!((world.ready(), queue.messages_delayed()), (2, 3));
    world.advance(1);
    assert_eq!((world.ready(), queue.messages_delayed()), (3, 2));
    world.advance(479);
    assert_eq!((world.ready(), queue.messages_delayed()), (3, 2));
    world.advance(1);
    let drained = world.drain();
    assert_eq!(bodies(&drained), ["a", "a2", "b", "c", "d"]);
    assert_eq!(drained[2].number("x-delay"), Some(-20));
    assert_eq!(queue.messages_delayed(), 0);
}

#[test]
fn without_the_policy_nothing_is_delayed_and_what_was_still_comes() {
    let mut world = World::new(delaying());
    world.queue().enqueue(&chunk(&[(500, "late")]), true, &mut Wakes::default());
    world.policy = json!({});
    world.apply_policy(&world.queue());
    world.queue().enqueue(&chunk(&[(500, "at once")]), true, &mut Wakes::default());
    assert_eq!(bodies(&world.drain()), ["at once"]);
    world = world.restart_after_commit();
    world.advance(500);
    assert_eq!(bodies(&world.drain()), ["late"]);
}

impl World {
    fn restart_after_commit(self) -> World {
        self.stepped.commit(true).expect("the disk works");
        self.restart()
    }
}

#[test]
fn what_is_delayed_survives_and_comes_in_the_order_in_which_it_was_due() {
    let mut world = World::new(delaying());
    let delays: Vec<u64> = (0..200).map(|n| 1 + (n * 7919) % 100_000 * 37).collect();
    let bodies_of: Vec<String> = delays.iter().map(u64::to_string).collect();
    let messages: Vec<(u64, &str)> = delays.iter().copied().zip(bodies_of.iter().map(|body| &**body)).collect();
    messages.chunks(7).for_each(|some| _ = world.queue().enqueue(&chunk(some), true, &mut Wakes::default()));
    world.settle_down();
    let mut sorted = delays.clone();
    sorted.sort_unstable();
    let mut came: Vec<u64> = Vec::new();
    for step in [1_000, 2_000_000, 100, 700_000, 5_000_000] {
        let (disk, now_ms, policy) = world.end();
        world = World::over(disk, now_ms + step, policy);
        world.settle_down();
        came.extend(world.drain().iter().map(|message| message.body.parse::<u64>().unwrap()));
        world.settle_down();
        let waiting = sorted.len() - came.len();
        assert_eq!(world.queue().messages_delayed(), waiting as u64);
    }
    assert_eq!(came, sorted, "all of them, by when they were due");
}

#[test]
fn nothing_of_it_stays_in_memory_once_it_is_on_disk() {
    let world = World::new(delaying());
    let body = "x".repeat(1000);
    let messages: Vec<(u64, &str)> = (0..100).map(|n| (10_000 + n * 50_000, &*body)).collect();
    world.queue().enqueue(&chunk(&messages), true, &mut Wakes::default());
    world.settle_down();
    assert_eq!(world.queue().messages_delayed(), 100);
    let resident = world.queue().delayed_resident_bytes();
    assert_eq!(resident, 0);
}

#[test]
fn the_end_of_the_queue_is_the_end_of_what_it_holds_back() {
    let world = World::new(delaying());
    let queue = world.queue();
    queue.enqueue(&chunk(&[(500, "gone")]), true, &mut Wakes::default());
    world.settle_down();
    assert_eq!(queue.purge(&mut Wakes::default()).0, 0);
    assert_eq!(queue.messages_delayed(), 1, "a purge is of what is ready");
    queue.kill(false, false).expect("it may go");
    world.vhost().remove_queue(&queue);
    assert_eq!(queue.messages_delayed(), 0);
    world.settle_down();
    let (disk, now_ms, policy) = world.end();
    let world = World::over(disk.clone(), now_ms, policy);
    assert_eq!(rows_of_delays(&disk), 0);
    world.declare_queue("q");
    world.advance(1000);
    assert_eq!(bodies(&world.drain()), Vec::<&str>::new());
}

/// How many rows of delays are on the disk.
fn rows_of_delays(disk: &Arc<SimDisk>) -> usize {
    let options = Options {
        sync: SyncPolicy::Always,
        unwritten_max_bytes: 1 << 20,
        queue_resident_bytes: 300,
        journal_file_bytes: 5_000,
        reserve_bytes: 2_000,
    };
    let (_stepped, _store, recovered) = Stepped::open(disk.kill(), options).expect("it can be opened");
    let is_delays = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        matches!(Definition::decode(key, value).expect("it was written so"), Definition::Delays { .. })
    };
    recovered.definitions.iter().filter(|row| is_delays(*row)).count()
}

#[test]
fn an_exchange_routes_what_it_held_back() {
    let mut world = World::new(json!({}));
    world.declare_exchange();
    let intake = world.exchange().intake().expect("it belongs to a virtual host");
    intake.enqueue(&chunk(&[(300_000, "b"), (200, "a")]), true, &mut Wakes::default());
    world.settle_down();
    assert_eq!((world.ready(), world.exchange().messages_delayed()), (0, 2));
    world.advance(200);
    assert_eq!(bodies(&world.drain()), ["a"]);
    world.settle_down();
    world = world.restart();
    assert_eq!(world.exchange().messages_delayed(), 1);
    world.advance(299_799);
    assert_eq!(world.ready(), 0);
    world.advance(1);
    let drained = world.drain();
    assert_eq!((bodies(&drained), drained[0].number("x-delay")), (vec!["b"], Some(-300_000)));
    world.exchange().intake().unwrap().enqueue(&chunk(&[(100, "gone")]), true, &mut Wakes::default());
    world.vhost().exchange_delete("x", false).expect("it may go");
    world.settle_down();
    let world = world.restart();
    world.advance(1000);
    assert_eq!(world.ready(), 0);
}

#[test]
fn a_rejected_message_comes_back_so_often_and_so_late() {
    let mut world = World::new(json!({ "retry": { "attempts": 3, "backoff": [50, 1000] } }));
    world.queue().enqueue(&chunk(&[(0, "again"), (0, "other")]), true, &mut Wakes::default());
    for (count, backoff_ms) in [(1, 50), (2, 1000), (3, 1000)] {
        let rejected = world.reject();
        assert_eq!((&*rejected.body, rejected.number("x-retry-count")), ("again", (count > 1).then_some(count - 1)));
        if count == 1 {
            assert_eq!(bodies(&world.drain()), ["other"]);
        }
        assert_eq!(world.queue().messages_delayed(), 1);
        world = world.restart_after_commit();
        world.advance(backoff_ms - 1);
        assert_eq!(world.ready(), 0);
        world.advance(1);
        assert_eq!((world.ready(), world.queue().messages_delayed()), (1, 0));
    }
    assert_eq!(world.reject().number("x-retry-count"), Some(3));
    world.advance(10_000);
    assert_eq!((world.ready(), world.queue().messages_delayed()), (0, 0), "it has been tried often enough");
}

#[test]
fn nothing_is_lost_or_there_twice_however_the_broker_ends() {
    each_seed("delay::tests::nothing_is_lost_or_there_twice", 0..40, |seed| {
        let mut random = Random::new(seed);
        let mut world = World::new(delaying());
        world.declare_exchange();
        world.stepped.commit(true).expect("the disk works");
        let mut due = Vec::new();
        for _ in 0..60 {
            match random.below(10) {
                0..=2 => {
                    let dues: Vec<u64> =
                        (0..random.within(1..20)).map(|_| world.now_ms() + any_delay(&mut random)).collect();
                    let texts: Vec<String> = (due.len()..).take(dues.len()).map(|id| id.to_string()).collect();
                    let of = |(due_ms, text): (&u64, &'_ String)| (*due_ms - world.now_ms(), text.clone());
                    let messages: Vec<(u64, String)> = dues.iter().zip(&texts).map(of).collect();
                    let messages: Vec<(u64, &str)> = messages.iter().map(|(delay, text)| (*delay, &**text)).collect();
                    let to = if random.one_in(2) { world.queue() } else { world.exchange().intake().unwrap() };
                    to.enqueue(&chunk(&messages), true, &mut Wakes::default());
                    due.extend(dues);
                    world.stepped.commit(true).expect("the disk works");
                }
                3 | 4 => world.worker.clock.set(world.now_ms() + any_delay(&mut random)),
                5 => _ = world.stepped.serve_one(),
                6 => _ = world.stepped.commit(random.one_in(2)),
                7 => world.stepped.interrupt_in(random.within(1..8)),
                8 if random.one_in(3) => {
                    world.stepped.checkpoint().expect("the disk works");
                    world.stepped.compact(random.below(8));
                }
                9 if random.one_in(3) => {
                    let disk = if random.one_in(2) { world.disk.kill() } else { world.disk.crash(&mut random) };
                    let (_, now_ms, policy) = world.end();
                    world = World::over(disk, now_ms, policy);
                }
                _ => _ = world.worker.attend_due(random.within(1..6)),
            }
        }
        world.settle_down();
        let overdue = due.iter().filter(|due_ms| due_ms.div_ceil(5) * 5 <= world.now_ms()).count() as u32;
        assert_eq!(world.ready(), overdue, "all that is due is there, and nothing else");
        world.advance(100_000_000);
        let mut came: Vec<usize> = world.drain().iter().map(|message| message.body.parse().unwrap()).collect();
        came.sort_unstable();
        assert_eq!(came, (0..due.len()).collect::<Vec<_>>());
    });
}

fn any_delay(random: &mut Random) -> u64 {
    let bits = random.below(24);
    1 + random.below(1 << bits) as u64
}
