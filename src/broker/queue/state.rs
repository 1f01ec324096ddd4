//! The state of one queue, and what happens to it. No clock, no disk, no locks of its own but the outboxes' and the
//! log's. What else is to be done of the disk's side is in [`Effects`], for who holds no lock.

use std::sync::{Arc, Weak};

use super::consumers::{Consumer, ConsumerKey, Consumers, NewConsumer};
use super::effects::Effects;
use super::limiter::ChannelLimiter;
use super::ready::Ready;
use super::{Queue, Relief};
use crate::broker::outbox::{Item, Outbox, Wakes};
use crate::storage::chunk::{Chunk, Persistence, Run};
use crate::storage::log::Log;
use crate::storage::store::Store;
use crate::storage::{Epoch, QueueId};

/// While fewer messages than this wait, consumers take turns message by message, as clients expect; above it each
/// turn is a block, so that a long backlog is dealt in runs.
const BACKLOG_MESSAGES: u64 = 512;
/// The largest such block.
const BLOCK_MESSAGES: u64 = 64;

/// Messages that come back from a consumer or a channel.
pub struct Returned {
    pub run: Run,
    /// Whose credit they held; `None` for `basic.get`.
    pub consumer: Option<ConsumerKey>,
    /// Whether they were to be acknowledged, and so counted as such.
    pub to_be_acked: bool,
    pub how: HowReturned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowReturned {
    /// Assigned, never written to the socket: goes back as if nothing had happened.
    Unsent,
    /// Delivered and not settled: goes back flagged redelivered.
    Unsettled,
}

/// Durable messages that are handed out in one go, to be acknowledged.
#[derive(Default)]
struct Delivered {
    /// The position after the last.
    through: u64,
    /// In which the first of them entered the queue.
    epoch: Epoch,
}

impl Delivered {
    fn add(&mut self, run: &Run) {
        if run.epoch.is_some() {
            self.epoch = if self.epoch.is_some() { self.epoch.min(run.epoch) } else { run.epoch };
            self.through = self.through.max(run.end_seq());
        }
    }
}

pub struct QueueState {
    /// To register with a channel's limiter.
    queue: Weak<Queue>,
    id: QueueId,
    pub(super) ready: Ready,
    pub(super) consumers: Consumers,
    pub(super) next_seq: u64,
    /// Delivered or assigned, to be settled.
    unacked: u64,
    pub(super) dead: bool,
    had_consumer: bool,
    /// With so much ready, more is dropped.
    max_ready_bytes: u64,
    /// Bytes that ever left; tells a paused publisher how fast the queue drains.
    drained_bytes: u64,
    /// Publishers that are not read until this queue is relieved.
    paused_publishers: Vec<(Arc<Outbox>, Relief)>,
    /// Where messages may go that leave memory.
    pub(super) store: Option<Arc<Store>>,
    /// Whether what happens is logged.
    is_durable: bool,
    /// All positions below are known to the log as delivered perhaps.
    delivered_mark: u64,
    pub(super) loading: bool,
    /// While something is being spilled: how much is to stay in memory in the end.
    pub(super) spilling: Option<u64>,
    /// Whether the queue is told when more can leave memory.
    pub(super) awaits_written: bool,
    /// Those that asked for the message at the front while it was on disk.
    pub(super) getters: Vec<Arc<Outbox>>,
    pub(super) effects: Effects,
}

impl QueueState {
    pub fn new(queue: Weak<Queue>, id: QueueId, max_ready_bytes: u64) -> QueueState {
        QueueState {
            queue,
            id,
            ready: Ready::default(),
            consumers: Consumers::default(),
            next_seq: 0,
            unacked: 0,
            dead: false,
            had_consumer: false,
            max_ready_bytes,
            drained_bytes: 0,
            paused_publishers: Vec::new(),
            store: None,
            is_durable: false,
            delivered_mark: 0,
            loading: false,
            spilling: None,
            awaits_written: false,
            getters: Vec::new(),
            effects: Effects::default(),
        }
    }

    /// Lets messages leave memory for the store, and logs what happens if the queue is durable.
    pub fn with_store(self, store: Arc<Store>, is_durable: bool) -> QueueState {
        QueueState { store: Some(store), is_durable, ..self }
    }

    /// The log, if what happens is to be logged.
    fn log(&self) -> Option<&Log> {
        let store = self.store.as_ref().filter(|_| self.is_durable && !self.dead)?;
        Some(&store.log)
    }

    /// Logs that positions are settled.
    pub(super) fn log_settled(&self, first_seq: u64, end_seq: u64) -> Epoch {
        self.log().map_or(Epoch::NONE, |log| log.settle(self.id, first_seq, end_seq))
    }

