//! Queues, and what connections do to them: each step is done to the real thing and noted in the model.

use crate::broker::queue::Leaving;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Waker;

use super::commands::{Bodies, CHANNELS, CHANNELS_EACH, CONNECTIONS, Command, Consume, PUBLISHERS, QUEUES};
use super::model::{ChannelModel, ConsumerId, ConsumerModel, Given, Message, Model, Place, QueueModel};
use super::{chunk_with, definition, id_of, new_queue};
use crate::broker::ConnectionId;
use crate::broker::outbox::{Item, Outbox, Wakes};
use crate::broker::queue::limiter::ChannelLimiter;
use crate::broker::queue::{ConsumerKey, Got, HowReturned, NewConsumer, Queue, Relief, Returned};
use crate::error::ReplyCode;
use crate::model_testing::ensure;
use crate::storage::chunk::{Chunk, Run};
use crate::storage::store::Store;
use crate::storage::store::memory::MemoryDisk;
use crate::wire::hot::Outcome;

#[derive(Default)]
struct Connection {
    outbox: Arc<Outbox>,
    /// Taken from the outbox, not yet written.
    inbox: VecDeque<Item>,
}

struct Channel {
    limiter: Arc<ChannelLimiter>,
    /// Deliveries to be settled, in the order of their tags; a message each.
    outstanding: Vec<Outstanding>,
}

/// To whom was written how many bytes, and which positions are settled thereby.
type Sent = (ConsumerId, usize, Vec<(u8, u64, u64)>);

struct Outstanding {
    queue: usize,
    consumer: Option<ConsumerId>,
    run: Run,
}

pub struct World {
    model: Model,
    /// All that ever were, as in the model.
    queues: Vec<Arc<Queue>>,
    /// The one that has each name now.
    named: [usize; QUEUES],
    connections: Vec<Connection>,
    channels: Vec<Channel>,
    /// Of the consumers in the model.
    keys: Vec<Option<ConsumerKey>>,
    publishers: Vec<Arc<Outbox>>,
    chunks: Vec<Weak<Chunk>>,
    next_id: u32,
    disk: Option<(MemoryDisk, Arc<Store>)>,
}

/// The most deliveries that a channel may have outstanding whatever its prefetch; 0 is none.
fn ceiling(channel: usize) -> u32 {
    [0, 0, 7][channel % 3]
}

impl World {
    pub fn new() -> World {
        World::with(None)
    }

    /// Queues with a disk that answers when it is told, with so many messages at most.
    pub fn on_disk(resident_bytes: u64, load_messages: usize) -> World {
        World::with(Some(MemoryDisk::open(resident_bytes, load_messages)))
    }

    fn with(disk: Option<(MemoryDisk, Arc<Store>)>) -> World {
        let mut world = World {
            model: Model::default(),
            queues: Vec::new(),
            named: [0; QUEUES],
            connections: (0..CONNECTIONS).map(|_| Connection::default()).collect(),
            channels: Vec::new(),
            keys: Vec::new(),
            publishers: (0..PUBLISHERS).map(|_| Arc::default()).collect(),
            chunks: Vec::new(),
            next_id: 1,
            disk,
        };
        (0..QUEUES).for_each(|name| world.declare(name));
        for channel in 0..CHANNELS {
            let limiter = ChannelLimiter::new(ceiling(channel));
            world.channels.push(Channel { limiter, outstanding: Vec::new() });
            world.model.channels.push(ChannelModel { ceiling: ceiling(channel), ..ChannelModel::default() });
        }
        world
    }

    fn declare(&mut self, name: usize) {
        let auto_delete = name == QUEUES - 1;
        self.named[name] = self.queues.len();
        let queue_name = format!("q{name}");
        self.queues.push(match &self.disk {
            // The one in the middle is not durable, and is spilled only.
            Some((_, store)) => {
                Queue::with_store(definition(&queue_name, name != 1, auto_delete), Queue::new_id(), store)
            }
            None => new_queue(&queue_name, auto_delete),
        });
        self.model.queues.push(QueueModel { auto_delete, ..QueueModel::default() });
    }

