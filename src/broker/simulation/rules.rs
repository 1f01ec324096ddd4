//! Queues with rules over the real store on a simulated disk: dead letters, times to live, limits, priorities, counts of
//! returns, with power cuts at any step.
//!
//! The store notes what each epoch says before it is written. [`ledger`] judges what becomes of each message from epoch to
//! epoch, and what a crash leaves must be what there was at the end of one of them, and of none before the last that was
//! reported as kept. So what holds for every epoch holds after every crash: a message that was confirmed is in one place.

mod clients;
mod kept;
mod ledger;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::clients::Client;
use self::kept::{Kept, Place, Published, State};
use self::ledger::{Ledger, by_id};
use super::crash::{Opened, open};
use crate::broker::outbox::Wakes;
use crate::broker::queue::{Leaving, Queue};
use crate::broker::vhost::QueueDeclare;
use crate::broker::worker::Worker;
use crate::broker::{Broker, ConnectionId};
use crate::config::Config;
use crate::model_testing::{Random, each_seed};
use crate::storage::Epoch;
use crate::storage::chunk::OpenChunk;
use crate::storage::log::Outcome;
use crate::storage::sim_disk::{Operation, SimDisk};
use crate::storage::stepped::{Crashed, Stepped};
use crate::storage::store::Store;
use crate::time::Clock;

const START_MS: u64 = 1_700_000_000_000;
/// More turns than the worker ever needs at once.
const TURNS_MAX: usize = 10_000;

