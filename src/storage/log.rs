//! What is to become durable, gathered epoch by epoch.
//!
//! Any thread adds to the epoch that is being filled, queues under their own locks, so that the journal has each
//! queue's order. The committer takes the whole epoch, writes it, syncs it, and says so here; while it does, the next
//! one fills. Whoever waits for an epoch is notified.
//!
//! What was settled before its epoch was taken is never written, so an epoch that nobody waits for rests a moment.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;

use super::chunk::Chunk;
use super::counts::Counts;
use super::format::Target;
use super::lanes::ByLane;
use super::{Epoch, QueueId};

/// How long an epoch rests that nobody waits for: time for its messages to be settled and never written.
const LINGER: Duration = Duration::from_millis(20);
/// So long after the last epoch the committer looks by itself for more.
const ACTIVE_FOR: Duration = Duration::from_secs(1);
/// How long what nobody waits for stays written and not synced.
const UNSYNCED_MAX: Duration = Duration::from_millis(200);
/// Among so many of the last entries a chunk is looked for that enters one more queue.
const CHUNK_LOOKED_FOR: usize = 32;
/// An epoch of so many bytes is written at once.
const WRITTEN_AT_BYTES: usize = 2 * 1024 * 1024;

/// A definition that changes: its key, and its new value or `None` if it is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// What happened, in order.
#[derive(Clone, Debug)]
pub enum Entry {
    Define(Vec<Change>),
    /// The persistent messages of a chunk entered these queues, at positions from the given ones on.
    Enqueue {
        chunk: Arc<Chunk>,
        targets: SmallVec<[Target; 1]>,
    },
    /// The queue is gone, with its lanes, all its messages and its definition.
    DropQueue(QueueId),
}

/// All that one epoch has to say. What is settled comes after everything else, so that a message is never settled
/// before it is there.
#[derive(Debug, Default)]
pub struct Contents {
    pub entries: Vec<Entry>,
    /// Positions settled, as first and end, in no particular order.
    pub settled: ByLane<Vec<(u64, u64)>>,
    /// Those of the settled whose messages have entered other queues in the same epoch: never settled before these are
    /// there.
    pub moved: ByLane<Vec<(u64, u64)>>,
    /// All positions below may have been delivered.
    pub delivered: ByLane<u64>,
    /// How often messages have been returned so far.
    pub returned: ByLane<Counts>,
    /// Milliseconds since 1970 when the epoch began to fill.
    pub time_ms: u64,
    bytes: usize,
}

impl Contents {
    /// Adds what came later.
    pub fn append(&mut self, later: Contents) {
        self.entries.extend(later.entries);
        for (queue, ranges) in later.settled {
            self.settled.of(queue).extend(ranges);
        }
        for (queue, ranges) in later.moved {
            self.moved.of(queue).extend(ranges);
        }
        for (queue, through) in later.delivered {
            let mark = self.delivered.of(queue);
            *mark = through.max(*mark);
        }
        for (queue, counts) in later.returned {
            let known = self.returned.of(queue);
            counts.iter().for_each(|(first, end, count)| known.set(first, end, count));
        }
        self.bytes += later.bytes;
    }
}

/// Told when what it waits for has come, or perhaps has.
pub trait Waiter: Send + Sync {
    fn notify(self: Arc<Self>);
}

/// How it stands with an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Pending,
    /// What it contains will be there after a crash, as far as the sync policy promises.
    Kept,
    /// There was no room for it on the disk. It may still be kept later.
    Refused,
}

/// What "kept" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Synced to the disk.
    Always,
    /// Written; synced so often at least.
    Interval(Duration),
    /// Written; synced by the system when it pleases.
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Settled,
    Kept,
    Written,
}

struct Waiting {
    epoch: Epoch,
    need: Need,
    waiter: Arc<dyn Waiter>,
}

struct Filling {
    epoch: Epoch,
    contents: Contents,
    began: Option<Instant>,
    /// Those who add several entries that belong together: the epoch is not taken meanwhile.
    holders: u32,
    /// Somebody waits for this epoch.
    urgent: bool,
    /// Somebody waits for epochs up to this one to be synced.
    sync_wanted: Epoch,
    /// When what is written is synced although nobody waits for it.
    sync_at: Option<Instant>,
    waiting: Vec<Waiting>,
    waiting_for_room: Vec<Arc<dyn Waiter>>,
    stopping: bool,
    parked: Parked,
    /// When the last epoch was taken.
    last_taken: Option<Instant>,
}

