//! What connections do with queues: consume, write what they are given, settle, give back, and end.

use std::collections::VecDeque;
use std::sync::Arc;

use super::World;
use super::durable::Event;
use super::messages::read;
use crate::broker::ConnectionId;
use crate::broker::outbox::{Item, Outbox, Wakes};
use crate::broker::queue::limiter::ChannelLimiter;
use crate::broker::queue::{ConsumerKey, Got, HowReturned, NewConsumer, Returned};
use crate::storage::chunk::Run;

/// A connection with one channel.
pub struct Connection {
    pub outbox: Arc<Outbox>,
    /// Taken from the outbox, not yet written.
    pub inbox: VecDeque<Item>,
    pub outstanding: Vec<Outstanding>,
    limiter: Arc<ChannelLimiter>,
}

pub struct Outstanding {
    pub queue: usize,
    pub consumer: Option<usize>,
    pub run: Run,
}

pub struct Consumer {
    pub connection: usize,
    pub queue: usize,
    key: Option<ConsumerKey>,
    pub no_ack: bool,
    prefetch: u32,
    pub unacked: u32,
    /// Whether its socket never holds it back.
    is_wide: bool,
    pub gone: bool,
}

impl Consumer {
    /// Whether it must be given whatever is ready.
    pub fn wants_more(&self) -> bool {
        !self.gone && self.is_wide && (self.no_ack || self.prefetch == 0 || self.unacked < self.prefetch)
    }
}

impl Connection {
    pub fn new() -> Connection {
        Connection {
            outbox: Arc::default(),
            inbox: VecDeque::new(),
            outstanding: Vec::new(),
            limiter: ChannelLimiter::new(0),
        }
    }
}

impl World {
    pub fn some_connection(&mut self) -> usize {
        self.random.below(self.connections.len())
    }

    pub fn consume(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let connection = self.some_connection();
        let (no_ack, is_wide) = (self.random.one_in(3), self.random.one_in(2));
        let prefetch = self.random.pick(&[0, 1, 3, 30]);
        self.start_consumer(connection, queue, no_ack, prefetch, is_wide);
    }

    pub fn start_consumer(&mut self, connection: usize, queue: usize, no_ack: bool, prefetch: u32, is_wide: bool) {
        let slot = self.consumers.len();
        let Connection { outbox, limiter, .. } = &self.connections[connection];
        let new = NewConsumer {
            connection: ConnectionId(connection as u64),
            channel: 1,
            tag: format!("c{slot}").into(),
            no_ack,
            exclusive: false,
            priority: 0,
            prefetch,
            outbox: outbox.clone(),
            slot: slot as u32,
            limiter: limiter.clone(),
            window_bytes: if is_wide { usize::MAX } else { 3000 },
            arguments: None,
        };
        self.consumers.push(Consumer {
            connection,
            queue,
            key: None,
            no_ack,
            prefetch,
            unacked: 0,
            is_wide,
            gone: false,
        });
        let at = self.at();
        let key = self.queues[queue].queue.consume(new, &mut Wakes::default());
        self.consumers[slot].key = Some(key.expect("nothing is exclusive"));
        self.collect(at);
    }

    /// A connection writes some of what it was given.
    pub fn write(&mut self, connection: usize, most: usize) {
        for _ in 0..most {
            let Some(item) = self.connections[connection].inbox.pop_front() else { return };
            let Item::Deliver { slot, run } = item else { continue };
            let slot = slot as usize;
            let Consumer { queue, key, no_ack, .. } = self.consumers[slot];
            let bytes = run.bytes();
            let settled = (no_ack && run.epoch.is_some()).then(|| (run.lane, run.first_seq, run.end_seq()));
            let at = self.at();
            if no_ack {
                self.settled(queue, &run, at);
                run.settle();
            } else {
                self.connections[connection].outstanding.push(Outstanding { queue, consumer: Some(slot), run });
            }
            let key = key.expect("it was let in");
            self.queues[queue].queue.sent(key, bytes, settled.as_slice(), &mut Wakes::default());
            self.collect(at);
        }
    }