struct World {
    random: Random,
    disk: Arc<SimDisk>,
    stepped: Arc<Stepped>,
    store: Arc<Store>,
    broker: Arc<Broker>,
    queues: Vec<Arc<Queue>>,
    ledger: Ledger,
    client: Client,
    /// Handed out and not settled, durable or not: where each is from.
    out: BTreeMap<u64, Place>,
    next_id: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let settings = settings::all(&mut random);
        let opened = open(SimDisk::new(), &mut random);
        let ledger = Ledger::new(settings, START_MS);
        let mut world = World::over(random, opened, ledger, 1);
        world.declare();
        world
    }

    /// Declares the queues, once and for all.
    fn declare(&mut self) {
        let vhost = self.broker.vhost("/").expect("it is configured");
        for settings in &self.ledger.settings {
            let (passive, durable, exclusive, auto_delete) = (false, true, false, false);
            let (name, arguments) = (&*settings.name, settings.arguments());
            let declare = QueueDeclare { name, passive, durable, exclusive, auto_delete, arguments };
            let queue = vhost.queue_declare(declare, ConnectionId(1)).expect("valid arguments");
            self.ledger.ids.push(queue.id);
            self.queues.push(queue);
        }
        self.stepped.commit(true).expect("nothing has failed yet");
        self.follow_epochs();
    }

    /// Starts a broker over what is found.
    fn over(random: Random, opened: Opened, mut ledger: Ledger, next_id: u64) -> World {
        let (disk, stepped, store, recovered) = opened;
        stepped.take_notes();
        let last = Epoch(store.log.filling_epoch().0 - 1);
        let found = found(&stepped, &ledger);
        by_id(&found);
        ledger.restart(last, found);
        let config = Config { vhosts: vec!["/".into()], ..Config::default() };
        let worker = Worker::new(Clock::manual(ledger.now_ms));
        let broker =
            Broker::open_attended(config, store.clone(), recovered, worker).expect("what was written can be read");
        let vhost = broker.vhost("/").expect("it is configured");
        let queue = |id: &_| vhost.queues().into_iter().find(|queue| queue.id == *id).expect("it is defined");
        let queues: Vec<Arc<Queue>> = ledger.ids.iter().map(queue).collect();
        let out = BTreeMap::new();
        World { random, disk, stepped, store, broker, queues, ledger, client: Client::default(), out, next_id }
    }

    fn step(&mut self) -> Result<(), Crashed> {
        let unlocks = if self.random.one_in(3) { self.random.within(1..12) } else { 0 };
        self.stepped.interrupt_in(unlocks);
        let queue = self.random.below(self.queues.len());
        match self.random.below(55) {
            0..10 => self.publish(queue),
            10..13 => self.consume(queue),
            13..17 => self.write(3),
            17..19 => self.ack(),
            19..22 => self.reject(),
            22..26 => {
                let requeued_to = self.requeue();
                if let Some(queue) = requeued_to.filter(|_| self.random.one_in(3)) {
                    // What came back is read again before it is written that it did.
                    self.stepped.interrupt_in(0);
                    self.shrink();
                    self.get(queue);
                }
            }
            26 | 27 => self.get(queue),
            28 | 54 => self.cancel(),
            29 if self.random.one_in(3) => self.lose_client(),
            30 if self.random.one_in(6) => self.purge(queue),
            31 => self.forget(),
            32..36 => _ = self.work(1),
            36 | 37 => _ = self.work(TURNS_MAX),
            38 | 39 => self.advance(),
            40..43 => {
                let sync = !self.random.one_in(3);
                self.stepped.commit(sync)?;
            }
            43 => self.stepped.sync()?,
            44..46 => self.serve(2),
            46 => self.serve(usize::MAX),
            47 | 50 | 51 => self.shrink(),
            52 | 53 => self.forget(),
            48 if self.random.one_in(2) => self.stepped.checkpoint()?,
            48 => {
                let pick = self.random.below(100);
                self.stepped.compact(pick);
            }
            49 if self.random.one_in(4) => {
                self.disk.fail(Operation::Sync, 1 + self.random.below(3) as u64, std::io::ErrorKind::Other);
            }
            49 if self.random.one_in(3) => self.disk.stop_after(self.random.below(12) as u64),
            _ => {}
        }
        self.collect();
        self.follow_epochs();
        Ok(())
    }

    /// Looks at what was written since this was last asked.
    fn follow_epochs(&mut self) {
        for taken in self.stepped.notes() {
            self.ledger.taken(&taken);
        }
    }

    fn publish(&mut self, queue: usize) {
        let mut open = OpenChunk::default();
        let count = self.random.pick(&[1, 1, 2, 5]);
        let first_id = self.next_id;
        self.next_id += count;
        let random = &mut self.random;
        let published: Vec<_> = (first_id..self.next_id).map(|id| Published::random(id, random)).collect();
        let settings = &self.ledger.settings[queue];
        published.iter().for_each(|message| message.push(&mut open, &settings.name));
        let is_dead_lettered = settings.dead_letters_refused();
        let enqueued = self.queues[queue].enqueue(&open.close(), true, &mut Wakes::default());
        let refused: BTreeSet<u64> = enqueued
            .refused
            .iter()
            .flat_map(|&(from, to)| first_id + u64::from(from)..first_id + u64::from(to))
            .collect();
        for Published { id, persistent, expiration, .. } in published {
            match (refused.contains(&id), persistent) {
                (false, true) => self.ledger.accepted(id, queue, expiration, enqueued.epoch),
                (true, true) if is_dead_lettered => self.ledger.refused(id, queue),
                _ => {}
            }
        }
    }

    /// Lets the worker take some turns.
    fn work(&mut self, turns: usize) -> usize {
        let taken = self.broker.worker.attend_due(turns);
        assert!(turns < TURNS_MAX || taken < turns, "the worker finds no end");
        taken
    }

    fn advance(&mut self) {
        self.ledger.now_ms += self.random.pick(&[1, 4, 30, 1100]);
        self.broker.worker.clock.set(self.ledger.now_ms);
    }

    fn serve(&mut self, most: usize) {
        for _ in 0..most {
            if self.disk.is_stopped() || !self.stepped.serve_one() {
                return;
            }
        }
    }

    fn shrink(&mut self) {
        let keep_bytes = self.random.pick(&[0, 0, 100, 1000]);
        let leaving = self.random.pick(&[Leaving::All, Leaving::OnDisk]);
        self.queues.iter().for_each(|queue| queue.shrink(keep_bytes, leaving));
    }

    fn purge(&mut self, queue: usize) {
        let (held, at) = (self.held(queue), self.store.log.filling_epoch());
        let (_, epoch) = self.queues[queue].purge(&mut Wakes::default());
        assert!(epoch.0 == 0 || epoch == at);
        // What waited is gone; what is with somebody, or on its way to be a dead letter, is not.
        self.ledger.purged(queue, &held, at);
    }

    fn held(&self, queue: usize) -> BTreeSet<u64> {
        let of_queue = self.out.iter().filter(|(_, place)| place.0.base() == self.queues[queue].id);
        of_queue.map(|(id, _)| *id).collect()
    }

    /// The power fails, or the process is killed.
    fn crash(&mut self) {
        self.follow_epochs();
        let log = self.store.log.clone();
        let kept = self.ledger.states.epochs().filter(|epoch| log.outcome(*epoch) == Outcome::Kept).max();
        let disk = if self.random.one_in(4) && !self.disk.is_stopped() {
            self.disk.kill()
        } else {
            self.disk.crash(&mut self.random)
        };
        let mut random = Random::new(self.random.next());
        let opened = open(disk, &mut random);
        let mut ledger = std::mem::take(&mut self.ledger);
        let found = found(&opened.1, &ledger);
        let epoch = ledger.states.found(kept.unwrap_or(Epoch::NONE), &found);
        ledger.forget_after(epoch);
        ledger.now_ms += random.pick(&[0, 0, 3, 60, 2000]);
        *self = World::over(random, opened, ledger, self.next_id);
    }

    /// Everything is done that is due, and kept.
    fn settle_down(&mut self) {
        self.disk.heal();
        self.stepped.interrupt_in(0);
        loop {
            self.serve(usize::MAX);
            let turns = self.work(TURNS_MAX);
            self.collect();
            self.stepped.commit(true).expect("the disk is well");
            let notes = self.stepped.notes();
            notes.iter().for_each(|taken| self.ledger.taken(taken));
            if turns == 0 && notes.is_empty() {
                return;
            }
        }
    }

    /// Nobody consumes: what is at the head of a queue has not expired, and no queue is too long.
    fn audit_rules(&mut self) {
        self.settle_down();
        for (queue, settings) in self.ledger.settings.iter().enumerate() {
            let ready = u64::from(self.queues[queue].counts().0);
            if let Some(max) = settings.max_length.filter(|_| settings.drops_head()) {
                assert!(ready <= max, "{ready} are ready in {}, which is to have {max}", settings.name);
            }
            let base = self.queues[queue].id;
            let here = self
                .ledger
                .states
                .last()
                .iter()
                .filter(|((lane, _), kept)| lane.base() == base && !self.out.contains_key(&kept.id));
            let Some((_, front)) = here.min_by_key(|((lane, seq), _)| (std::cmp::Reverse(lane.level()), *seq)) else {
                continue;
            };
            let is_late = front.deadline_ms <= self.ledger.now_ms;
            assert!(!is_late || self.may_be_stuck(queue), "{front:?} is at the head of {}", settings.name);
        }
    }

    /// Whether dead letters of a queue may have to wait.
    fn may_be_stuck(&self, queue: usize) -> bool {
        let settings = &self.ledger.settings[queue];
        let target = settings.dead_letters.map(|to| &self.ledger.settings[to]);
        settings.at_least_once
            && target.is_some_and(|to| to.refuses() || to.dead_letters.is_some() || to.name == settings.name)
    }

    /// A consumer without limits gets all that there is, in order.
    fn audit(&mut self) {
        self.disk.heal();
        self.stepped.interrupt_in(0);
        self.lose_client();
        self.settle_down();
        self.lose_client();
        for queue in 0..self.queues.len() {
            let expected: Vec<Place> = self.in_order(queue);
            self.client.got.clear();
            self.start_consumer(queue, false, 0);
            self.serve(usize::MAX);
            self.collect();
            let got = self.client.got.iter().filter(|place| self.ledger.states.last().contains_key(place));
            let got: Vec<Place> = got.copied().collect();
            if !self.may_be_stuck(queue) {
                assert_eq!(got, expected, "in {}", self.ledger.settings[queue].name);
            }
        }
        self.lose_client();
    }

    /// The messages of a queue that are to be handed out.
    fn in_order(&self, queue: usize) -> Vec<Place> {
        let all = self.ledger.states.last().iter();
        let is_here = |(lane, _): &Place| lane.base() == self.queues[queue].id;
        let here = all.filter(|(place, kept)| is_here(place) && kept.deadline_ms > self.ledger.now_ms);
        let mut places: Vec<Place> = here.map(|(place, _)| *place).collect();
        places.sort_by_key(|(lane, seq)| (std::cmp::Reverse(lane.level()), *seq));
        places
    }
}

/// What is on the disk, lane by lane.
fn found(stepped: &Stepped, ledger: &Ledger) -> State {
    let mut state = State::new();
    for (id, settings) in ledger.ids.iter().zip(&ledger.settings) {
        for level in 0..=settings.max_priority {
            let (runs, _) = stepped.on_disk(id.lane(level));
            for (place, kept) in runs.iter().flat_map(|run| Kept::of_run(run, *id)) {
                let other = state.insert(place, kept);
                assert!(other.is_none(), "{other:?} is read twice");
            }
        }
    }
    state
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..world.random.within(1..4) {
        for _ in 0..world.random.within(1..100) {
            if world.step().and(world.stepped.check()).is_err() || world.disk.is_stopped() {
                break;
            }
        }
        world.crash();
        match world.random.below(3) {
            0 => world.audit_rules(),
            1 => world.audit(),
            _ => {}
        }
    }
    world.audit();
}

/// `LEVERET_SEEDS=FIRST..END` runs others.
#[test]
fn queues_with_rules_find_after_a_crash_what_they_kept() {
    each_seed("queues_with_rules_find_after_a_crash", 0..1000, run);
}
