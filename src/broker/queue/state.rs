//! The state of one queue, and what happens to it. No clock, no disk, no locks of its own but the outboxes' and the
//! log's. What else is to be done of the disk's side is in [`Effects`], for who holds no lock.

use std::sync::{Arc, Weak};

use super::consumers::{Consumer, ConsumerKey, Consumers, NewConsumer};
use super::effects::Effects;
use super::lanes::Lanes;
use super::limiter::ChannelLimiter;
use super::ready::Ready;
use super::rules::Rules;
use super::{Enqueued, Queue, Relief};
use crate::broker::dead_letter::Reason;
use crate::broker::outbox::{Item, Outbox, Wakes};
use crate::broker::worker::Worker;
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

/// How a delivery was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowSettled {
    Acked,
    /// Rejected for good: to be dead-lettered, where the queue does so.
    Rejected,
}

/// Messages that were ready when the queue was purged or killed, to be dropped once the lock is released.
pub struct Remains(Vec<Ready>);

impl Remains {
    pub fn messages(&self) -> u64 {
        self.0.iter().map(Ready::messages).sum()
    }
}

/// Durable messages of one level that are handed out in one go, to be acknowledged.
#[derive(Default)]
struct Delivered {
    level: u8,
    /// The position after the last.
    through: u64,
    /// In which the first of them entered the queue.
    epoch: Epoch,
}

impl Delivered {
    fn add(&mut self, run: &Run) {
        if run.epoch.is_some() {
            self.level = run.lane;
            self.epoch = if self.epoch.is_some() { self.epoch.min(run.epoch) } else { run.epoch };
            self.through = self.through.max(run.end_seq());
        }
    }

    /// Whether the run is of another level.
    fn is_apart_from(&self, run: &Run) -> bool {
        self.epoch.is_some() && self.level != run.lane
    }
}

pub struct QueueState {
    /// To register with a channel's limiter.
    queue: Weak<Queue>,
    id: QueueId,
    name_bytes: usize,
    pub(super) lanes: Lanes,
    pub(super) consumers: Consumers,
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
    pub(super) is_durable: bool,
    /// Whether the queue is told when more can leave memory.
    pub(super) awaits_written: bool,
    /// Those that asked for the message at the front while it was on disk.
    pub(super) getters: Vec<Arc<Outbox>>,
    /// What the queue does beyond keeping messages in order; most queues do nothing.
    pub(super) rules: Option<Box<Rules>>,
    pub(super) worker: Arc<Worker>,
    pub(super) effects: Effects,
}

impl QueueState {
    pub fn new(
        queue: Weak<Queue>,
        id: QueueId,
        name_bytes: usize,
        worker: Arc<Worker>,
        max_ready_bytes: u64,
    ) -> QueueState {
        QueueState {
            queue,
            id,
            name_bytes,
            lanes: Lanes::new(id),
            consumers: Consumers::default(),
            unacked: 0,
            dead: false,
            had_consumer: false,
            max_ready_bytes,
            drained_bytes: 0,
            paused_publishers: Vec::new(),
            store: None,
            is_durable: false,
            awaits_written: false,
            getters: Vec::new(),
            rules: None,
            worker,
            effects: Effects::default(),
        }
    }

    /// Lets messages leave memory for the store, and logs what happens if the queue is durable.
    pub fn with_store(self, store: Arc<Store>, is_durable: bool) -> QueueState {
        QueueState { store: Some(store), is_durable, ..self }
    }

    pub(super) fn id(&self) -> QueueId {
        self.id
    }

    /// The length of the queue's name.
    pub(super) fn name_bytes(&self) -> usize {
        self.name_bytes
    }

