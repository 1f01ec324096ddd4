//! Queues with rules (priorities, times to live, limits, delivery limits, dead letters) against a list that does what the
//! rules say, with settings and commands from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::commands::Consume;
use super::traps::{Client, ids};
use super::{definition, id_of};
use crate::broker::ConnectionId;
use crate::broker::outbox::Wakes;
use crate::broker::queue::{ConsumerKey, Got, HowReturned, HowSettled, Queue, QueueDefinition, Returned};
use crate::broker::vhost::{QueueDeclare, VHost};
use crate::broker::worker::Worker;
use crate::model_testing::{Random, check_seeds, ensure};
use crate::storage::chunk::{Chunk, OpenChunk, Run};
use crate::storage::record::{append_prefix, flags};
use crate::storage::store::Store;
use crate::storage::store::memory::MemoryDisk;
use crate::time::Clock;
use crate::wire::properties::PropertiesView;
use crate::wire::table;
use crate::wire::table::ValueView;

const START_MS: u64 = 1_700_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    DropHead,
    RejectPublish,
    RejectPublishDlx,
}

#[derive(Clone, Debug)]
struct Settings {
    ttl_ms: Option<u64>,
    max_length: Option<u64>,
    max_bytes: Option<u64>,
    overflow: Overflow,
    max_priority: Option<u8>,
    delivery_limit: Option<u32>,
    dead_letters: bool,
}

impl Settings {
    fn random(random: &mut Random) -> Settings {
        let mut maybe = |values: &[u64]| if random.one_in(2) { None } else { Some(random.pick(values)) };
        let (ttl_ms, max_length) = (maybe(&[0, 5, 20, 1000]), maybe(&[0, 1, 3, 8]));
        let (max_bytes, max_priority, delivery_limit) = (maybe(&[0, 30, 100]), maybe(&[1, 3, 255]), maybe(&[0, 1, 3]));
        Settings {
            ttl_ms,
            max_length,
            max_bytes,
            overflow: random.pick(&[Overflow::DropHead, Overflow::RejectPublish, Overflow::RejectPublishDlx]),
            max_priority: max_priority.map(|max| max as u8),
            delivery_limit: delivery_limit.map(|limit| limit as u32),
            dead_letters: !random.one_in(3),
        }
    }

    fn arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        let mut number = |name: &str, value: Option<u64>| {
            if let Some(value) = value {
                arguments.insert(name.into(), AMQPValue::LongLongInt(value as i64));
            }
        };
        number("x-message-ttl", self.ttl_ms);
        number("x-max-length", self.max_length);
        number("x-max-length-bytes", self.max_bytes);
        number("x-max-priority", self.max_priority.map(u64::from));
        number("x-delivery-limit", self.delivery_limit.map(u64::from));
        let overflow = match self.overflow {
            Overflow::DropHead => "drop-head",
            Overflow::RejectPublish => "reject-publish",
            Overflow::RejectPublishDlx => "reject-publish-dlx",
        };
        arguments.insert("x-overflow".into(), AMQPValue::LongString(overflow.into()));
        if self.dead_letters {
            arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
            arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString("dead".into()));
        }
        arguments
    }
}

#[derive(Clone, Debug)]
enum Command {
    /// In one chunk: priority, expiration, length of the body.
    Publish(Vec<(Option<u8>, Option<u64>, usize)>),
    Get,
    Consume {
        prefetch: u32,
    },
    Cancel,
    /// Of what is outstanding, the one of this number.
    Ack(usize),
    Reject(usize),
    Requeue(usize),
    RequeueAll,
    Purge,
    Advance(u64),
    /// What has been logged is written.
    Write,
}

#[derive(Clone, Debug)]
struct Scenario {
    settings: Settings,
    command: Command,
}

fn commands(random: &mut Random) -> Vec<Scenario> {
    let settings = Settings::random(random);
    let number = random.within(5..60);
    (0..number).map(|_| Scenario { settings: settings.clone(), command: command(random) }).collect()
}