    /// Notes that what was handed out is settled. Returns whether a journal has it.
    fn settled(&mut self, queue: usize, run: &Run, at: crate::storage::Epoch) -> bool {
        let model = &mut self.queues[queue];
        let (durable, logged) = model.settle(run);
        if model.dead {
            return false;
        }
        if !durable.is_empty() {
            self.history.add(at, Event::Settled(model.id, durable));
        }
        logged
    }

    /// Some of what a connection has to settle: the oldest, or any one run or part of it.
    pub fn take_outstanding(&mut self, connection: usize) -> Vec<Outstanding> {
        let outstanding = &mut self.connections[connection].outstanding;
        if outstanding.is_empty() {
            return Vec::new();
        }
        let at = self.random.below(outstanding.len());
        let mut taken: Vec<Outstanding> = match self.random.below(3) {
            0 => outstanding.drain(..=at).collect(),
            _ => vec![outstanding.remove(at)],
        };
        if let Some(Outstanding { queue, consumer, run }) = taken.last_mut()
            && run.count > 1
            && self.random.one_in(2)
        {
            let front = run.split_front(1 + self.random.below(run.count as usize - 1) as u32);
            let rest = std::mem::replace(run, front);
            outstanding.push(Outstanding { queue: *queue, consumer: *consumer, run: rest });
        }
        taken
    }

    fn key(&self, consumer: Option<usize>) -> Option<ConsumerKey> {
        self.consumers[consumer?].key
    }

    /// Acknowledges, or rejects for good.
    pub fn settle(&mut self, settled: Vec<Outstanding>) {
        for (queue, some) in by_queue(settled) {
            let at = self.at();
            let (mut runs, mut logged) = (Vec::new(), false);
            for Outstanding { consumer, run, .. } in some {
                logged |= self.settled(queue, &run, at);
                self.credit(consumer, &run);
                runs.push((self.key(consumer), run));
            }
            let epoch =
                self.queues[queue].queue.settle(runs, crate::broker::queue::HowSettled::Acked, &mut Wakes::default());
            assert_eq!(epoch.is_some(), logged, "settling is kept if there is anything to be kept");
            assert!(!logged || epoch == at, "it is said when it is kept");
            self.collect(at);
        }
    }

    fn credit(&mut self, consumer: Option<usize>, run: &Run) {
        if let Some(consumer) = consumer {
            self.consumers[consumer].unacked -= run.count;
        }
    }

    pub fn requeue(&mut self, outstanding: Vec<Outstanding>) {
        for (queue, some) in by_queue(outstanding) {
            let returned = some.into_iter().map(|outstanding| self.unsettled(outstanding)).collect();
            self.release(queue, &[], returned);
        }
    }

    fn unsettled(&mut self, Outstanding { consumer, run, .. }: Outstanding) -> Returned {
        self.credit(consumer, &run);
        Returned { run, consumer: self.key(consumer), to_be_acked: true, how: HowReturned::Unsettled }
    }

    fn release(&mut self, queue: usize, removed: &[usize], returned: Vec<Returned>) {
        let at = self.at();
        for Returned { run, how, .. } in &returned {
            self.queues[queue].take_back(run, *how == HowReturned::Unsettled);
        }
        removed.iter().for_each(|&slot| self.consumers[slot].gone = true);
        let model = &self.queues[queue];
        let is_left = |consumer: &Consumer| consumer.queue == queue && !consumer.gone;
        let ends = model.auto_delete && !model.dead && !removed.is_empty() && !self.consumers.iter().any(is_left);
        let keys: Vec<ConsumerKey> = removed.iter().filter_map(|&slot| self.consumers[slot].key).collect();
        let ended = model.queue.release(&keys, || returned, &mut Wakes::default());
        assert_eq!(ended, ends, "a queue ends with its last consumer if it is to");
        if ended {
            self.killed(queue, at);
        }
        self.collect(at);
    }

