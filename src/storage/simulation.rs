//! The store on a simulated disk: random work, power cuts at any step, recovery, compared with a plain model.
//!
//! Epochs are atomic and ordered, so what is found after a crash must be what the model was at the end of one of them,
//! and of none before the last that was reported as kept. That is the whole oracle: what was confirmed is there, once and
//! in order; what was settled for good is not; nothing is invented.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::chunk::{Chunk, OpenChunk};
use super::committer::CommitError;
use super::full::Refused;
use super::janitor::{Extent, JanitorError};
use super::log::{Change, Outcome, SyncPolicy, Work};
use super::open::{Engine, Options, open_engine};
use super::record::{append_prefix, flags};
use super::sim_disk::{Operation, SimDisk};
use super::store::{ColdTarget, LoadRequest, Loaded, Recovered};
use super::{Epoch, QueueId, compaction, loader, queue_key};
use crate::model_testing::{Random, each_seed};

const NAMES: usize = 4;
/// The levels of priority that queues have.
const LEVELS: [u8; 3] = [0, 1, 255];

/// A message as the model has it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Message {
    number: u64,
    /// 0 if the queue gives it no time to live.
    deadline_ms: u64,
    /// When it was published; 0 if it never expires, for then that is kept about.
    time_ms: u64,
    returns: u32,
}

/// A lane of a queue as the model has it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Queue {
    /// What is durable and waits: the message of each position.
    waiting: BTreeMap<u64, Message>,
    delivered: u64,
}

/// Everything durable.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    queues: BTreeMap<QueueId, Queue>,
}

/// What happened, in the order of the journal.
#[derive(Clone, Debug)]
enum Event {
    Declared(QueueId),
    Dropped(QueueId),
    Enqueued(QueueId, Vec<(u64, Message)>),
    Settled(QueueId, u64, u64),
    Returned(QueueId, u64, u64, u32),
    Delivered(QueueId, u64),
}

impl Model {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Declared(id) => drop(self.queues.insert(*id, Queue::default())),
            Event::Dropped(id) => self.queues.retain(|of, _| of.base() != *id),
            Event::Enqueued(id, messages) => self.queue(*id).waiting.extend(messages.iter().copied()),
            Event::Settled(id, from, to) => self.queue(*id).waiting.retain(|seq, _| !(*from..*to).contains(seq)),
            Event::Returned(id, from, to, returns) => {
                self.queue(*id).waiting.range_mut(*from..*to).for_each(|(_, message)| message.returns = *returns);
            }
            Event::Delivered(id, through) => {
                let queue = self.queue(*id);
                queue.delivered = queue.delivered.max(*through);
            }
        }
        self.queues.retain(|id, queue| id.level() == 0 || *queue != Queue::default());
    }

    fn queue(&mut self, id: QueueId) -> &mut Queue {
        assert!(self.has(id), "only queues that exist are used");
        self.queues.entry(id).or_default()
    }

    fn has(&self, id: QueueId) -> bool {
        self.queues.contains_key(&id.base())
    }

    fn waits(&self, id: QueueId, seq: u64) -> bool {
        self.queues.get(&id).is_some_and(|queue| queue.waiting.contains_key(&seq))
    }
}

/// The simulated power cut or failure of the disk: the engine is to be abandoned.
struct Crashed;

impl From<CommitError> for Crashed {
    fn from(_: CommitError) -> Crashed {
        Crashed
    }
}

struct World {
    random: Random,
    disk: Arc<SimDisk>,
    engine: Engine,
    refused: Option<Refused>,
    /// The model at the end of the last epoch that must be there.
    base: Model,
    /// What happened since, with its epoch.
    events: Vec<(Epoch, Event)>,
    /// What happened, if it was something else.
    perhaps: Option<Vec<(Epoch, Event)>>,
    /// The model at the end of all events.
    now: Model,
    named: [Option<QueueId>; NAMES],
    next_seq: BTreeMap<QueueId, u64>,
    next_queue: u64,
    next_message: u64,
}

struct Nobody;

impl ColdTarget for Nobody {
    fn loaded(self: Arc<Self>, _: Loaded) {}
    fn spilled(self: Arc<Self>, _: QueueId, _: Vec<super::chunk::Run>) {}
}