/// What the committer's thread is at.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Parked {
    /// It works, or has been woken.
    #[default]
    No,
    /// It looks by itself whether something has been added.
    Looking,
    Asleep,
}

impl Filling {
    /// How long the epoch is to rest yet; none if there is nothing in it.
    fn rest(&self) -> Option<Duration> {
        Some(LINGER.saturating_sub(self.began?.elapsed()))
    }

    fn is_urgent(&self) -> bool {
        self.urgent || self.stopping || self.contents.bytes >= WRITTEN_AT_BYTES
    }
}

pub struct Log {
    filling: Mutex<Filling>,
    work: Condvar,
    policy: SyncPolicy,
    /// All up to this epoch is in the journal, if not yet synced, and can be read back.
    written: AtomicU64,
    synced: AtomicU64,
    refused: AtomicU64,
    /// The last epoch in which a definition changed.
    defined: AtomicU64,
    unwritten_bytes: AtomicUsize,
    unwritten_max_bytes: usize,
}

/// What the committer has to do next.
#[expect(clippy::large_enum_variant, reason = "there is one for each epoch, and nearly all are this one")]
pub enum Work {
    /// To write this epoch, and to sync it if somebody waits for it.
    Write { epoch: Epoch, contents: Contents, sync: bool },
    /// To sync what is written.
    Sync,
    /// There is nothing left, and there will not be.
    Stop,
}

/// While it lives, everything that is added goes into one epoch.
pub struct Hold<'a>(&'a Log);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut filling = self.0.lock();
        filling.holders -= 1;
        if filling.holders == 0 && filling.is_urgent() {
            self.0.wake(&mut filling);
        }
    }
}