fn command(random: &mut Random) -> Command {
    match random.below(16) {
        0..5 => Command::Publish((0..random.within(1..6)).map(|_| message(random)).collect()),
        5 => Command::Get,
        6 => Command::Consume { prefetch: random.within(0..4) as u32 },
        7 => Command::Cancel,
        8 => Command::Ack(random.below(8)),
        9 => Command::Reject(random.below(8)),
        10 => Command::Requeue(random.below(8)),
        11 if random.one_in(2) => Command::RequeueAll,
        12 if random.one_in(8) => Command::Purge,
        13 | 14 => Command::Advance(random.pick(&[0, 1, 5, 30, 2000])),
        _ => Command::Write,
    }
}

fn message(random: &mut Random) -> (Option<u8>, Option<u64>, usize) {
    let priority = if random.one_in(3) { None } else { Some(random.pick(&[0, 1, 2, 5, 255])) };
    let expiration = if random.one_in(4) { Some(random.pick(&[0, 3, 10, 5000])) } else { None };
    (priority, expiration, random.pick(&[4, 10, 40]))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    id: u32,
    level: u8,
    seq: u64,
    bytes: u64,
    deadline_ms: u64,
    returns: u32,
}

/// What the rules say.
struct Model {
    settings: Settings,
    now_ms: u64,
    /// By falling priority, then position.
    ready: BTreeMap<(std::cmp::Reverse<u8>, u64), Message>,
    /// In the order of delivery; whether to the consumer.
    outstanding: Vec<(Message, bool)>,
    consumer: Option<u32>,
    next_seq: u64,
    /// Message and reason.
    dead: Vec<(u32, &'static str)>,
    refused: Vec<u32>,
}

impl Model {
    fn bury(&mut self, id: u32, reason: &'static str) {
        if self.settings.dead_letters {
            self.dead.push((id, reason));
        }
    }

    fn put(&mut self, message: Message) {
        self.ready.insert((std::cmp::Reverse(message.level), message.seq), message);
    }

    fn drop_expired(&mut self) {
        while let Some(front) = self.ready.first_entry()
            && front.get().deadline_ms <= self.now_ms
        {
            let message = front.remove();
            self.bury(message.id, "expired");
        }
    }

    fn bytes(&self) -> u64 {
        self.ready.values().map(|message| message.bytes).sum()
    }

    fn is_over(&self, more: u64, more_bytes: u64) -> bool {
        let over = |is: u64, max: Option<u64>| max.is_some_and(|max| is > max);
        over(self.ready.len() as u64 + more, self.settings.max_length)
            || over(self.bytes() + more_bytes, self.settings.max_bytes)
    }

    fn drop_heads(&mut self) {
        if self.settings.overflow != Overflow::DropHead {
            return;
        }
        while self.is_over(0, 0)
            && let Some((_, message)) = self.ready.pop_first()
        {
            self.bury(message.id, "maxlen");
        }
    }

    /// With `expires`, what has expired is not given.
    fn assign(&mut self, expires: bool) {
        loop {
            if expires {
                self.drop_expired();
            }
            let Some(prefetch) = self.consumer else { return };
            let held = self.outstanding.iter().filter(|(_, to_consumer)| *to_consumer).count() as u32;
            if prefetch != 0 && held >= prefetch {
                return;
            }
            let Some((_, message)) = self.ready.pop_first() else { return };
            self.outstanding.push((message, true));
        }
    }

    fn publish(&mut self, messages: Vec<Message>) {
        self.drop_expired();
        let limited = self.settings.max_length.is_some() || self.settings.max_bytes.is_some();
        if self.settings.overflow == Overflow::DropHead || !limited {
            messages.into_iter().for_each(|message| self.put(message));
            self.assign(false);
        } else {
            self.publish_what_fits(messages);
        }
        self.drop_heads();
        self.drop_expired();
    }

    /// As many at once as fit, so that among those the highest priority is given first.
    fn publish_what_fits(&mut self, messages: Vec<Message>) {
        let mut taken = 0;
        for message in messages {
            if self.is_over(1, message.bytes) && taken > 0 {
                self.assign(false);
                taken = 0;
            }
            if self.is_over(1, message.bytes) {
                self.refused.push(message.id);
                if self.settings.overflow == Overflow::RejectPublishDlx {
                    self.bury(message.id, "maxlen");
                }
            } else {
                self.put(message);
                taken += 1;
            }
        }
        self.assign(false);
    }