    pub fn carry_out(&mut self, command: &Command) -> Result<(), String> {
        match *command {
            Command::Publish { ref queues, bodies } => self.publish(queues, bodies),
            Command::Consume { channel, queue, how } => self.consume(channel, self.named[queue], how),
            Command::Write { connection, items } => self.write(connection, items),
            Command::Settle { channel, pick, multiple, outcome } => self.settle(channel, pick, multiple, outcome),
            Command::Get { channel, queue, no_ack } => self.get(channel, self.named[queue], no_ack),
            Command::Cancel { pick } => self.cancel(pick),
            Command::CloseChannel { channel } => self.close_channel(channel),
            Command::LoseConnection { connection } => self.lose_connection(connection),
            Command::Purge { queue } => self.purge(self.named[queue]),
            Command::Delete { queue, if_unused, if_empty } => self.delete(queue, if_unused, if_empty),
            Command::Limit { channel, prefetch } => {
                self.model.channels[channel].prefetch = prefetch;
                self.channels[channel].limiter.set_prefetch(prefetch);
                self.tell_waiting(channel)
            }
            Command::Sync => self.sync(),
            Command::Answer => self.answer().map(|_| ()),
            Command::Shrink { queue, keep_bytes } => {
                self.step(self.named[queue], |queue, _| queue.shrink(keep_bytes, Leaving::All))
            }
            Command::Forget { channel, pick } => {
                self.forget(channel, pick);
                Ok(())
            }
            Command::Pause { queue, publisher, ready_bytes, more_drained_bytes } => {
                let queue = self.named[queue];
                let drained = self.model.queues[queue].drained_bytes;
                let drained_bytes = more_drained_bytes.map_or(u64::MAX, |more| drained + more);
                self.pause(queue, publisher, Relief { ready_bytes, drained_bytes })
            }
        }
    }

    /// Does one thing to one queue, then looks at what has come of it.
    fn step<R>(&mut self, queue: usize, act: impl FnOnce(&Queue, &mut Wakes) -> R) -> Result<R, String> {
        let result = act(&self.queues[queue], &mut Wakes::default());
        if let Some((disk, _)) = &self.disk {
            self.model.queues[queue].loading = disk.is_loading(self.queues[queue].id);
        }
        let given = self.collect(queue)?;
        self.model.given(queue, &given)?;
        self.check_paused(queue)?;
        self.check_counts(queue)?;
        Ok(result)
    }

    /// Moves what the queue has handed out to the connections' inboxes.
    fn collect(&mut self, queue: usize) -> Result<Vec<(ConsumerId, Vec<Given>)>, String> {
        let mut all: Vec<(ConsumerId, Vec<Given>)> = Vec::new();
        for (number, connection) in self.connections.iter_mut().enumerate() {
            let mut items = VecDeque::new();
            connection.outbox.take(&mut items);
            for item in &items {
                let (Item::Deliver { slot, .. } | Item::Cancelled { slot }) = item;
                let id = *slot as ConsumerId;
                let consumer = &mut self.model.consumers[id];
                ensure!(consumer.channel / CHANNELS_EACH == number, "consumer {id} is not of connection {number}");
                let Item::Deliver { run, .. } = item else {
                    ensure!(self.model.queues[queue].dead && !consumer.gone, "consumer {id} was cancelled");
                    consumer.gone = true;
                    continue;
                };
                let given = ids(run).map(|id| Given { id, redelivered: run.redelivered });
                match all.iter_mut().find(|(of, _)| *of == id) {
                    Some((_, messages)) => messages.extend(given),
                    None => all.push((id, given.collect())),
                }
            }
            connection.inbox.append(&mut items);
        }
        Ok(all)
    }