impl Log {
    /// A log whose next epoch follows `last`. Publishers are to pause while `unwritten_max_bytes` wait to be written.
    pub fn new(last: Epoch, policy: SyncPolicy, unwritten_max_bytes: usize) -> Log {
        Log {
            filling: Mutex::new(Filling {
                epoch: Epoch(last.0 + 1),
                contents: Contents::default(),
                began: None,
                holders: 0,
                urgent: false,
                sync_wanted: Epoch::NONE,
                sync_at: None,
                waiting: Vec::new(),
                waiting_for_room: Vec::new(),
                stopping: false,
                parked: Parked::No,
                last_taken: None,
            }),
            work: Condvar::new(),
            policy,
            written: AtomicU64::new(last.0),
            synced: AtomicU64::new(last.0),
            refused: AtomicU64::new(0),
            defined: AtomicU64::new(0),
            unwritten_bytes: AtomicUsize::new(0),
            unwritten_max_bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Filling> {
        self.filling.lock().expect("no code panics while it adds to the log")
    }

    /// Keeps everything that is added while the result lives in one epoch, so that it is kept as a whole or not at all.
    pub fn hold(&self) -> Hold<'_> {
        self.lock().holders += 1;
        Hold(self)
    }

    /// Wakes the committer if it is not awake.
    fn wake(&self, filling: &mut Filling) {
        if filling.parked != Parked::No {
            filling.parked = Parked::No;
            self.work.notify_one();
        }
    }

    fn add(&self, add: impl FnOnce(&mut Filling)) -> Epoch {
        let mut filling = self.lock();
        add(&mut filling);
        if filling.began.is_none() {
            filling.began = Some(Instant::now());
            filling.contents.time_ms = now_ms();
            if filling.parked == Parked::Asleep {
                self.wake(&mut filling);
            }
        } else if filling.contents.bytes >= WRITTEN_AT_BYTES {
            self.wake(&mut filling);
        }
        filling.epoch
    }

    /// A chunk with persistent messages entered a durable queue, at positions from `first_seq` on, which gives them this
    /// time to live, if any, from when the [chunk was published](Chunk::published_at): that is to be said before. Called
    /// under the queue's lock.
    pub fn enqueue(&self, queue: QueueId, first_seq: u64, ttl_ms: Option<u64>, chunk: &Arc<Chunk>) -> Epoch {
        let target = Target { queue, first_seq, ttl_ms };
        self.add(|filling| {
            let contents = &mut filling.contents;
            // Others may have added something since the chunk entered its first queue.
            let looked_at = if filling.holders > 0 { CHUNK_LOOKED_FOR } else { 1 };
            let is_it =
                |entry: &&mut Entry| matches!(entry, Entry::Enqueue { chunk: of, .. } if Arc::ptr_eq(of, chunk));
            if let Some(Entry::Enqueue { targets, .. }) = contents.entries.iter_mut().rev().take(looked_at).find(is_it)
            {
                targets.push(target);
                return;
            }
            contents.bytes += chunk.bytes();
            self.unwritten_bytes.fetch_add(chunk.bytes(), Ordering::Relaxed);
            contents.entries.push(Entry::Enqueue { chunk: chunk.clone(), targets: SmallVec::from_slice(&[target]) });
        })
    }

    /// Positions of a durable queue were settled: acknowledged, purged, expired. Called under the queue's lock.
    pub fn settle(&self, queue: QueueId, first_seq: u64, end_seq: u64) -> Epoch {
        self.add(|filling| {
            let settled = filling.contents.settled.of(queue);
            match settled.last_mut() {
                Some((_, end)) if *end == first_seq => *end = end_seq,
                _ => settled.push((first_seq, end_seq)),
            }
        })
    }

    /// As [`settle`](Log::settle), of messages that have entered other queues while the log was [held](Log::hold): even a
    /// full disk does not part the two.
    pub fn settle_moved(&self, queue: QueueId, first_seq: u64, end_seq: u64) -> Epoch {
        self.add(|filling| {
            filling.contents.moved.of(queue).push((first_seq, end_seq));
            filling.contents.settled.of(queue).push((first_seq, end_seq));
        })
    }

    /// Messages below `through` may have been delivered. `kept_in` is the epoch in which the last of them entered the
    /// queue: if that is kept already, the mark must not rest. Called under the queue's lock.
    pub fn deliver(&self, queue: QueueId, through: u64, kept_in: Epoch) {
        let is_kept = kept_in.0 <= self.written.load(Ordering::Acquire);
        self.add(|filling| {
            let mark = filling.contents.delivered.of(queue);
            *mark = through.max(*mark);
            if is_kept && !std::mem::replace(&mut filling.urgent, true) {
                self.wake(filling);
            }
        });
    }

    /// Messages of a durable queue have been returned so often in all; those that are not durable may be among them. Called
    /// under the queue's lock.
    ///
    /// What is read back from disk has the count once the epoch that is returned is written. So that nothing with an older
    /// count is read back, the messages are to stay in memory until then: their [run](super::chunk::Run::epoch) is to have
    /// this epoch.
    pub fn count_returns(&self, queue: QueueId, first_seq: u64, end_seq: u64, returns: u32) -> Epoch {
        self.add(|filling| filling.contents.returned.of(queue).set(first_seq, end_seq, returns))
    }

    /// A durable queue is gone, with all its lanes. Called under the queue's lock.
    pub fn drop_queue(&self, queue: QueueId) -> Epoch {
        debug_assert!(queue.level() == 0, "a lane goes with its queue");
        self.add_definition(|contents| {
            contents.settled.remove_queue(queue);
            contents.delivered.remove_queue(queue);
            contents.returned.remove_queue(queue);
            contents.entries.push(Entry::DropQueue(queue));
        })
    }

    /// Definitions changed, all at once or not at all. Called under the topology mutex.
    pub fn define(&self, changes: Vec<Change>) -> Epoch {
        self.add_definition(|contents| contents.entries.push(Entry::Define(changes)))
    }

    fn add_definition(&self, add: impl FnOnce(&mut Contents)) -> Epoch {
        let epoch = self.add(|filling| add(&mut filling.contents));
        self.defined.fetch_max(epoch.0, Ordering::AcqRel);
        epoch
    }

    /// The epoch with which every definition that has changed so far is kept.
    pub fn defined(&self) -> Epoch {
        Epoch(self.defined.load(Ordering::Acquire))
    }

    #[inline]
    pub fn outcome(&self, epoch: Epoch) -> Outcome {
        if epoch.0 <= self.kept().0 {
            Outcome::Kept
        } else if epoch.0 <= self.refused.load(Ordering::Acquire) {
            Outcome::Refused
        } else {
            Outcome::Pending
        }
    }

    /// The last epoch that is kept.
    fn kept(&self) -> Epoch {
        let kept = if self.policy == SyncPolicy::Always { &self.synced } else { &self.written };
        Epoch(kept.load(Ordering::Acquire))
    }

    /// Whether what an epoch enqueued can be read back from disk.
    #[inline]
    pub fn is_written(&self, epoch: Epoch) -> bool {
        epoch.0 <= self.written.load(Ordering::Acquire)
    }

    /// Has `waiter` notified, once, when the epoch is no longer pending, and the epoch written without rest. Perhaps at
    /// once.
    pub fn wait_until_settled(&self, epoch: Epoch, waiter: Arc<dyn Waiter>) {
        self.wait(epoch, Need::Settled, waiter);
    }

    /// Has `waiter` notified, once, when the epoch is kept, and the epoch written without rest: for what has to wait for
    /// room on the disk rather than be refused. Perhaps at once.
    pub fn wait_until_kept(&self, epoch: Epoch, waiter: Arc<dyn Waiter>) {
        self.wait(epoch, Need::Kept, waiter);
    }

    /// Has `waiter` notified, once, when the epoch can be read back. It does not hurry.
    pub fn wait_until_written(&self, epoch: Epoch, waiter: Arc<dyn Waiter>) {
        self.wait(epoch, Need::Written, waiter);
    }

    fn wait(&self, epoch: Epoch, need: Need, waiter: Arc<dyn Waiter>) {
        let mut filling = self.lock();
        if self.is_met(epoch, need) {
            drop(filling);
            return waiter.notify();
        }
        filling.waiting.push(Waiting { epoch, need, waiter });
        if need != Need::Written {
            filling.sync_wanted = filling.sync_wanted.max(epoch);
            filling.urgent |= epoch == filling.epoch;
            self.wake(&mut filling);
        }
    }

    fn is_met(&self, epoch: Epoch, need: Need) -> bool {
        match need {
            Need::Settled => self.outcome(epoch) != Outcome::Pending,
            Need::Kept => self.outcome(epoch) == Outcome::Kept,
            Need::Written => self.is_written(epoch),
        }
    }

    /// Whether so much waits to be written that publishers of persistent messages should not be read.
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.unwritten_bytes.load(Ordering::Relaxed) >= self.unwritten_max_bytes
    }