    /// What was assigned to a consumer and not written.
    fn take_unsent(&mut self, slot: usize) -> Vec<Returned> {
        let Consumer { connection, key, no_ack, .. } = self.consumers[slot];
        let mut unsent = Vec::new();
        for item in std::mem::take(&mut self.connections[connection].inbox) {
            match item {
                Item::Deliver { slot: of, run } if of as usize == slot => {
                    unsent.push(Returned { run, consumer: key, to_be_acked: !no_ack, how: HowReturned::Unsent });
                }
                other => self.connections[connection].inbox.push_back(other),
            }
        }
        unsent
    }

    pub fn cancel(&mut self) {
        let live: Vec<usize> = (0..self.consumers.len()).filter(|&slot| !self.consumers[slot].gone).collect();
        if live.is_empty() {
            return;
        }
        let slot = self.random.pick(&live);
        let unsent = self.take_unsent(slot);
        self.release(self.consumers[slot].queue, &[slot], unsent);
    }

    /// All that a connection has goes back. Another one takes its place.
    pub fn lose(&mut self, connection: usize) {
        let mut all: Vec<(usize, Vec<usize>, Vec<Returned>)> = Vec::new();
        for (queue, some) in by_queue(std::mem::take(&mut self.connections[connection].outstanding)) {
            let returned = some.into_iter().map(|outstanding| self.unsettled(outstanding)).collect();
            all.push((queue, Vec::new(), returned));
        }
        let of_connection = |&slot: &usize| self.consumers[slot].connection == connection;
        for slot in (0..self.consumers.len()).filter(of_connection).collect::<Vec<_>>() {
            let (unsent, queue, gone) = (self.take_unsent(slot), self.consumers[slot].queue, self.consumers[slot].gone);
            let at = all.iter().position(|(of, ..)| *of == queue).unwrap_or_else(|| {
                all.push((queue, Vec::new(), Vec::new()));
                all.len() - 1
            });
            all[at].1.extend((!gone).then_some(slot));
            all[at].2.extend(unsent);
        }
        for (queue, removed, returned) in all {
            self.release(queue, &removed, returned);
        }
        self.connections[connection] = Connection::new();
    }

    pub fn get(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let (connection, no_ack) = (self.some_connection(), self.random.one_in(2));
        for _ in 0..100 {
            let (at, outbox) = (self.at(), self.connections[connection].outbox.clone());
            match self.queues[queue].queue.get(no_ack, &outbox, &mut Wakes::default()) {
                Got::Message(run, left) => {
                    assert_eq!(left as usize + 1, self.queues[queue].ready.len());
                    return self.got(queue, connection, no_ack, run, at);
                }
                Got::Empty => return assert!(self.queues[queue].ready.is_empty(), "got nothing"),
                Got::Loading => {}
            }
            self.collect(at);
            if self.random.one_in(8) || self.disk.is_stopped() {
                return;
            }
            self.serve(usize::MAX);
        }
        panic!("the message at the front of {} does not come", self.queues[queue].name);
    }

    fn got(&mut self, queue: usize, connection: usize, no_ack: bool, run: Run, at: crate::storage::Epoch) {
        let model = &mut self.queues[queue];
        assert_eq!(Some(&run.first_seq), model.ready.keys().next(), "{:?} is not the first", read(&run));
        if let Some(mark) = model.give(&run, no_ack) {
            self.history.add(at, Event::Delivered(model.id, mark));
        }
        if no_ack {
            self.settled(queue, &run, at);
            run.settle();
        } else {
            self.connections[connection].outstanding.push(Outstanding { queue, consumer: None, run });
        }
        self.collect(at);
    }

    /// Lets the bytes of deliveries leave memory.
    pub fn forget(&mut self, connection: usize) {
        for outstanding in &mut self.connections[connection].outstanding {
            if self.store.may_forget(&outstanding.run) {
                outstanding.run.forget_bytes();
            }
        }
    }
}

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