    /// Publishers are told when they may go on, and not before.
    fn check_paused(&mut self, queue: usize) -> Result<(), String> {
        let paused = std::mem::take(&mut self.model.queues[queue].paused);
        let (relieved, still) =
            paused.into_iter().partition::<Vec<_>, _>(|(_, until)| self.model.is_relieved(queue, *until));
        self.model.queues[queue].paused = still;
        for (number, publisher) in self.publishers.iter().enumerate() {
            let notified = !publisher.park(Waker::noop(), false);
            let expected = relieved.iter().any(|(of, _)| *of == number);
            ensure!(notified == expected, "publisher {number} was told to go on: {notified}");
        }
        Ok(())
    }

    fn check_counts(&self, queue: usize) -> Result<(), String> {
        let (real, expected) = (&self.queues[queue], &self.model.queues[queue]);
        let counts = (expected.ready().count() as u32, self.model.live_consumers(queue).count() as u32);
        ensure!(real.counts() == counts, "counts are {:?}, not {counts:?}", real.counts());
        ensure!(real.is_dead() == expected.dead, "queue {queue} is dead: {}", real.is_dead());
        let unacked = self.model.unacked(queue);
        ensure!(expected.dead || real.unacked() == unacked, "{} unacked, not {unacked}", real.unacked());
        let pressure = real.pressure(ConnectionId(u64::MAX));
        let bytes = (expected.ready_bytes(), expected.drained_bytes);
        ensure!((pressure.ready_bytes, pressure.drained_bytes) == bytes, "{pressure:?}, but {bytes:?}");
        Ok(())
    }

    fn publish(&mut self, names: &[usize], bodies: Bodies) -> Result<(), String> {
        let every = bodies.persistent_every;
        let is_persistent = |id: u32| every != 0 && id.is_multiple_of(every);
        let chunk = chunk_with((self.next_id..).zip(bodies.lengths()), is_persistent);
        self.chunks.push(Arc::downgrade(&chunk));
        let messages = Run::of_chunk(&chunk, 0);
        for &name in names {
            let queue = self.named[name];
            let state = &mut self.model.queues[queue];
            for (id, record) in (self.next_id..).zip(messages.records()) {
                state.messages.push(Message {
                    id,
                    bytes: record.prefix_bytes() + record.body_bytes(),
                    redelivered: false,
                    place: Place::Ready,
                    seq: state.ids.len() as u64,
                    persistent: is_persistent(id),
                });
                state.ids.push(id);
            }
            let ready_bytes = self.step(queue, |queue, wakes| queue.enqueue(&chunk, false, wakes).ready_bytes)?;
            ensure!(ready_bytes == self.model.queues[queue].ready_bytes(), "enqueue says {ready_bytes} bytes wait");
        }
        messages.settle();
        self.next_id += bodies.count as u32;
        Ok(())
    }

    fn consume(&mut self, channel: usize, queue: usize, how: Consume) -> Result<(), String> {
        let id = self.model.consumers.len();
        let new = NewConsumer {
            connection: ConnectionId((channel / CHANNELS_EACH) as u64),
            channel: channel as u16,
            tag: format!("c{id}").into(),
            no_ack: how.no_ack,
            exclusive: how.exclusive,
            priority: how.priority,
            prefetch: how.prefetch,
            outbox: self.connections[channel / CHANNELS_EACH].outbox.clone(),
            slot: id as u32,
            limiter: self.channels[channel].limiter.clone(),
            window_bytes: how.window_bytes,
            arguments: None,
        };
        let excludes = |id: ConsumerId| how.exclusive || self.model.consumers[id].how.exclusive;
        let refused = self.model.live_consumers(queue).any(excludes);
        self.model.consumers.push(ConsumerModel { queue, channel, how, gone: refused, unsent_bytes: 0 });
        self.keys.push(None);
        match self.step(queue, |queue, wakes| queue.consume(new, wakes))? {
            Ok(key) => {
                ensure!(!refused, "consumer {id} was let in beside an exclusive one");
                self.keys[id] = Some(key);
            }
            Err(fault) => ensure!(refused && fault.code == ReplyCode::AccessRefused, "consumer {id}: {fault}"),
        }
        Ok(())
    }