    /// Has `waiter` notified, once, when the log is well below its limit again. Returns false if it is not above.
    pub fn wait_for_room(&self, waiter: Arc<dyn Waiter>) -> bool {
        let mut filling = self.lock();
        let behind = self.is_behind();
        if behind {
            filling.waiting_for_room.push(waiter);
        }
        behind
    }

    /// Waits for something to do. An epoch that nobody waits for rests first.
    pub fn next_work(&self) -> Work {
        let mut filling = self.lock();
        loop {
            if let Some(work) = self.due(&mut filling) {
                return work;
            }
            filling = self.park(filling);
        }
    }

    /// What is to be done now.
    fn due(&self, filling: &mut Filling) -> Option<Work> {
        let always = self.policy == SyncPolicy::Always;
        let wants_sync = always && filling.sync_wanted.0 > self.synced.load(Ordering::Relaxed);
        if filling.rest().is_some_and(|rest| rest.is_zero() || filling.is_urgent()) && filling.holders == 0 {
            let sync = wants_sync || (filling.stopping && always);
            return Some(self.take(filling, sync));
        }
        let is_written = filling.sync_wanted.0 <= self.written.load(Ordering::Relaxed);
        let is_late = filling.sync_at.is_some_and(|at| at <= Instant::now() || filling.stopping);
        if (wants_sync && is_written) || (is_late && (filling.began.is_none() || !filling.stopping)) {
            filling.sync_at = None;
            return Some(Work::Sync);
        }
        (filling.began.is_none() && filling.stopping).then_some(Work::Stop)
    }