fn options(random: &mut Random) -> Options {
    Options {
        sync: SyncPolicy::Always,
        unwritten_max_bytes: 1 << 20,
        queue_resident_bytes: 0,
        journal_file_bytes: random.pick(&[600, 5_000, 1 << 20]),
        reserve_bytes: 2_000,
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let disk = SimDisk::new();
        let options = options(&mut random);
        let (engine, recovered) = open_engine(disk.clone(), options).expect("a new directory can be opened");
        assert!(recovered.queues.is_empty() && recovered.definitions.is_empty());
        World {
            random,
            disk,
            engine,
            refused: None,
            base: Model::default(),
            events: Vec::new(),
            perhaps: None,
            now: Model::default(),
            named: [None; NAMES],
            next_seq: BTreeMap::new(),
            next_queue: 1,
            next_message: 1,
        }
    }

    fn happened(&mut self, epoch: Epoch, event: Event) {
        self.now.apply(&event);
        self.events.push((epoch, event));
    }

    fn step(&mut self) -> Result<(), Crashed> {
        match self.random.below(42) {
            0..4 => self.declare(),
            4 => self.delete(),
            5..15 => self.publish(1),
            15..18 => self.publish(3),
            18..24 => self.settle(),
            24 => self.move_messages(),
            25 => self.deliver(),
            26..32 => return self.commit(),
            32 => return self.sync(),
            33 => return self.checkpoint(),
            34 => return self.compact(),
            35 | 36 => self.load(),
            37 => return self.run_full(),
            38 if self.random.one_in(4) => {
                self.disk.fail(Operation::Sync, 1 + self.random.below(3) as u64, io::ErrorKind::Other)
            }
            40 | 41 => self.give_back(),
            39 if self.random.one_in(2) => self.disk.stop_after(self.random.below(12) as u64),
            _ => {}
        }
        Ok(())
    }

    fn declare(&mut self) {
        let name = self.random.below(NAMES);
        if self.named[name].is_some() {
            return;
        }
        let id = QueueId(self.next_queue);
        self.next_queue += 1;
        self.named[name] = Some(id);
        LEVELS.iter().for_each(|&level| _ = self.next_seq.insert(id.lane(level), 0));
        let epoch = self.engine.core.log.define(vec![Change { key: queue_key(id), value: Some(vec![name as u8]) }]);
        self.happened(epoch, Event::Declared(id));
    }

    fn delete(&mut self) {
        let name = self.random.below(NAMES);
        if let Some(id) = self.named[name].take() {
            let epoch = self.engine.core.log.drop_queue(id);
            self.happened(epoch, Event::Dropped(id));
        }
    }

    /// A lane of a queue; mostly the queue itself.
    fn existing(&mut self) -> Option<QueueId> {
        let name = self.random.below(NAMES);
        let level = if self.random.one_in(3) { self.random.pick(&LEVELS) } else { 0 };
        self.named[name].map(|id| id.lane(level))
    }

    /// To so many queues at once; all of it is one epoch.
    fn publish(&mut self, queues: usize) {
        let mut targets: Vec<QueueId> = (0..queues).filter_map(|_| self.existing()).collect();
        targets.sort_unstable();
        targets.dedup();
        if targets.is_empty() {
            return;
        }
        let (chunk, messages) = self.chunk();
        let log = self.engine.core.log.clone();
        let _hold = log.hold();
        for id in targets {
            self.enqueue(id, &chunk, &messages);
        }
    }

    fn enqueue(&mut self, id: QueueId, chunk: &Arc<Chunk>, messages: &[Option<Message>]) {
        let first = self.next_seq[&id];
        self.next_seq.insert(id, first + messages.len() as u64);
        // Who has a time to live says when messages were published.
        let ttl_ms =
            self.random.pick(&[None, None, Some(0), Some(5000), Some(1 << 40)]).filter(|_| chunk.time_ms() > 0);
        let epoch = self.engine.core.log.enqueue(id, first, ttl_ms, chunk);
        let deadline_ms = ttl_ms.map_or(0, |ttl| chunk.time_ms() + ttl);
        let of_queue = |message: Message| {
            let time_ms = if ttl_ms.is_some() { chunk.time_ms() } else { message.time_ms };
            Message { deadline_ms, time_ms, ..message }
        };
        let durable = (first..).zip(messages).filter_map(|(seq, message)| Some((seq, of_queue((*message)?)))).collect();
        self.happened(epoch, Event::Enqueued(id, durable));
    }

    /// Some messages: of one length or not, persistent or (`None`) not, with an expiration or not.
    fn chunk(&mut self) -> (Arc<Chunk>, Vec<Option<Message>>) {
        let (mut open, mut messages) = (OpenChunk::default(), Vec::new());
        let count = self.random.pick(&[1, 1, 2, 5, 40]);
        let (of_one_length, some_transient) = (self.random.one_in(2), self.random.one_in(4));
        let chunk_ms = self.random.pick(&[0, 1, 1]) * (1_000_000 + self.random.below(30) as u64);
        let some_expire = chunk_ms > 0 && self.random.one_in(3);
        for _ in 0..count {
            let persistent = messages.is_empty() || !some_transient || self.random.one_in(2);
            let expires = some_expire && self.random.one_in(2);
            let number = self.next_message;
            self.next_message += 1;
            let more = if of_one_length { 7 } else { self.random.below(900) };
            let body = [&number.to_le_bytes()[..], &vec![number as u8; more]].concat();
            let mut prefix = Vec::new();
            let flags = if persistent { flags::PERSISTENT } else { 0 } | if expires { flags::EXPIRATION } else { 0 };
            append_prefix(&mut prefix, flags, b"", b"k", &[0, 0], body.len() as u32);
            open.push(&prefix, &body);
            let time_ms = if expires { chunk_ms } else { 0 };
            messages.push(persistent.then_some(Message { number, deadline_ms: 0, time_ms, returns: 0 }));
        }
        let chunk = open.close();
        chunk.published_at(chunk_ms);
        (chunk, messages)
    }

    /// Some positions of a queue that it has had: from the front, or anywhere.
    fn some_positions(&mut self, id: QueueId) -> Option<(u64, u64)> {
        let next = self.next_seq[&id];
        if next == 0 {
            return None;
        }
        let from_front = self.random.one_in(2);
        let first = if from_front {
            self.now.queues.get(&id).and_then(|queue| queue.waiting.keys().next().copied()).unwrap_or(0)
        } else {
            self.random.below(next as usize) as u64
        };
        let most = self.random.pick(&[1, 3, 50]);
        let end = (first + 1 + self.random.below(most) as u64).min(next);
        (first < end).then_some((first, end))
    }

    fn settle(&mut self) {
        let Some(id) = self.existing() else { return };
        if let Some((first, end)) = self.some_positions(id) {
            let epoch = self.engine.core.log.settle(id, first, end);
            self.happened(epoch, Event::Settled(id, first, end));
        }
    }

    /// Messages come back from a consumer.
    fn give_back(&mut self) {
        let Some(id) = self.existing() else { return };
        if let Some((first, end)) = self.some_positions(id) {
            let returns = self.random.within(1..4) as u32;
            let epoch = self.engine.core.log.count_returns(id, first, end, returns);
            self.happened(epoch, Event::Returned(id, first, end, returns));
        }
    }

    /// As a dead letter does, or a transaction: out of one queue and into another, or neither.
    fn move_messages(&mut self) {
        let (Some(from), Some(to)) = (self.existing(), self.existing()) else { return };
        let Some((&seq, _)) = self.now.queues.get(&from).and_then(|queue| queue.waiting.iter().next()) else { return };
        let (chunk, messages) = self.chunk();
        let log = self.engine.core.log.clone();
        let _hold = log.hold();
        self.enqueue(to, &chunk, &messages);
        let epoch = log.settle(from, seq, seq + 1);
        self.happened(epoch, Event::Settled(from, seq, seq + 1));
    }

    fn deliver(&mut self) {
        let Some(id) = self.existing() else { return };
        let through = self.random.below(self.next_seq[&id] as usize + 1) as u64;
        if through > 0 {
            // Marks have no epoch to wait for: whatever epoch is being filled has it.
            self.engine.core.log.deliver(id, through, Epoch(u64::MAX));
            let epoch = self.engine.core.log.filling_epoch();
            self.happened(epoch, Event::Delivered(id, through));
        }
    }

    fn commit(&mut self) -> Result<(), Crashed> {
        if let Some(mut refused) = self.refused.take() {
            let before = refused.epoch();
            let tried = refused.try_again(&mut self.engine.committer, &self.engine.core);
            // If it was cut short, only the disk knows whether there was relief.
            self.perhaps = tried.is_err().then(|| self.rewritten(before, refused.epoch(), true));
            let relieved = before != refused.epoch() && self.engine.core.state().epoch >= before;
            self.events = self.rewritten(before, refused.epoch(), relieved);
            self.refused = (!tried?).then_some(refused);
            return Ok(());
        }
        let sync = !self.random.one_in(3);
        let Some(Work::Write { epoch, contents, .. }) = self.engine.core.log.take_now(sync) else { return Ok(()) };
        match self.engine.committer.commit(epoch, &contents, sync) {
            Err(CommitError::Full) => {
                self.refused = Some(Refused::new(&self.engine.core, epoch, contents));
                assert_ne!(self.engine.core.log.outcome(epoch), Outcome::Pending);
                Ok(())
            }
            done => Ok(done?),
        }
    }

    /// What waits for room is one epoch, `after`; if there was relief, what needs no room happened `before` it.
    fn rewritten(&self, before: Epoch, after: Epoch, relieved: bool) -> Vec<(Epoch, Event)> {
        let mut on_disk = self.base.clone();
        let mut history = Vec::new();
        let mut pending = Vec::new();
        for (epoch, event) in self.events.clone() {
            if epoch < before || epoch > after {
                if epoch < before {
                    on_disk.apply(&event);
                }
                history.push((epoch, event));
            } else {
                pending.push(event);
            }
        }
        let is_gone = |id: QueueId| {
            relieved && pending.iter().any(|event| matches!(event, Event::Dropped(of) if *of == id.base()))
        };
        for event in &pending {
            match event {
                Event::Dropped(id) if relieved && on_disk.has(*id) => {
                    history.push((before, event.clone()));
                }
                Event::Enqueued(id, _) | Event::Delivered(id, _) | Event::Settled(id, ..) | Event::Returned(id, ..)
                    if is_gone(*id) && on_disk.has(*id) => {}
                Event::Settled(id, from, to) if relieved && on_disk.has(*id) => {
                    for seq in *from..*to {
                        let was_there = on_disk.waits(*id, seq);
                        history.push((if was_there { before } else { after }, Event::Settled(*id, seq, seq + 1)));
                    }
                }
                _ => history.push((after, event.clone())),
            }
        }
        history.sort_by_key(|(epoch, _)| *epoch);
        history
    }

    fn sync(&mut self) -> Result<(), Crashed> {
        Ok(self.engine.committer.sync()?)
    }

    fn later_or_crash(done: Result<(), JanitorError>) -> Result<(), Crashed> {
        match done {
            Ok(()) | Err(JanitorError::Later(_)) => Ok(()),
            Err(JanitorError::Fatal(_)) => Err(Crashed),
        }
    }

    fn checkpoint(&mut self) -> Result<(), Crashed> {
        let extent = self.random.pick(&[Extent::SealedFiles, Extent::Everything]);
        Self::later_or_crash(self.engine.janitor.checkpoint(extent))?;
        if self.disk.is_stopped() { Err(Crashed) } else { Ok(()) }
    }

    /// Of any file, whether it is worth it or not.
    fn compact(&mut self) -> Result<(), Crashed> {
        let sealed: Vec<u64> = self.engine.core.state().sealed_files().map(|(number, _)| number).collect();
        if !sealed.is_empty() {
            let file = self.random.pick(&sealed);
            // What cannot be copied stays where it is.
            let _ = compaction::compact(&self.engine.core, file);
        }
        if self.disk.is_stopped() { Err(Crashed) } else { Ok(()) }
    }

    fn run_full(&mut self) -> Result<(), Crashed> {
        if self.random.one_in(2) {
            self.disk.set_capacity(Some(self.disk.used_bytes() + self.random.below(3000) as u64));
        } else {
            self.disk.set_capacity(None);
        }
        Ok(())
    }

    /// What is written can be read back, whatever else is going on.
    fn load(&mut self) {
        let Some(id) = self.existing() else { return };
        let written = self.now_written(id);
        let end = self.next_seq[&id];
        let mut from = self.random.below(end as usize + 1) as u64;
        // Up to some position, and then on from there.
        for _ in 0..3 {
            let count = 1 + self.random.below(20) as u64;
            let to = self.random.pick(&[u64::MAX, from.saturating_add(count)]);
            let bytes = self.random_bytes();
            let (found, through) = self.read(id, from..to, bytes);
            if self.disk.is_stopped() {
                return;
            }
            let waits = |seq: u64| self.now.waits(id, seq);
            let expected = written.range(from..through).filter(|(seq, _)| waits(**seq)).map(|(&seq, &m)| (seq, m));
            let expected: Vec<(u64, Message)> = expected.collect();
            let found: Vec<(u64, Message)> = found.into_iter().filter(|(seq, _)| waits(*seq)).collect();
            assert_eq!(found, expected, "loaded from {from} to {to} of {id:?}");
            from = through;
        }
    }

    fn random_bytes(&mut self) -> usize {
        self.random.pick(&[1, 500, 1 << 20])
    }

    fn read(&self, queue: QueueId, positions: Range<u64>, max_bytes: usize) -> (Vec<(u64, Message)>, u64) {
        let (from_seq, to_seq, target) = (positions.start, positions.end, Arc::new(Nobody));
        let loaded = loader::load(&self.engine.core, &LoadRequest { queue, from_seq, to_seq, max_bytes, target });
        let mut messages = Vec::new();
        assert_eq!(loaded.queue, queue);
        for run in &loaded.runs {
            assert_eq!(run.lane, queue.level());
            for (seq, record) in (run.first_seq..).zip(run.records()) {
                let number = u64::from_le_bytes(record.body()[..8].try_into().unwrap());
                assert!(record.body()[8..].iter().all(|&byte| byte == number as u8), "a message is as it was");
                let expires = run.deadline_ms > 0 || record.flags() & flags::EXPIRATION != 0;
                let time_ms = if expires { run.time_ms() } else { 0 };
                let message = Message { number, deadline_ms: run.deadline_ms, time_ms, returns: run.returns };
                messages.push((seq, message));
            }
        }
        (messages, loaded.through_seq)
    }

    /// What waits of a queue and is written.
    fn now_written(&self, id: QueueId) -> BTreeMap<u64, Message> {
        let mut model = self.base.clone();
        let written = self.events.iter().filter(|(epoch, _)| self.engine.core.log.is_written(*epoch));
        written.for_each(|(_, event)| model.apply(event));
        model.queues.get(&id).map(|queue| queue.waiting.clone()).unwrap_or_default()
    }

    /// The power fails, or the process is killed; then everything is looked at.
    fn crash(&mut self) {
        let kept = self
            .events
            .iter()
            .map(|(epoch, _)| *epoch)
            .filter(|&epoch| self.engine.core.log.outcome(epoch) == Outcome::Kept)
            .max();
        let kept = kept.unwrap_or(Epoch::NONE);
        let mut disk = if self.random.one_in(4) && !self.disk.is_stopped() {
            self.disk.kill()
        } else {
            self.disk.crash(&mut self.random)
        };
        disk.set_capacity(None);
        let options = options(&mut self.random);
        let mut attempts = 0;
        let (engine, recovered) = loop {
            if self.random.one_in(3) && attempts < 5 {
                disk.stop_after(self.random.below(20) as u64);
            }
            match open_engine(disk.clone(), options) {
                Ok(opened) => break opened,
                Err(error) => assert!(disk.is_stopped(), "cannot start: {error}"),
            }
            attempts += 1;
            disk = disk.crash(&mut self.random);
        };
        disk.heal();
        (self.disk, self.engine, self.refused) = (disk, engine, None);
        self.check(kept, &recovered);
    }

    fn check(&mut self, kept: Epoch, recovered: &Recovered) {
        self.events.sort_by_key(|(epoch, _)| *epoch);
        let found = self.found(recovered);
        let (events, perhaps) = (std::mem::take(&mut self.events), self.perhaps.take());
        let known = self.at_some_epoch(&events, kept, &found);
        let known = known.or_else(|| self.at_some_epoch(&perhaps?, kept, &found));
        let Some(model) = known else {
            let base = &self.base;
            panic!(
                "after a crash, with epoch {kept:?} kept:\n{found:?}\nis not\n{base:?}\nnor what it became by {events:?}"
            );
        };
        let known = model.queues.keys().flat_map(|id| LEVELS.map(|level| id.lane(level)));
        for id in known {
            let queue = model.queues.get(&id).cloned().unwrap_or_default();
            let next = recovered.queues.get(&id).map_or(0, |queue| queue.next_seq);
            assert!(queue.waiting.keys().next_back().is_none_or(|&last| last < next), "positions would be used again");
            self.next_seq.insert(id, next.max(queue.delivered));
            assert!(id.base().0 < recovered.next_queue_id, "ids would be used again");
        }
        self.next_queue = self.next_queue.max(recovered.next_queue_id);
        self.now = model.clone();
        self.base = model;
    }

    /// The model at the end of an epoch, not before `kept`, if it is the one found.
    fn at_some_epoch(&self, events: &[(Epoch, Event)], kept: Epoch, found: &Model) -> Option<Model> {
        let mut model = self.base.clone();
        let mut events = events.iter().peekable();
        while let Some((_, event)) = events.next_if(|(epoch, _)| *epoch <= kept) {
            model.apply(event);
        }
        while model != *found {
            let &&(epoch, _) = events.peek()?;
            while let Some((_, event)) = events.next_if(|(of, _)| *of == epoch) {
                model.apply(event);
            }
        }
        Some(model)
    }

    /// The model that the recovered store shows.
    fn found(&mut self, recovered: &Recovered) -> Model {
        let mut model = Model::default();
        self.named = [None; NAMES];
        for (key, value) in &recovered.definitions {
            let id = QueueId(u64::from_be_bytes(key[1..].try_into().unwrap()));
            self.named[value[0] as usize] = Some(id);
            for lane in LEVELS.map(|level| id.lane(level)) {
                let queue = self.found_lane(lane, recovered);
                if lane == id || queue != Queue::default() {
                    model.queues.insert(lane, queue);
                }
            }
        }
        let is_left = |id: &QueueId| !model.queues.contains_key(&id.base()) && !recovered.queues[id].waiting.is_empty();
        assert!(!recovered.queues.keys().any(is_left), "lanes go with their queue: {:?}", recovered.queues);
        model
    }
}