    fn write(&mut self, connection: usize, items: usize) -> Result<(), String> {
        let mut sent: Vec<Sent> = Vec::new();
        for _ in 0..items {
            let Some(item) = self.connections[connection].inbox.pop_front() else { break };
            let Item::Deliver { slot, run } = item else { continue };
            let id = slot as ConsumerId;
            if sent.last().is_none_or(|(last, ..)| *last != id) {
                sent.push((id, 0, Vec::new()));
            }
            if let Some((_, bytes, settled)) = sent.last_mut() {
                *bytes += run.bytes();
                let is_settled = self.model.consumers[id].how.no_ack && run.epoch.is_some();
                settled.extend(is_settled.then_some((run.lane, run.first_seq, run.end_seq())));
            }
            self.deliver(id, run);
        }
        for (id, bytes, settled) in sent {
            let consumer = &mut self.model.consumers[id];
            if !consumer.gone {
                consumer.unsent_bytes -= bytes;
                let (queue, key) = (consumer.queue, self.keys[id].expect("it was let in"));
                self.step(queue, |queue, wakes| queue.sent(key, bytes, &settled, wakes))?;
            }
        }
        Ok(())
    }

    fn deliver(&mut self, id: ConsumerId, run: Run) {
        let ConsumerModel { queue, channel, how, .. } = self.model.consumers[id];
        for message in ids(&run) {
            if how.no_ack {
                self.model.queues[queue].forget(message);
            } else {
                self.model.queues[queue].message(message).place = Place::Unsettled { channel, consumer: Some(id) };
            }
        }
        if how.no_ack {
            return run.settle();
        }
        let outstanding = &mut self.channels[channel].outstanding;
        outstanding.extend(one_by_one(run).map(|run| Outstanding { queue, consumer: Some(id), run }));
    }

    fn settle(&mut self, channel: usize, pick: usize, multiple: bool, outcome: Outcome) -> Result<(), String> {
        let outstanding = &mut self.channels[channel].outstanding;
        if outstanding.is_empty() {
            return Ok(());
        }
        let at = pick % outstanding.len();
        let first = if multiple { 0 } else { at };
        let settled: Vec<_> = outstanding.drain(first..=at).collect();
        let credit = settled.iter().filter(|settled| settled.consumer.is_some()).count() as u32;
        for (queue, settled) in by_queue(settled) {
            if outcome == Outcome::Requeued {
                self.release(queue, &[], unsettled(&self.keys, settled))?;
            } else {
                self.acknowledge(queue, settled)?;
            }
        }
        self.give_back(channel, credit)
    }

    fn acknowledge(&mut self, queue: usize, settled: Vec<Outstanding>) -> Result<(), String> {
        let mut runs = Vec::new();
        for Outstanding { consumer, run, .. } in settled {
            self.ids_at(queue, &run).into_iter().for_each(|id| self.model.queues[queue].forget(id));
            runs.push((self.key(consumer), run));
        }
        self.step(queue, |queue, wakes| queue.settle(runs, crate::broker::queue::HowSettled::Acked, wakes))?;
        Ok(())
    }

    fn key(&self, consumer: Option<ConsumerId>) -> Option<ConsumerKey> {
        self.keys[consumer?]
    }

    fn give_back(&mut self, channel: usize, credit: u32) -> Result<(), String> {
        self.model.channels[channel].outstanding -= credit;
        self.channels[channel].limiter.give_back(credit);
        self.tell_waiting(channel)
    }

    fn tell_waiting(&mut self, channel: usize) -> Result<(), String> {
        let limiter = self.channels[channel].limiter.clone();
        for _ in 0..1000 {
            let Some(queue) = limiter.next_waiting() else { return Ok(()) };
            let of = self.queues.iter().position(|known| Arc::ptr_eq(known, &queue)).expect("a queue of this world");
            self.step(of, |queue, wakes| queue.limit_lifted(&limiter, wakes))?;
        }
        Err("queues wait for a channel's limit that has room".into())
    }