    fn requeue(&mut self, messages: Vec<Message>) {
        for mut message in messages {
            message.returns += u32::from(self.settings.delivery_limit.is_some());
            if self.settings.delivery_limit.is_some_and(|limit| message.returns > limit) {
                self.bury(message.id, "delivery_limit");
            } else {
                self.put(message);
            }
        }
        self.drop_heads();
        self.assign(true);
    }
}

/// The real queue, and the list that it is compared with.
struct World {
    model: Model,
    queue: Arc<Queue>,
    dead: Arc<Queue>,
    worker: Arc<Worker>,
    _vhost: Arc<VHost>,
    disk: Option<(MemoryDisk, Arc<Store>)>,
    client: Client,
    consumer: Option<ConsumerKey>,
    outstanding: Vec<(u32, Option<ConsumerKey>, Run)>,
    next_id: u32,
    found_dead: Vec<(u32, String)>,
    found_refused: Vec<u32>,
}

impl World {
    fn new(settings: Settings, disk: Option<(MemoryDisk, Arc<Store>)>) -> World {
        let worker = Worker::new(Clock::manual(START_MS));
        let store = disk.as_ref().map(|(_, store)| store.clone());
        let vhost = VHost::build("/".into(), store, worker.clone());
        let declare = |name, arguments| {
            let (durable, exclusive, auto_delete, passive) = (disk.is_some(), false, false, false);
            let declare = QueueDeclare { name, passive, durable, exclusive, auto_delete, arguments };
            vhost.queue_declare(declare, ConnectionId(1)).expect("valid arguments")
        };
        let dead = declare("dead", FieldTable::default());
        let around = vhost.surroundings();
        // Delivery limits are for classic queues too, though a client cannot ask for one yet.
        let definition = QueueDefinition { arguments: settings.arguments(), ..definition("q", disk.is_some(), false) };
        let queue = Queue::recovered(definition, Queue::new_id(), around, []);
        let model = Model {
            settings,
            now_ms: START_MS,
            ready: BTreeMap::new(),
            outstanding: Vec::new(),
            consumer: None,
            next_seq: 0,
            dead: Vec::new(),
            refused: Vec::new(),
        };
        World {
            model,
            queue,
            dead,
            worker,
            _vhost: vhost,
            disk,
            client: Client::new(0),
            consumer: None,
            outstanding: Vec::new(),
            next_id: 0,
            found_dead: Vec::new(),
            found_refused: Vec::new(),
        }
    }

    fn carry_out(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Publish(messages) => self.publish(messages),
            Command::Get => self.get()?,
            Command::Consume { prefetch } => self.consume(*prefetch),
            Command::Cancel => self.cancel(),
            Command::Ack(number) => self.settle(*number, HowSettled::Acked),
            Command::Reject(number) => self.settle(*number, HowSettled::Rejected),
            Command::Requeue(number) => self.requeue(*number, 1),
            Command::RequeueAll => self.requeue(0, usize::MAX),
            Command::Purge => {
                self.queue.purge(&mut Wakes::default());
                self.model.ready.clear();
            }
            Command::Advance(ms) => {
                self.model.now_ms += ms;
                self.worker.clock.set(self.model.now_ms);
            }
            Command::Write => self.write(),
        }
        self.settle_down();
        self.check()
    }

    fn write(&self) {
        if let Some((disk, store)) = &self.disk {
            disk.write(&store.log);
        }
    }

    /// Lets the worker do what is due, as time stands still meanwhile.
    fn settle_down(&mut self) {
        assert!(self.worker.attend_due(10_000) < 10_000, "the worker finds no end");
        self.model.drop_expired();
        self.model.assign(true);
        self.receive();
    }

    fn receive(&mut self) {
        let key = self.consumer;
        for (_, mut run) in self.client.take() {
            while run.count > 1 {
                let front = run.split_front(1);
                self.outstanding.push((ids(&front)[0], key, front));
            }
            self.outstanding.push((ids(&run)[0], key, run));
        }
    }