impl World {
    fn found_lane(&self, id: QueueId, recovered: &Recovered) -> Queue {
        let (messages, _) = self.read(id, 0..u64::MAX, usize::MAX);
        let waiting: BTreeMap<u64, Message> = messages.iter().copied().collect();
        assert_eq!(waiting.len(), messages.len(), "each message once");
        assert!(messages.is_sorted_by_key(|(seq, _)| *seq));
        let delivered = self.engine.core.state().index.queue(id).map_or(0, |queue| queue.delivered());
        if let Some(queue) = recovered.queues.get(&id) {
            let count: u64 = queue.waiting.iter().map(|range| range.count).sum();
            assert_eq!(count, waiting.len() as u64, "the broker is told how many wait");
            let flagged = queue.waiting.iter().filter(|range| range.redelivered).map(|range| range.count).sum::<u64>();
            assert_eq!(flagged, waiting.range(..delivered).count() as u64);
            let some_expires = waiting.values().any(|message| message.time_ms > 0);
            assert!(queue.may_expire >= some_expires, "the broker is told that something expires");
            assert!(!queue.may_expire || !waiting.is_empty());
        }
        Queue { waiting, delivered }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..world.random.within(1..5) {
        for _ in 0..world.random.within(1..80) {
            if world.step().is_err() || world.disk.is_stopped() {
                break;
            }
        }
        world.crash();
    }
}

/// `LEVERET_SEEDS=FIRST..END` runs others.
#[test]
fn a_crash_at_any_step_loses_nothing_that_was_kept() {
    each_seed("a_crash_at_any_step", 0..4000, run);
}