    /// Removes consumers and takes messages back; declares the queue again if it ends thereby.
    fn release(&mut self, queue: usize, removed: &[ConsumerId], returned: Vec<Returned>) -> Result<(), String> {
        let keys: Vec<_> = removed.iter().map(|id| self.keys[*id].expect("it was let in")).collect();
        removed.iter().for_each(|id| self.model.consumers[*id].gone = true);
        for Returned { run, how, .. } in &returned {
            self.take_back(queue, run, *how);
        }
        let state = &self.model.queues[queue];
        let unused = !state.dead && self.model.live_consumers(queue).next().is_none();
        let ends = state.auto_delete && unused && !removed.is_empty();
        if ends {
            self.model.kill(queue);
        }
        let ended = self.step(queue, |queue, wakes| queue.release(&keys, || returned, wakes))?;
        ensure!(ended == ends, "queue {queue} has ended: {ended}");
        if let Some(name) = self.named.iter().position(|current| *current == queue)
            && ended
        {
            self.declare(name);
        }
        Ok(())
    }

    fn take_back(&mut self, queue: usize, run: &Run, how: HowReturned) {
        let ids = self.ids_at(queue, run);
        let queue = &mut self.model.queues[queue];
        for id in ids {
            let message = queue.message(id);
            message.place = Place::Ready;
            message.redelivered |= how == HowReturned::Unsettled;
            if queue.dead {
                queue.forget(id);
            }
        }
    }

    /// Takes what was assigned to these consumers and not written from their connection.
    fn take_unsent(&mut self, connection: usize, consumers: &[ConsumerId]) -> Vec<Returned> {
        let mut unsent = Vec::new();
        for item in std::mem::take(&mut self.connections[connection].inbox) {
            match item {
                Item::Deliver { slot, run } if consumers.contains(&(slot as ConsumerId)) => unsent.push(Returned {
                    run,
                    consumer: self.keys[slot as ConsumerId],
                    to_be_acked: !self.model.consumers[slot as ConsumerId].how.no_ack,
                    how: HowReturned::Unsent,
                }),
                Item::Cancelled { slot } if consumers.contains(&(slot as ConsumerId)) => {}
                other => self.connections[connection].inbox.push_back(other),
            }
        }
        unsent
    }

    /// Consumers that their channel knows: of live queues, or of dead ones whose cancellation is not yet written.
    fn known_consumers(&self) -> Vec<ConsumerId> {
        let cancelled = |item: &Item, id| matches!(item, Item::Cancelled { slot } if *slot as ConsumerId == id);
        let known = |(id, consumer): (ConsumerId, &ConsumerModel)| {
            let inbox = &self.connections[consumer.channel / CHANNELS_EACH].inbox;
            (!consumer.gone || inbox.iter().any(|item| cancelled(item, id))).then_some(id)
        };
        self.model.consumers.iter().enumerate().filter_map(known).collect()
    }

    fn cancel(&mut self, pick: usize) -> Result<(), String> {
        let known = self.known_consumers();
        if known.is_empty() {
            return Ok(());
        }
        let id = known[pick % known.len()];
        let ConsumerModel { queue, channel, how, .. } = self.model.consumers[id];
        let unsent = self.take_unsent(channel / CHANNELS_EACH, &[id]);
        let count: u32 = unsent.iter().map(|unsent| unsent.run.count).sum();
        self.release(queue, &[id], unsent)?;
        self.give_back(channel, if how.no_ack { 0 } else { count })
    }