    fn publish(&mut self, messages: &[(Option<u8>, Option<u64>, usize)]) {
        let mut open = OpenChunk::default();
        let mut modelled = Vec::new();
        let is_durable = self.disk.is_some();
        for &(priority, expiration, length) in messages {
            let id = self.next_id;
            self.next_id += 1;
            push(&mut open, id, priority, expiration, length, is_durable);
            let settings = &self.model.settings;
            let level = priority.unwrap_or(0).min(settings.max_priority.unwrap_or(0));
            let ttl = [settings.ttl_ms, expiration].into_iter().flatten().min();
            let deadline_ms = ttl.map_or(u64::MAX, |ttl| self.model.now_ms + ttl);
            let seq = self.model.next_seq;
            self.model.next_seq += 1;
            modelled.push(Message { id, level, seq, bytes: length as u64, deadline_ms, returns: 0 });
        }
        let first_id = modelled[0].id;
        let chunk: Arc<Chunk> = open.close();
        let enqueued = self.queue.enqueue(&chunk, true, &mut Wakes::default());
        self.found_refused.extend(enqueued.refused.iter().flat_map(|&(from, to)| first_id + from..first_id + to));
        self.model.publish(modelled);
    }

    fn get(&mut self) -> Result<(), String> {
        let mut got = self.queue.get(false, &Arc::default(), &mut Wakes::default());
        if matches!(got, Got::Loading) {
            got = self.queue.get(false, &Arc::default(), &mut Wakes::default());
        }
        self.model.drop_expired();
        let expected = self.model.ready.pop_first().map(|(_, message)| message);
        match (got, expected) {
            (Got::Empty, None) => Ok(()),
            (Got::Message(run, left), Some(message)) => {
                self.model.drop_expired();
                ensure!(ids(&run) == [message.id], "got {:?}, not {message:?}", ids(&run));
                ensure!(run.returns == message.returns, "{} returns of {message:?}", run.returns);
                let expected = self.model.ready.len();
                // Whether what is on disk has expired is not known before it is read.
                let is_known = self.disk.is_none();
                ensure!(!is_known || left as usize == expected, "{left} are said to be left, {expected} are");
                self.outstanding.push((message.id, None, run));
                self.model.outstanding.push((message, false));
                Ok(())
            }
            (got, expected) => Err(format!("got {got:?}, not {expected:?}")),
        }
    }

    fn consume(&mut self, prefetch: u32) {
        if self.consumer.is_some() {
            return;
        }
        let how = Consume { prefetch, ..Consume::PLAIN };
        self.consumer = Some(self.client.consume(&self.queue, 0, how));
        self.model.consumer = Some(prefetch);
        self.model.assign(true);
        self.receive();
    }

    fn cancel(&mut self) {
        let Some(key) = self.consumer.take() else { return };
        let ended = self.queue.release(&[key], Vec::new, &mut Wakes::default());
        assert!(!ended);
        self.model.consumer = None;
        self.model.outstanding.iter_mut().for_each(|(_, to_consumer)| *to_consumer = false);
        self.outstanding.iter_mut().for_each(|(_, key, _)| *key = None);
    }

    fn settle(&mut self, number: usize, how: HowSettled) {
        if self.outstanding.is_empty() {
            return;
        }
        let at = number % self.outstanding.len();
        let (_, key, run) = self.outstanding.remove(at);
        let (message, _) = self.model.outstanding.remove(at);
        self.queue.settle([(key, run)], how, &mut Wakes::default());
        if how == HowSettled::Rejected {
            self.model.bury(message.id, "rejected");
        }
        self.model.assign(true);
        self.receive();
    }

    fn requeue(&mut self, number: usize, most: usize) {
        if self.outstanding.is_empty() {
            return;
        }
        let from = number % self.outstanding.len();
        let to = self.outstanding.len().min(from.saturating_add(most));
        let returned = self.outstanding.drain(from..to).map(|(_, consumer, run)| Returned {
            run,
            consumer,
            to_be_acked: true,
            how: HowReturned::Unsettled,
        });
        let returned: Vec<_> = returned.collect();
        let _ = self.queue.release(&[], || returned, &mut Wakes::default());
        let messages = self.model.outstanding.drain(from..to).map(|(message, _)| message).collect();
        self.model.requeue(messages);
        self.receive();
    }