    /// Waits until there may be something to do. For a while after the last epoch it looks again by itself, so that
    /// whoever adds something need not wake it.
    fn park<'a>(&self, mut filling: MutexGuard<'a, Filling>) -> MutexGuard<'a, Filling> {
        let rest = filling.rest().filter(|_| filling.holders == 0);
        let sync_in = filling.sync_at.map(|at| at.saturating_duration_since(Instant::now()));
        let is_active = filling.last_taken.is_some_and(|at| at.elapsed() < ACTIVE_FOR);
        let look_again = (is_active && filling.began.is_none()).then_some(LINGER);
        let timeout = rest.into_iter().chain(sync_in).chain(look_again).min();
        filling.parked = if rest.is_some() || look_again.is_some() { Parked::Looking } else { Parked::Asleep };
        filling = match timeout {
            Some(timeout) => self.work.wait_timeout(filling, timeout).expect("as in `lock`").0,
            None => self.work.wait(filling).expect("as in `lock`"),
        };
        filling.parked = Parked::No;
        filling
    }

    fn take(&self, filling: &mut Filling, sync: bool) -> Work {
        let epoch = filling.epoch;
        filling.epoch = Epoch(epoch.0 + 1);
        filling.urgent = false;
        filling.began = None;
        filling.last_taken = Some(Instant::now());
        if !sync && filling.sync_at.is_none() {
            filling.sync_at = self.unsynced_max().map(|most| Instant::now() + most);
        }
        Work::Write { epoch, contents: std::mem::take(&mut filling.contents), sync }
    }

    /// The committer has written an epoch that contained so many bytes; they can be read back.
    pub fn written(&self, epoch: Epoch, contents: &Contents) {
        self.unwritten_bytes.fetch_sub(contents.bytes, Ordering::Relaxed);
        self.refused.store(0, Ordering::Release);
        self.written.store(epoch.0, Ordering::Release);
        self.tell();
    }

    /// How long what is written may stay unsynced when nobody waits for it.
    fn unsynced_max(&self) -> Option<Duration> {
        match self.policy {
            SyncPolicy::Always => Some(UNSYNCED_MAX),
            SyncPolicy::Interval(interval) => Some(interval),
            SyncPolicy::Never => None,
        }
    }

    /// The committer has synced everything up to this epoch.
    pub fn synced(&self, epoch: Epoch) {
        self.synced.fetch_max(epoch.0, Ordering::AcqRel);
        self.lock().sync_at = None;
        self.tell();
    }

    /// There is no room for the epoch that was taken. It stays with the committer, which tries again; what comes until
    /// that succeeds is refused as well.
    pub fn refuse(&self) {
        let filling = self.lock();
        self.refused.store(filling.epoch.0, Ordering::Release);
        drop(filling);
        self.tell();
    }

    /// As [`refuse`](Self::refuse), but only up to this epoch.
    #[cfg(test)]
    pub fn refused(&self, epoch: Epoch) {
        self.refused.store(epoch.0, Ordering::Release);
        self.tell();
    }

    /// Notifies everyone whose wait is over.
    fn tell(&self) {
        let mut filling = self.lock();
        let is_over = |waiting: &mut Waiting| self.is_met(waiting.epoch, waiting.need);
        let over: Vec<Waiting> = filling.waiting.extract_if(.., is_over).collect();
        let has_room = self.unwritten_bytes.load(Ordering::Relaxed) < self.unwritten_max_bytes / 2;
        let for_room = if has_room { std::mem::take(&mut filling.waiting_for_room) } else { Vec::new() };
        drop(filling);
        over.into_iter().for_each(|waiting| waiting.waiter.notify());
        for_room.into_iter().for_each(Waiter::notify);
    }

    /// Takes what there is without waiting.
    pub fn take_now(&self, sync: bool) -> Option<Work> {
        let mut filling = self.lock();
        let is_ready = filling.began.is_some() && filling.holders == 0;
        is_ready.then(|| self.take(&mut filling, sync))
    }

    /// The epoch that is being filled.
    #[cfg(test)]
    pub fn filling_epoch(&self) -> Epoch {
        self.lock().epoch
    }

    pub fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// The committer is to write what there is and end.
    pub fn stop(&self) {
        let mut filling = self.lock();
        filling.stopping = true;
        self.wake(&mut filling);
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