    fn close_channel(&mut self, channel: usize) -> Result<(), String> {
        let outstanding = std::mem::take(&mut self.channels[channel].outstanding);
        let consumers = self.known_consumers();
        let mut per_queue = by_queue(outstanding);
        let of_channel = |id: &ConsumerId| self.model.consumers[*id].channel == channel;
        let consumers: Vec<_> = consumers.into_iter().filter(of_channel).collect();
        for &id in &consumers {
            let queue = self.model.consumers[id].queue;
            if !per_queue.iter().any(|(of, _)| *of == queue) {
                per_queue.push((queue, Vec::new()));
            }
        }
        for (queue, outstanding) in per_queue {
            let of_queue = |id: &ConsumerId| self.model.consumers[*id].queue == queue;
            let removed: Vec<_> = consumers.iter().copied().filter(of_queue).collect();
            let mut returned = unsettled(&self.keys, outstanding);
            returned.extend(self.take_unsent(channel / CHANNELS_EACH, &removed));
            self.release(queue, &removed, returned)?;
        }
        self.channels[channel].limiter = ChannelLimiter::new(ceiling(channel));
        self.model.channels[channel] = ChannelModel { ceiling: ceiling(channel), ..ChannelModel::default() };
        Ok(())
    }

    fn lose_connection(&mut self, connection: usize) -> Result<(), String> {
        for channel in (0..CHANNELS_EACH).rev() {
            self.close_channel(connection * CHANNELS_EACH + channel)?;
        }
        let left = &self.connections[connection].inbox;
        ensure!(left.is_empty(), "a lost connection still has {left:?}");
        Ok(())
    }

    fn get(&mut self, channel: usize, queue: usize, no_ack: bool) -> Result<(), String> {
        let outbox = Arc::<Outbox>::default();
        for _ in 0..1000 {
            let got = self.queues[queue].get(no_ack, &outbox, &mut Wakes::default());
            let Got::Loading = got else { return self.got(got, channel, queue, no_ack) };
            self.step(queue, |_, _| ())?;
            let state = &self.model.queues[queue];
            ensure!(state.loading && state.ready().next().is_some(), "nothing is loaded");
            ensure!(outbox.park(Waker::noop(), false), "told too early");
            let (disk, id) = (self.disk.clone().ok_or("no disk")?.0, self.queues[queue].id);
            let mut is_told = false;
            while !is_told && disk.is_loading(id) {
                self.answer()?;
                is_told = !outbox.park(Waker::noop(), false);
            }
            ensure!(is_told, "not told that the message at the front is in memory");
        }
        Err("messages are loaded for ever".into())
    }

    fn got(&mut self, got: Got, channel: usize, queue: usize, no_ack: bool) -> Result<(), String> {
        let state = &mut self.model.queues[queue];
        let Some(&Message { id, redelivered, bytes, .. }) = state.ready().next() else {
            self.step(queue, |_, _| ())?;
            ensure!(matches!(got, Got::Empty), "got {got:?} from an empty queue");
            return Ok(());
        };
        state.message(id).place = Place::Unsettled { channel, consumer: None };
        if no_ack {
            state.forget(id);
        }
        state.drained_bytes += bytes as u64;
        let remaining = state.ready().count() as u32;
        self.step(queue, |_, _| ())?;
        let Got::Message(run, then) = got else { return Err(format!("did not get message {id}, but {got:?}")) };
        ensure!(ids(&run).eq([id]) && run.redelivered == redelivered, "got {run:?}, not message {id}");
        ensure!(then == remaining, "{then} remain, not {remaining}");
        if no_ack {
            run.settle();
        } else {
            self.channels[channel].outstanding.push(Outstanding { queue, consumer: None, run });
        }
        Ok(())
    }

    /// The messages of a run whose bytes may have left memory.
    fn ids_at(&self, queue: usize, run: &Run) -> Vec<u32> {
        let by_position = &self.model.queues[queue].ids[run.first_seq as usize..run.end_seq() as usize];
        assert!(!run.has_bytes() || ids(run).eq(by_position.iter().copied()), "{run:?} is not {by_position:?}");
        by_position.to_vec()
    }