    fn check(&mut self) -> Result<(), String> {
        let found: Vec<u32> = self.outstanding.iter().map(|(id, ..)| *id).collect();
        let expected: Vec<u32> = self.model.outstanding.iter().map(|(message, _)| message.id).collect();
        ensure!(found == expected, "{found:?} are outstanding, not {expected:?}");
        let (found, expected) = (self.queue.counts().0, self.model.ready.len() as u32);
        ensure!(found == expected, "{found} are ready, not {expected}: {:?}", self.model.ready.values());
        ensure!(
            self.found_refused == self.model.refused,
            "{:?} refused, not {:?}",
            self.found_refused,
            self.model.refused
        );
        self.collect_dead()?;
        let expected: Vec<_> = self.model.dead.iter().map(|&(id, reason)| (id, reason.to_owned())).collect();
        ensure!(self.found_dead == expected, "dead are {:?}, not {expected:?}", self.found_dead);
        Ok(())
    }

    fn collect_dead(&mut self) -> Result<(), String> {
        loop {
            match self.dead.get(true, &Arc::default(), &mut Wakes::default()) {
                Got::Empty => return Ok(()),
                Got::Loading => {}
                Got::Message(run, _) => {
                    let record = run.record(0);
                    self.found_dead.push((id_of(record.body()), reason_of(record.properties())?));
                }
            }
        }
    }

    /// Takes out all that is left, in order.
    fn end(&mut self) -> Result<(), String> {
        self.cancel();
        self.check()?;
        for _ in 0..=self.model.ready.len() {
            self.get()?;
        }
        Ok(())
    }
}

fn reason_of(properties: &[u8]) -> Result<String, String> {
    let view = PropertiesView::parse(properties, 8).map_err(|e| format!("{e:?}"))?;
    match table::lookup(view.headers_bytes().unwrap_or_default(), b"x-last-death-reason") {
        Some(ValueView::LongString(reason)) => Ok(String::from_utf8_lossy(reason).into_owned()),
        other => Err(format!("a dead letter without a reason: {other:?}")),
    }
}

fn push(open: &mut OpenChunk, id: u32, priority: Option<u8>, expiration: Option<u64>, length: usize, durable: bool) {
    const PRIORITY: u16 = 1 << 11;
    const EXPIRATION: u16 = 1 << 8;
    let (mut of_record, mut of_wire, mut values) = (if durable { flags::PERSISTENT } else { 0 }, 0u16, Vec::new());
    if let Some(priority) = priority {
        (of_record, of_wire) = (flags::with_priority(of_record, priority), of_wire | PRIORITY);
        values.push(priority);
    }
    if let Some(expiration) = expiration {
        (of_record, of_wire) = (of_record | flags::EXPIRATION, of_wire | EXPIRATION);
        table::push_short_string(&mut values, expiration.to_string().as_bytes());
    }
    let properties = [&of_wire.to_be_bytes()[..], &values].concat();
    let mut prefix = Vec::new();
    append_prefix(&mut prefix, of_record, b"", b"q", &properties, length as u32);
    let mut body = vec![0; length];
    body[..4].copy_from_slice(&id.to_le_bytes());
    open.push(&prefix, &body);
}

fn run(scenario: &[Scenario], disk: impl Fn() -> Option<(MemoryDisk, Arc<Store>)>) -> Result<(), String> {
    let Some(first) = scenario.first() else { return Ok(()) };
    let mut world = World::new(first.settings.clone(), disk());
    for Scenario { command, .. } in scenario {
        world.carry_out(command)?;
    }
    world.end()
}

#[test]
fn rules_are_followed_as_a_plain_list_follows_them() {
    check_seeds(50_000..51_000, commands, |scenario| run(scenario, || None));
}

#[test]
fn rules_are_followed_by_what_is_on_disk() {
    for resident_bytes in [0, 200] {
        let disk = || {
            let (disk, store) = MemoryDisk::open(resident_bytes, 3);
            disk.answer_at_once();
            Some((disk, store))
        };
        check_seeds(60_000..60_500, commands, |scenario| run(scenario, disk));
    }
}
