//! Deduplication by policy, and together with what holds messages back; with a clock that the test sets.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use crate::broker::outbox::{Outbox, Wakes};
use crate::broker::policy::{AppliedPolicies, ApplyTo, Policy, PolicyDefinition};
use crate::broker::queue::{Enqueued, Got, HowSettled, Queue};
use crate::broker::vhost::{QueueDeclare, VHost};
use crate::broker::worker::Worker;
use crate::broker::{Broker, ConnectionId};
use crate::config::Config;
use crate::storage::chunk::{Chunk, OpenChunk, Run};
use crate::storage::log::SyncPolicy;
use crate::storage::open::Options;
use crate::storage::record::{append_prefix, flags};
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
}

impl World {
    fn new() -> World {
        let world = World::over(SimDisk::new(), START_MS);
        let declare = QueueDeclare {
            name: "q",
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::default(),
        };
        world.vhost().queue_declare(declare, ConnectionId(1)).expect("it can be declared");
        world
    }

    fn over(disk: Arc<SimDisk>, now_ms: u64) -> World {
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
        World { disk, stepped, worker, broker }
    }

    fn restart(self) -> World {
        self.settle_down();
        World::over(self.disk.kill(), self.worker.now_ms())
    }

    fn vhost(&self) -> Arc<VHost> {
        self.broker.vhost("/").expect("it is configured")
    }

    fn queue(&self) -> Arc<Queue> {
        self.vhost().find_queue("q").expect("it was declared")
    }

    fn apply(&self, definition: Value) {
        let definition = definition.as_object().expect("an object").clone();
        let settings = PolicyDefinition::of(&definition);
        let (vhost, name, pattern, apply_to) = ("/".into(), "p".into(), "".into(), ApplyTo::All);
        let policy = Policy { vhost, name, pattern, apply_to, priority: 0, definition, settings };
        self.queue().apply_policies(AppliedPolicies { policy: Some(Arc::new(policy)), operator: None });
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
        self.worker.clock.set(self.worker.now_ms() + ms);
        self.settle_down();
    }

    fn publish(&self, keys: &[&str]) -> Enqueued {
        self.publish_delayed(0, keys)
    }

    fn publish_delayed(&self, delay_ms: i64, keys: &[&str]) -> Enqueued {
        let enqueued = self.queue().enqueue(&chunk(delay_ms, keys), true, &mut Wakes::default());
        assert!(enqueued.refused.is_empty());
        self.settle_down();
        enqueued
    }

    fn get(&self) -> Option<Run> {
        loop {
            match self.queue().get(false, &Arc::<Outbox>::default(), &mut Wakes::default()) {
                Got::Message(run, _) => return Some(run),
                Got::Empty => return None,
                Got::Loading => self.settle_down(),
            }
        }
    }

    /// Takes all that is ready.
    fn drain(&self) -> Vec<String> {
        let mut bodies = Vec::new();
        while let Some(run) = self.get() {
            bodies.push(String::from_utf8(run.record(0).body().to_vec()).expect("text"));
            self.settle(run, HowSettled::Acked);
        }
        bodies
    }

    fn settle(&self, run: Run, how: HowSettled) {
        self.queue().settle([(None, run)], how, &mut Wakes::default());
        self.settle_down();
    }
}

/// Persistent messages with these keys, which are also their bodies.
fn chunk(delay_ms: i64, keys: &[&str]) -> Arc<Chunk> {
    let mut open = OpenChunk::default();
    for key in keys {
        let nothing = PropertiesView::parse(&[0x10, 0, 2], 1).unwrap();
        let mut properties = nothing.with_header(b"x-deduplication-header", &AMQPValue::LongString((*key).into()));
        if delay_ms > 0 {
            let keyed = PropertiesView::parse(&properties, 8).unwrap();
            properties = keyed.with_header(b"x-delay", &AMQPValue::LongLongInt(delay_ms));
        }
        let (mut prefix, flags) = (Vec::new(), flags::PERSISTENT | flags::HEADERS);
        append_prefix(&mut prefix, flags, b"", b"q", &properties, key.len() as u32);
        open.push(&prefix, key.as_bytes());
    }
    open.close()
}