    /// Writes what was logged: what the disk has then is what is not settled.
    fn sync(&mut self) -> Result<(), String> {
        let Some((disk, store)) = self.disk.clone() else { return Ok(()) };
        disk.write(&store.log);
        for queue in 0..self.queues.len() {
            self.step(queue, |_, _| ())?;
            let (real, expected) = (&self.queues[queue], &self.model.queues[queue]);
            let persistent = || expected.messages.iter().filter(|message| message.persistent && !expected.dead);
            let logged = if real.definition.durable { persistent().count() } else { 0 };
            let (on_disk, _) = disk.counts(real.id);
            ensure!(on_disk == logged, "{on_disk} messages of queue {queue} are on disk, not {logged}");
            let is_acked = |place| match place {
                Place::Ready => false,
                Place::Assigned(consumer) => !self.model.consumers[consumer].how.no_ack,
                Place::Unsettled { .. } => true,
            };
            let delivered = persistent().filter(|message| is_acked(message.place)).map(|message| message.seq + 1).max();
            let mark = disk.delivered(real.id);
            let is_marked = logged == 0 || delivered.is_none_or(|through| through <= mark);
            ensure!(is_marked, "{delivered:?} is delivered, and the disk knows of {mark}");
            ensure!(disk.is_dropped(real.id) == (real.definition.durable && expected.dead), "queue {queue} on disk");
        }
        Ok(())
    }

    /// Has the disk do what it was asked first; returns whether there was anything.
    fn answer(&mut self) -> Result<bool, String> {
        let Some((disk, _)) = self.disk.clone() else { return Ok(false) };
        let Some(id) = disk.next_request() else { return Ok(false) };
        let queue = self.queues.iter().position(|queue| queue.id == id).expect("a queue of this world");
        self.step(queue, |_, _| disk.answer())?;
        Ok(true)
    }

    fn forget(&mut self, channel: usize, pick: usize) {
        let outstanding = &mut self.channels[channel].outstanding;
        let Some((_, store)) = self.disk.as_ref().filter(|_| !outstanding.is_empty()) else { return };
        let at = pick % outstanding.len();
        let run = &mut outstanding[at].run;
        if store.has(run) && run.has_bytes() {
            run.forget_bytes();
        }
    }

    fn purge(&mut self, queue: usize) -> Result<(), String> {
        let expected = self.model.queues[queue].ready().count() as u32;
        self.model.queues[queue].messages.retain(|message| message.place != Place::Ready);
        let (purged, _) = self.step(queue, |queue, wakes| queue.purge(wakes))?;
        ensure!(purged == expected, "purged {purged}, not {expected}");
        Ok(())
    }

    fn delete(&mut self, name: usize, if_unused: bool, if_empty: bool) -> Result<(), String> {
        let queue = self.named[name];
        let ready = self.model.queues[queue].ready().count() as u32;
        let used = self.model.live_consumers(queue).next().is_some();
        let refused = (if_empty && ready > 0) || (if_unused && used);
        if !refused {
            self.model.kill(queue);
        }
        let killed = self.queues[queue].kill(if_unused, if_empty);
        self.step(queue, |_, _| ())?;
        if refused {
            ensure!(killed.is_err_and(|fault| fault.code == ReplyCode::PreconditionFailed), "deleted all the same");
            return Ok(());
        }
        ensure!(matches!(killed, Ok(Some(count)) if count == ready), "deleted {killed:?}, not {ready}");
        ensure!(self.queues[queue].kill(false, false).is_ok_and(|again| again.is_none()), "deleted twice");
        self.declare(name);
        Ok(())
    }

    fn pause(&mut self, queue: usize, publisher: usize, until: Relief) -> Result<(), String> {
        let expected = !self.model.is_relieved(queue, until);
        let paused = &mut self.model.queues[queue].paused;
        if expected {
            paused.retain(|(of, _)| *of != publisher);
            paused.push((publisher, until));
        }
        let outbox = self.publishers[publisher].clone();
        let pauses = self.step(queue, |queue, _| queue.pause_publisher(&outbox, until))?;
        ensure!(pauses == expected, "publisher {publisher} waits: {pauses}");
        Ok(())
    }