    fn log_settled_run(&self, run: &Run) -> Epoch {
        if run.epoch.is_some() { self.log_settled(run.first_seq, run.end_seq()) } else { Epoch::NONE }
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    pub fn unacked(&self) -> u64 {
        self.unacked
    }

    pub fn drained_bytes(&self) -> u64 {
        self.drained_bytes
    }

    pub fn consumers(&self) -> &Consumers {
        &self.consumers
    }

    /// Takes all messages of a chunk in, at the tail, or drops them if the queue is dead or full. Returns the epoch with
    /// which they are kept.
    pub fn enqueue(&mut self, chunk: &Arc<Chunk>, wakes: &mut Wakes) -> Epoch {
        if self.dead || self.ready.bytes() >= self.max_ready_bytes {
            return Epoch::NONE;
        }
        let mut run = Run::of_chunk(chunk, self.next_seq);
        let (mut epoch, mut resident_bytes) = (Epoch::NONE, u64::MAX);
        if let Some(store) = self.store.as_ref().filter(|_| self.is_durable) {
            if chunk.persistence() != Persistence::None {
                epoch = store.log.enqueue(self.id, run.first_seq, None, chunk);
            }
            resident_bytes = store.queue_resident_bytes;
        }
        run.epoch = epoch;
        self.next_seq = run.end_seq();
        self.ready.push(run, resident_bytes);
        self.assign(wakes);
        self.fold_tail();
        epoch
    }

    /// The message at the front, for `basic.get`; none if there is none in memory.
    pub fn get(&mut self, no_ack: bool, wakes: &mut Wakes) -> Option<Run> {
        let run = self.ready.take(1, 0)?;
        self.drained_bytes += run.bytes() as u64;
        if no_ack {
            self.log_settled_run(&run);
        } else {
            self.unacked += 1;
            self.mark_delivered(run.end_seq(), run.epoch);
        }
        self.notify_drained(wakes);
        self.ready.unpin_front();
        Some(run)
    }

    pub fn add_consumer(&mut self, new: NewConsumer, wakes: &mut Wakes) -> ConsumerKey {
        self.had_consumer = true;
        let key = self.consumers.add(new);
        self.assign(wakes);
        key
    }

    /// Removes consumers and takes back what they had, in one step, so that everything is at its place before
    /// anything is assigned to others.
    pub fn release(&mut self, removed: &[ConsumerKey], returned: impl FnOnce() -> Vec<Returned>, wakes: &mut Wakes) {
        for key in removed {
            self.consumers.remove(*key);
        }
        for Returned { mut run, consumer, to_be_acked, how } in returned() {
            if self.dead {
                run.settle();
                continue;
            }
            if let Some(key) = consumer {
                if how == HowReturned::Unsent {
                    self.consumers.sent(key, run.bytes());
                }
                self.consumers.settled(key, run.count);
            }
            if to_be_acked {
                self.unacked = self.unacked.saturating_sub(u64::from(run.count));
            }
            run.redelivered |= how == HowReturned::Unsettled;
            self.ready.put_back(run);
        }
        self.assign(wakes);
        if self.consumers.count() == 0 {
            self.resume_publishers(wakes);
        }
    }

    /// Notes that a consumer's connection has written messages that were assigned to it, and thereby settled some.
    pub fn sent(&mut self, key: ConsumerKey, bytes: usize, settled: &[(u64, u64)], wakes: &mut Wakes) {
        for &(first_seq, end_seq) in settled {
            self.log_settled(first_seq, end_seq);
        }
        self.consumers.sent(key, bytes);
        self.assign(wakes);
        self.ready.unpin_front();
    }

    /// Notes that deliveries were acknowledged, or rejected for good. Returns the epoch after which none comes back.
    pub fn settle(
        &mut self,
        settled: impl IntoIterator<Item = (Option<ConsumerKey>, Run)>,
        wakes: &mut Wakes,
    ) -> Epoch {
        let mut epoch = Epoch::NONE;
        for (consumer, run) in settled {
            epoch = epoch.max(self.log_settled_run(&run));
            self.unacked = self.unacked.saturating_sub(u64::from(run.count));
            if let Some(key) = consumer {
                self.consumers.settled(key, run.count);
            }
            run.settle();
        }
        self.assign(wakes);
        self.ready.unpin_front();
        epoch
    }

    /// Lets consumers that a channel's limit held back go on.
    pub fn limit_lifted(&mut self, limiter: &Arc<ChannelLimiter>, wakes: &mut Wakes) {
        self.consumers.limit_lifted(limiter);
        self.assign(wakes);
    }

    /// Drops all ready messages. Returns them, and the epoch after which none of them comes back.
    pub fn purge(&mut self, wakes: &mut Wakes) -> (Ready, Epoch) {
        let mut epoch = Epoch::NONE;
        for (first_seq, end_seq) in self.ready.logged_ranges() {
            epoch = epoch.max(self.log_settled(first_seq, end_seq));
        }
        (self.take_ready(wakes), epoch)
    }

    /// Ends the queue: cancels its consumers, and takes nothing in from now on. Returns what was ready, to be dropped once
    /// the lock is released.
    pub fn kill(&mut self, wakes: &mut Wakes) -> Ready {
        if let Some(log) = self.log() {
            log.drop_queue(self.id);
        }
        self.dead = true;
        for Consumer { new, .. } in self.consumers.remove_all() {
            new.outbox.push(Item::Cancelled { slot: new.slot }, wakes);
        }
        self.take_ready(wakes)
    }

    fn take_ready(&mut self, wakes: &mut Wakes) -> Ready {
        self.resume_publishers(wakes);
        self.notify_getters(wakes);
        for (first_seq, end_seq) in self.ready.spilled_ranges() {
            self.effects.release(first_seq, end_seq);
        }
        std::mem::take(&mut self.ready)
    }

    /// Whether an auto-delete queue is due: it had a consumer and has none any more.
    pub fn is_deserted(&self) -> bool {
        self.had_consumer && self.consumers.count() == 0
    }

    /// Gives ready messages to consumers that may have them: by priority, then in turns.
    pub(super) fn assign(&mut self, wakes: &mut Wakes) {
        let mut delivered = Delivered::default();
        while self.ready.has_front() {
            let Some((index, waiting)) = self.consumers.next() else { break };
            let share = if waiting == 1 { u32::MAX } else { self.share(waiting) };
            self.turn(index, share, &mut delivered, wakes);
        }
        self.mark_delivered(delivered.through, delivered.epoch);
        if self.ready.has_cold() && self.consumers.count() > 0 {
            self.load_on();
        }
        self.notify_drained(wakes);
    }

    /// A consumer's turn: it gets its share, as far as it may have it.
    fn turn(&mut self, index: u32, share: u32, delivered: &mut Delivered, wakes: &mut Wakes) {
        if !self.consumers.at(index).is_ready() {
            return self.consumers.leave_ring();
        }
        let mut left = share;
        loop {
            let capacity = self.consumers.at(index).capacity();
            // Never more than will be given: what is taken from the channel's limit and given back might be what
            // another queue was refused.
            let want = match capacity.bytes {
                0 => 0,
                bytes => self.ready.front_within(capacity.messages.min(left), bytes),
            };
            if want == 0 {
                return self.consumers.end_turn();
            }
            match self.acquire(index, want) {
                0 => return self.consumers.end_turn_limited(index),
                granted => {
                    self.give(index, granted, delivered, wakes);
                    left -= granted;
                }
            }
        }
    }

    /// Has the log know that messages below `through` may have been delivered, which entered in `epoch` or later.
    fn mark_delivered(&mut self, through: u64, epoch: Epoch) {
        if epoch.is_some()
            && through > self.delivered_mark
            && let Some(log) = self.log()
        {
            log.deliver(self.id, through, epoch);
            self.delivered_mark = through;
        }
    }

    fn notify_drained(&mut self, wakes: &mut Wakes) {
        let mut paused = std::mem::take(&mut self.paused_publishers);
        for (outbox, _) in paused.extract_if(.., |(_, until)| self.is_relieved(*until)) {
            outbox.notify(wakes);
        }
        self.paused_publishers = paused;
    }

    fn share(&self, waiting: usize) -> u32 {
        let ready = self.ready.messages();
        if ready < BACKLOG_MESSAGES { 1 } else { (ready / (waiting as u64 * 8)).clamp(1, BLOCK_MESSAGES) as u32 }
    }

    /// Asks the channel's limiter; if it refuses, registers with it and asks again, so that no wake is lost.
    fn acquire(&mut self, index: u32, want: u32) -> u32 {
        let consumer = &self.consumers.at(index).new;
        let limiter = &consumer.limiter;
        let ask = || {
            if !consumer.no_ack {
                limiter.acquire(want)
            } else if limiter.is_full() {
                0
            } else {
                want
            }
        };
        match ask() {
            0 => {
                limiter.wait(&self.queue);
                ask()
            }
            granted => granted,
        }
    }

    /// Gives so many messages, all of one run, to a consumer.
    fn give(&mut self, index: u32, messages: u32, delivered: &mut Delivered, wakes: &mut Wakes) {
        let Some(run) = self.ready.take(messages, usize::MAX) else { return };
        let bytes = run.bytes();
        let consumer = self.consumers.at(index);
        if !consumer.new.no_ack {
            self.unacked += u64::from(messages);
            delivered.add(&run);
        }
        self.drained_bytes += bytes as u64;
        consumer.assigned(messages, bytes);
        consumer.new.outbox.push(Item::Deliver { slot: consumer.new.slot, run }, wakes);
    }

    pub fn is_relieved(&self, until: Relief) -> bool {
        self.dead
            || self.consumers.count() == 0
            || self.ready.bytes() <= until.ready_bytes
            || self.drained_bytes >= until.drained_bytes
    }

    /// Notes a publisher that is not read until the queue is relieved.
    pub fn pause_publisher(&mut self, outbox: &Arc<Outbox>, until: Relief) {
        self.paused_publishers.retain(|(paused, _)| !Arc::ptr_eq(paused, outbox));
        self.paused_publishers.push((outbox.clone(), until));
    }

    fn resume_publishers(&mut self, wakes: &mut Wakes) {
        for (outbox, _) in self.paused_publishers.drain(..) {
            outbox.notify(wakes);
        }
    }
}
