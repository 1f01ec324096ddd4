//! Messages on their way to sets of queues, against a plain list for each queue.

use std::sync::Arc;

use crate::broker::outbox::Wakes;
use crate::broker::queue::{Got, Queue, QueueDefinition};
use crate::broker::routes::{Batch, Origin, Routes};
use crate::model_testing::{Random, check_seeds, ensure};
use crate::storage::record::append_prefix;

const QUEUES: usize = 4;

#[derive(Clone, Debug)]
enum Command {
    // To these queues, in this order; the body is so long.
    Publish { queues: Vec<usize>, body_bytes: usize },
    PublishAlone { queues: Vec<usize> },
    EndBatch,
    // The end of a batch at which the cached routes are dropped.
    Forget,
    Delete { queue: usize },
}

fn commands(random: &mut Random) -> Vec<Command> {
    let large = random.one_in(10);
    let few: Vec<_> = (0..random.within(1..5)).map(|_| some_queues(random)).collect();
    let mut commands = Vec::new();
    for _ in 0..random.within(5..120) {
        let queues = if random.one_in(10) { some_queues(random) } else { random.pick(&few) };
        commands.push(match random.below(30) {
            0 => Command::EndBatch,
            1 if random.one_in(3) => Command::Forget,
            2 if random.one_in(10) => Command::Delete { queue: random.below(QUEUES) },
            3 => Command::PublishAlone { queues },
            _ => Command::Publish { queues, body_bytes: if large { 60_000 } else { random.pick(&[4, 4, 9, 100]) } },
        });
    }
    commands
}

/// One queue or more, in any order.
fn some_queues(random: &mut Random) -> Vec<usize> {
    let first = random.below(QUEUES);
    let more = if random.one_in(2) { 0 } else { random.below(QUEUES) };
    let step = random.pick(&[1, 3]);
    (0..=more).map(|i| (first + i * step) % QUEUES).collect()
}

struct World {
    routes: Routes,
    batch: Batch,
    queues: Vec<Arc<Queue>>,
    /// What each queue is to get, in order, until it is looked at.
    expected: Vec<Vec<u32>>,
    next_id: u32,
}

impl World {
    fn new(queues: usize) -> World {
        let queue = |_| {
            Queue::new(QueueDefinition {
                vhost: "/".into(),
                name: "q".into(),
                durable: false,
                auto_delete: false,
                exclusive_owner: None,
                arguments: Default::default(),
            })
        };
        World {
            routes: Routes::default(),
            batch: Batch::default(),
            queues: (0..queues).map(queue).collect(),
            expected: vec![Vec::new(); queues],
            next_id: 0,
        }
    }

    fn carry_out(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Publish { queues, body_bytes } => self.publish(queues, *body_bytes),
            Command::PublishAlone { queues } => self.publish_alone(queues),
            Command::EndBatch => return self.end_batch(),
            Command::Forget => {
                self.end_batch()?;
                self.routes.forget();
            }
            Command::Delete { queue } => {
                self.end_batch()?;
                self.queues[*queue].kill(false, false).map_err(|fault| fault.to_string())?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, queues: &[usize], body_bytes: usize) {
        let (prefix, body) = self.message(queues, body_bytes);
        let target = self.routes.target(&self.arcs(queues));
        self.batch.chunk(&mut self.routes, target, &mut Wakes::default()).push(&prefix, &body);
    }

    fn publish_alone(&mut self, queues: &[usize]) {
        let (prefix, body) = self.message(queues, 4);
        let target = self.routes.target(&self.arcs(queues));
        let origin = Origin { channel: 1, number: 0 };
        let record = [prefix, body].concat();
        self.batch.enqueue_alone(&mut self.routes, target, record, origin, &mut Wakes::default());
    }

    fn arcs(&self, queues: &[usize]) -> Vec<Arc<Queue>> {
        queues.iter().map(|&queue| self.queues[queue].clone()).collect()
    }

    /// The next message, whose body begins with its id.
    fn message(&mut self, queues: &[usize], body_bytes: usize) -> (Vec<u8>, Vec<u8>) {
        let id = self.next_id;
        self.next_id += 1;
        for &queue in queues.iter().filter(|&&queue| !self.queues[queue].is_dead()) {
            self.expected[queue].push(id);
        }
        let (mut prefix, mut body) = (Vec::new(), vec![0; body_bytes]);
        body[..4].copy_from_slice(&id.to_le_bytes());
        append_prefix(&mut prefix, 0, b"", b"q", &[0, 0], body_bytes as u32);
        (prefix, body)
    }

    fn end_batch(&mut self) -> Result<(), String> {
        self.batch.flush(&mut self.routes, &mut Wakes::default());
        self.routes.begin_batch();
        ensure!(self.batch.is_empty(), "something is on its way after a flush");
        for (number, (queue, expected)) in self.queues.iter().zip(&mut self.expected).enumerate() {
            let get = || match queue.get(true, &Arc::default(), &mut Wakes::default()) {
                Got::Message(run, _) => Some(u32::from_le_bytes(*run.record(0).body().first_chunk().expect("an id"))),
                Got::Empty | Got::Loading => None,
            };
            let got: Vec<u32> = std::iter::from_fn(get).collect();
            let expected = std::mem::take(expected);
            ensure!(got == expected, "queue {number} got {got:?}, not {expected:?}");
        }
        Ok(())
    }

    /// A queue lacks messages only while some are on their way to it.
    fn check(&self) -> Result<(), String> {
        for (number, (queue, expected)) in self.queues.iter().zip(&self.expected).enumerate() {
            let lacks = expected.len() - queue.counts().0 as usize;
            let goes = !queue.is_dead() && self.batch.goes_to(queue.id, &self.routes);
            ensure!(goes == (lacks > 0), "queue {number} lacks {lacks} messages, on their way: {goes}");
        }
        Ok(())
    }
}

fn run(commands: &[Command]) -> Result<(), String> {
    let mut world = World::new(QUEUES);
    for command in commands {
        world.carry_out(command)?;
        world.check()?;
    }
    world.end_batch()
}

#[test]
fn each_queue_gets_its_messages_in_publish_order() {
    check_seeds(0..300, commands, run);
}

#[test]
fn order_holds_when_routes_alternate() {
    let (a, b) = (vec![0], vec![0, 1]);
    for routes in [[&a, &b, &a, &b], [&b, &a, &b, &b], [&b, &b, &a, &a]] {
        let publish = |queues: &&Vec<usize>| Command::Publish { queues: queues.to_vec(), body_bytes: 4 };
        run(&routes.iter().map(publish).collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn a_set_of_queues_is_one_target_in_whatever_order() {
    let mut world = World::new(3);
    let [one, same, other] = [[0, 1, 2], [2, 0, 1], [2, 1, 0]].map(|queues| {
        let queues = world.arcs(&queues);
        world.routes.target(&queues)
    });
    assert!(one == same && same == other);
}

/// More routes than chunks may be open at once.
#[test]
fn a_thousand_queues_get_one_message_each_time() {
    let mut world = World::new(1000);
    for round in 0..3 {
        (0..1000).for_each(|queue| world.publish(&[(queue * 7 + round) % 1000], 4));
    }
    world.end_batch().unwrap();
}