    /// What must be so between any two commands.
    pub fn check(&self) -> Result<(), String> {
        for queue in 0..self.queues.len() {
            self.model.check_nobody_hungers(queue)?;
        }
        for (number, channel) in self.channels.iter().enumerate() {
            let expected = &self.model.channels[number];
            let held = self.model.outstanding_of(number);
            ensure!(expected.outstanding == held, "channel {number} has {held} messages");
            let room = channel.limiter.acquire(u32::MAX);
            channel.limiter.give_back(room);
            ensure!(room == expected.room(), "channel {number} has room for {room}, not {}", expected.room());
        }
        Ok(())
    }

    /// Lets clients settle all that they are given, then go. What no one took is still there, in order; nothing else is.
    pub fn check_end(mut self) -> Result<(), String> {
        while self.settle_all()? {}
        self.check()?;
        for channel in &self.model.channels {
            ensure!(channel.outstanding == 0, "with all settled, a channel holds credit");
        }
        for connection in 0..CONNECTIONS {
            self.lose_connection(connection)?;
        }
        for queue in self.named {
            while self.model.queues[queue].ready().next().is_some() {
                self.get(0, queue, true)?;
            }
            self.get(0, queue, true)?;
        }
        self.check()?;
        for queue in &self.model.queues {
            ensure!(queue.messages.is_empty(), "messages are left nowhere");
        }
        self.check_disk_is_empty()?;
        let held = self.chunks.iter().filter(|chunk| chunk.strong_count() > 0).count();
        ensure!(held == 0, "{held} chunks are held by nothing that is left");
        Ok(())
    }

    /// With nothing left to deliver, nothing is left on disk.
    fn check_disk_is_empty(&mut self) -> Result<(), String> {
        while self.answer()? {}
        self.sync()?;
        let Some((disk, _)) = &self.disk else { return Ok(()) };
        for queue in &self.queues {
            let left = disk.counts(queue.id);
            ensure!(left == (0, 0), "the disk has {left:?} messages of {}", queue.name());
        }
        Ok(())
    }

    /// Returns whether there was anything to settle.
    fn settle_all(&mut self) -> Result<bool, String> {
        for connection in 0..CONNECTIONS {
            self.write(connection, usize::MAX)?;
        }
        let mut any = false;
        for channel in 0..CHANNELS {
            if let Some(last) = self.channels[channel].outstanding.len().checked_sub(1) {
                self.settle(channel, last, true, Outcome::Acked)?;
                any = true;
            }
        }
        any |= self.answer()?;
        Ok(any || self.connections.iter().any(|connection| !connection.inbox.is_empty()))
    }
}

fn ids(run: &Run) -> impl Iterator<Item = u32> {
    run.records().map(|record| id_of(record.body()))
}

fn one_by_one(mut run: Run) -> impl Iterator<Item = Run> {
    let mut rest = run.count;
    std::iter::from_fn(move || {
        rest = rest.checked_sub(1)?;
        Some(if rest > 0 { run.split_front(1) } else { run.clone() })
    })
}

/// Groups deliveries by queue, in the order in which queues first appear.
fn by_queue(all: Vec<Outstanding>) -> Vec<(usize, Vec<Outstanding>)> {
    let mut groups: Vec<(usize, Vec<Outstanding>)> = Vec::new();
    for outstanding in all {
        match groups.iter_mut().find(|(queue, _)| *queue == outstanding.queue) {
            Some((_, group)) => group.push(outstanding),
            None => groups.push((outstanding.queue, vec![outstanding])),
        }
    }
    groups
}

fn unsettled(keys: &[Option<ConsumerKey>], outstanding: Vec<Outstanding>) -> Vec<Returned> {
    let returned = |Outstanding { consumer, run, .. }: Outstanding| Returned {
        run,
        consumer: consumer.and_then(|id| keys[id]),
        to_be_acked: true,
        how: HowReturned::Unsettled,
    };
    outstanding.into_iter().map(returned).collect()
}