#[test]
fn a_policy_turns_it_on_and_off() {
    let world = World::new();
    world.publish(&["a", "a"]);
    world.apply(json!({ "message-deduplication": true }));
    world.publish(&["a", "a"]);
    assert_eq!(world.drain(), ["a", "a", "a"]);
    world.apply(json!({ "message-deduplication": true, "cache-size": 2 }));
    world.publish(&["a", "b", "c", "a", "c"]);
    assert_eq!(world.drain(), ["b", "c", "a"]);
    world.apply(json!({}));
    world.publish(&["a"]);
    world.apply(json!({ "message-deduplication": true }));
    world.publish(&["a", "a"]);
    assert_eq!(world.drain(), ["a", "a"], "what was remembered has been forgotten meanwhile");
}

#[test]
fn what_a_policy_had_remembered_is_there_after_a_restart() {
    let by_policy = || json!({ "message-deduplication": true, "cache-ttl": 1000 });
    let mut world = World::new();
    world.apply(by_policy());
    world.publish(&["a"]);
    world.advance(500);
    world.publish(&["b"]);
    world = world.restart();
    world.apply(by_policy());
    assert_eq!(world.drain(), ["a", "b"]);
    assert!(!world.publish(&["a", "b"]).epoch.is_some(), "what it is a duplicate of is kept already");
    assert_eq!(world.drain(), [""; 0]);
    world.advance(500);
    world = world.restart();
    world.apply(by_policy());
    world.publish(&["a", "b"]);
    assert_eq!(world.drain(), ["a"]);
    world.apply(json!({}));
    world = world.restart();
    world.apply(by_policy());
    world.publish(&["a", "b"]);
    assert_eq!(world.drain(), ["a", "b"]);
}

#[test]
fn what_is_delayed_is_looked_at_when_it_comes_and_not_when_it_is_let_go() {
    let mut world = World::new();
    let both = || json!({ "message-deduplication": true, "delayed-message": true });
    world.apply(both());
    assert!(world.publish_delayed(100, &["a", "b", "a"]).epoch.is_some());
    assert!(world.publish(&["a", "c"]).epoch.is_some());
    assert!(world.publish_delayed(50, &["b"]).epoch.is_some(), "it is said when the original is kept");
    assert_eq!((world.drain(), world.queue().messages_delayed()), (vec!["c".to_owned()], 2));
    world = world.restart();
    world.apply(both());
    world.publish(&["a", "b", "c"]);
    world.advance(100);
    assert_eq!(world.drain(), ["a", "b"]);
}

#[test]
fn what_is_tried_again_is_no_duplicate() {
    let world = World::new();
    world.apply(json!({ "message-deduplication": true, "retry": { "attempts": 2, "backoff": [10] } }));
    world.publish(&["a"]);
    for _ in 0..2 {
        world.settle(world.get().expect("it is there again"), HowSettled::Rejected);
        assert!(world.get().is_none());
        world.advance(10);
    }
    world.publish(&["a"]);
    assert_eq!(world.drain(), ["a"]);
}

#[test]
fn the_end_of_a_queue_is_the_end_of_what_it_remembers() {
    let mut world = World::new();
    world.apply(json!({ "message-deduplication": true }));
    world.publish(&["a"]);
    world.vhost().queue_delete("q", false, false, ConnectionId(1)).expect("it can be deleted");
    world.settle_down();
    let rows = |disk: &Arc<SimDisk>| {
        let options = Options {
            sync: SyncPolicy::Always,
            unwritten_max_bytes: 1 << 20,
            queue_resident_bytes: 0,
            journal_file_bytes: 5_000,
            reserve_bytes: 0,
        };
        let (_, _, recovered) = Stepped::open(disk.clone(), options).expect("it can be opened");
        let windows = recovered.definitions.keys().filter(|key| key[0] == 0x0B).count();
        (windows, recovered.queues.values().map(|queue| queue.waiting.len()).sum::<usize>())
    };
    world = world.restart();
    assert_eq!(rows(&world.disk.kill()), (0, 0));
}