    /// Whether publishes may be refused.
    pub fn refuses(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.refuses())
    }

    /// Notes that messages have left without having been delivered.
    pub(super) fn has_dropped(&mut self, run: &Run) {
        self.drained_bytes += run.bytes() as u64;
    }

    /// The log, if what happens is to be logged.
    pub(super) fn log(&self) -> Option<&Log> {
        let store = self.store.as_ref().filter(|_| self.is_durable && !self.dead)?;
        Some(&store.log)
    }

    /// Logs that positions of a level are settled.
    pub(super) fn log_settled(&self, level: u8, first_seq: u64, end_seq: u64) -> Epoch {
        self.log().map_or(Epoch::NONE, |log| log.settle(self.id.lane(level), first_seq, end_seq))
    }

    pub(super) fn log_settled_run(&self, run: &Run) -> Epoch {
        if run.epoch.is_some() { self.log_settled(run.lane, run.first_seq, run.end_seq()) } else { Epoch::NONE }
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn lanes(&self) -> &Lanes {
        &self.lanes
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

    /// Takes all messages of a chunk in, at the tail, or drops them if the queue is dead or full. With `may_refuse` some may
    /// be refused, where the queue's overflow behaviour says so.
    pub fn enqueue(&mut self, chunk: &Arc<Chunk>, may_refuse: bool, wakes: &mut Wakes) -> Enqueued {
        if self.dead || self.lanes.bytes() >= self.max_ready_bytes {
            return Enqueued::default();
        }
        if self.rules.is_some() || chunk.has_expirations() {
            return self.enqueue_by_rules(chunk, may_refuse, wakes);
        }
        let epoch = self.push(0, chunk, None);
        self.assign_at(0, wakes);
        self.fold_tails();
        Enqueued { ready_bytes: self.lanes.bytes(), epoch, refused: Vec::new() }
    }

    /// Puts all messages of a chunk at the tail of a level. Returns the epoch with which they are kept.
    pub(super) fn push(&mut self, level: u8, chunk: &Arc<Chunk>, ttl_ms: Option<u64>) -> Epoch {
        let levels = self.lanes.count() as u64;
        let lane = self.lanes.at_mut(level);
        let mut run = Run::of_chunk(chunk, lane.next_seq);
        run.lane = level;
        if let Some(ttl_ms) = ttl_ms {
            run.deadline_ms = chunk.time_ms().saturating_add(ttl_ms);
        }
        let (mut epoch, mut resident_bytes) = (Epoch::NONE, u64::MAX);
        if let Some(store) = self.store.as_ref().filter(|_| self.is_durable) {
            if chunk.persistence() != Persistence::None {
                epoch = store.log.enqueue(lane.id, run.first_seq, ttl_ms, chunk);
            }
            resident_bytes = store.queue_resident_bytes / levels;
        }
        run.epoch = epoch;
        lane.next_seq = run.end_seq();
        lane.ready.push(run, resident_bytes);
        epoch
    }

    /// The message at the front, for `basic.get`; none if there is none in memory.
    pub fn get(&mut self, no_ack: bool, wakes: &mut Wakes) -> Option<Run> {
        let now_ms = self.expiry_now_ms();
        if !self.has_front(now_ms) {
            return None;
        }
        let run = self.take_front(1)?;
        self.drained_bytes += run.bytes() as u64;
        if no_ack {
            self.log_settled_run(&run);
        } else {
            self.unacked += 1;
            let mut delivered = Delivered::default();
            delivered.add(&run);
            self.mark_delivered(&delivered);
        }
        if self.rules.is_some() {
            self.has_front(now_ms);
            self.set_timer();
        }
        self.notify_drained(wakes);
        self.lanes.front_mut().ready.unpin_front();
        Some(run)
    }

    /// Takes messages from the front: one run of so many at most.
    pub(super) fn take_front(&mut self, messages: u32) -> Option<Run> {
        let run = self.lanes.front_mut().ready.take(messages, usize::MAX)?;
        if let Some(rules) = &mut self.rules {
            rules.has_left(&run);
        }
        Some(run)
    }

    pub fn add_consumer(&mut self, new: NewConsumer, wakes: &mut Wakes) -> ConsumerKey {
        self.had_consumer = true;
        let key = self.consumers.add(new);
        self.assign(wakes);
        key
    }

    /// Removes consumers and takes back what they had, in one step, so that everything is at its place before
    /// anything is assigned to others. Returns whether the queue, if it is to go with its last consumer, is thereby to
    /// end; then nothing goes back to it.
    pub fn release(
        &mut self,
        removed: &[ConsumerKey],
        returned: impl FnOnce() -> Vec<Returned>,
        auto_delete: bool,
        wakes: &mut Wakes,
    ) -> bool {
        for key in removed {
            self.consumers.remove(*key);
        }
        if auto_delete && !removed.is_empty() && self.is_deserted() && !self.dead {
            returned().into_iter().for_each(|returned| returned.run.settle());
            return true;
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
            if how == HowReturned::Unsettled {
                run.redelivered = true;
                if self.rules.is_some() && !self.count_return(&mut run) {
                    self.bury(run, Reason::DeliveryLimit);
                    continue;
                }
            }
            self.put_back(run);
        }
        if self.rules.is_some() {
            self.look_at_limits(wakes);
        }
        self.assign(wakes);
        if self.consumers.count() == 0 {
            self.resume_publishers(wakes);
        }
        false
    }

    /// Puts messages back to where they were.
    pub(super) fn put_back(&mut self, run: Run) {
        if let Some(rules) = &mut self.rules {
            rules.has_come(&run);
        }
        self.lanes.at_mut(run.lane).ready.put_back(run);
    }

    /// Notes that a consumer's connection has written messages that were assigned to it, and thereby settled some.
    pub fn sent(&mut self, key: ConsumerKey, bytes: usize, settled: &[(u8, u64, u64)], wakes: &mut Wakes) {
        for &(level, first_seq, end_seq) in settled {
            self.log_settled(level, first_seq, end_seq);
        }
        self.consumers.sent(key, bytes);
        self.assign(wakes);
        self.lanes.front_mut().ready.unpin_front();
    }

    /// Notes that deliveries were settled. Returns the epoch after which none comes back.
    pub fn settle(
        &mut self,
        settled: impl IntoIterator<Item = (Option<ConsumerKey>, Run)>,
        how: HowSettled,
        wakes: &mut Wakes,
    ) -> Epoch {
        let buries = how == HowSettled::Rejected && self.rules.is_some();
        let mut epoch = Epoch::NONE;
        for (consumer, run) in settled {
            self.unacked = self.unacked.saturating_sub(u64::from(run.count));
            if let Some(key) = consumer {
                self.consumers.settled(key, run.count);
            }
            if buries {
                epoch = epoch.max(self.bury(run, Reason::Rejected));
            } else {
                epoch = epoch.max(self.log_settled_run(&run));
                run.settle();
            }
        }
        self.assign(wakes);
        self.lanes.front_mut().ready.unpin_front();
        epoch
    }

    /// Lets consumers that a channel's limit held back go on.
    pub fn limit_lifted(&mut self, limiter: &Arc<ChannelLimiter>, wakes: &mut Wakes) {
        self.consumers.limit_lifted(limiter);
        self.assign(wakes);
    }

    /// Drops all ready messages. Returns them, and the epoch after which none of them comes back.
    pub fn purge(&mut self, wakes: &mut Wakes) -> (Remains, Epoch) {
        let mut epoch = Epoch::NONE;
        for (level, lane) in (0..=u8::MAX).zip(self.lanes.iter()) {
            for (first_seq, end_seq) in lane.ready.logged_ranges() {
                epoch = epoch.max(self.log_settled(level, first_seq, end_seq));
            }
        }
        (self.take_ready(wakes), epoch)
    }

    /// Ends the queue: cancels its consumers, and takes nothing in from now on. Returns what was ready, to be dropped once
    /// the lock is released.
    pub fn kill(&mut self, wakes: &mut Wakes) -> Remains {
        // What is remembered of the messages ends with them.
        let store = self.store.clone().filter(|_| self.is_durable && !self.dead);
        let _hold = store.as_ref().map(|store| store.log.hold());
        self.drop_window();
        if let Some(log) = self.log() {
            log.drop_queue(self.id);
        }
        self.dead = true;
        for Consumer { new, .. } in self.consumers.remove_all() {
            new.outbox.push(Item::Cancelled { slot: new.slot }, wakes);
        }
        self.take_ready(wakes)
    }

    fn take_ready(&mut self, wakes: &mut Wakes) -> Remains {
        self.resume_publishers(wakes);
        self.notify_getters(wakes);
        for (level, lane) in (0..=u8::MAX).zip(self.lanes.iter()) {
            for (first_seq, end_seq) in lane.ready.spilled_ranges() {
                self.effects.release(level, first_seq, end_seq);
            }
        }
        if let Some(rules) = &mut self.rules {
            rules.emptied();
        }
        Remains(self.lanes.take_ready())
    }

    /// Whether an auto-delete queue is due: it had a consumer and has none any more.
    fn is_deserted(&self) -> bool {
        self.had_consumer && self.consumers.count() == 0
    }

    /// Gives ready messages to consumers that may have them: by priority, then in turns.
    pub(super) fn assign(&mut self, wakes: &mut Wakes) {
        self.assign_at(self.expiry_now_ms(), wakes);
    }

    /// As [`assign`](Self::assign), but for what has expired by `now_ms`; with 0 nothing has.
    pub(super) fn assign_at(&mut self, now_ms: u64, wakes: &mut Wakes) {
        let mut delivered = Delivered::default();
        while self.has_front(now_ms) {
            let Some((index, waiting)) = self.consumers.next() else { break };
            let share = if waiting == 1 { u32::MAX } else { self.share(waiting) };
            self.turn(index, share, now_ms, &mut delivered, wakes);
        }
        self.mark_delivered(&delivered);
        if self.consumers.count() > 0 && self.lanes.front().ready.has_cold() {
            self.load_on();
        }
        self.notify_drained(wakes);
        if self.rules.is_some() {
            self.set_timer();
        }
    }

    /// Whether there is a message at the front that is in memory and has not expired.
    #[inline]
    pub(super) fn has_front(&mut self, now_ms: u64) -> bool {
        (now_ms == 0 || self.drop_expired_front(now_ms)) && self.lanes.front().ready.has_front()
    }

    /// A consumer's turn: it gets its share, as far as it may have it.
    fn turn(&mut self, index: u32, share: u32, now_ms: u64, delivered: &mut Delivered, wakes: &mut Wakes) {
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
                bytes => self.front_within(capacity.messages.min(left), bytes, now_ms),
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

    /// How many messages may be given away at once.
    #[inline]
    fn front_within(&self, messages: u32, bytes: usize, now_ms: u64) -> u32 {
        let ready = &self.lanes.front().ready;
        match now_ms {
            0 => ready.front_within(messages, bytes),
            _ => ready.live_front_within(messages, bytes, now_ms),
        }
    }

    /// Has the log know that messages may have been delivered.
    fn mark_delivered(&mut self, delivered: &Delivered) {
        let &Delivered { level, through, epoch } = delivered;
        if epoch.is_some()
            && through > self.lanes.at(level).delivered_mark
            && let Some(log) = self.log()
        {
            log.deliver(self.id.lane(level), through, epoch);
            self.lanes.at_mut(level).delivered_mark = through;
        }
    }

    pub(super) fn notify_drained(&mut self, wakes: &mut Wakes) {
        let mut paused = std::mem::take(&mut self.paused_publishers);
        for (outbox, _) in paused.extract_if(.., |(_, until)| self.is_relieved(*until)) {
            outbox.notify(wakes);
        }
        self.paused_publishers = paused;
    }

    fn share(&self, waiting: usize) -> u32 {
        let ready = self.lanes.messages();
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
        let Some(run) = self.take_front(messages) else { return };
        if delivered.is_apart_from(&run) {
            self.mark_delivered(&std::mem::take(delivered));
        }
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
            || self.lanes.bytes() <= until.ready_bytes
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
