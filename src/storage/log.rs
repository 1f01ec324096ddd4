//! What is to become durable, gathered epoch by epoch.
//!
//! Any thread adds to the epoch that is being filled, queues under their own locks, so that the journal has each
//! queue's order. The committer takes the whole epoch, writes it, syncs it, and says so here; while it does, the next
//! one fills. Whoever waits for an epoch is notified.
//!
//! What was settled before its epoch was taken is never written, so an epoch that nobody waits for rests a moment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;

use super::chunk::Chunk;
use super::{Epoch, QueueId};

/// How long an epoch rests that nobody waits for: time for its messages to be settled and never written.
const LINGER: Duration = Duration::from_millis(20);
/// An epoch of so many bytes is written at once.
const WRITTEN_AT_BYTES: usize = 4 * 1024 * 1024;

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
    Enqueue { chunk: Arc<Chunk>, targets: SmallVec<[(QueueId, u64); 1]> },
    /// The queue is gone, with all its messages and its definition.
    DropQueue(QueueId),
}

/// All that one epoch has to say. What is settled comes after everything else, so that a message is never settled
/// before it is there.
#[derive(Debug, Default)]
pub struct Contents {
    pub entries: Vec<Entry>,
    /// Positions settled, as first and end, in no particular order.
    pub settled: HashMap<QueueId, Vec<(u64, u64)>>,
    /// All positions below may have been delivered.
    pub delivered: HashMap<QueueId, u64>,
    /// Milliseconds since 1970 when the epoch began to fill.
    pub time_ms: u64,
    bytes: usize,
}

impl Contents {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.settled.is_empty() && self.delivered.is_empty()
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
    waiting: Vec<Waiting>,
    waiting_for_room: Vec<Arc<dyn Waiter>>,
    stopping: bool,
}

pub struct Log {
    filling: Mutex<Filling>,
    work: Condvar,
    policy: SyncPolicy,
    /// All up to this epoch is in the journal, if not yet synced, and can be read back.
    written: AtomicU64,
    synced: AtomicU64,
    refused: AtomicU64,
    unwritten_bytes: AtomicUsize,
    unwritten_max_bytes: usize,
}

/// What the committer has to do next.
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
        if filling.holders == 0 {
            self.0.work.notify_one();
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
                waiting: Vec::new(),
                waiting_for_room: Vec::new(),
                stopping: false,
            }),
            work: Condvar::new(),
            policy,
            written: AtomicU64::new(last.0),
            synced: AtomicU64::new(last.0),
            refused: AtomicU64::new(0),
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

    fn add(&self, add: impl FnOnce(&mut Filling)) -> Epoch {
        let mut filling = self.lock();
        add(&mut filling);
        if filling.began.is_none() {
            filling.began = Some(Instant::now());
            filling.contents.time_ms = now_ms();
            self.work.notify_one();
        } else if filling.contents.bytes >= WRITTEN_AT_BYTES {
            self.work.notify_one();
        }
        filling.epoch
    }

    /// A chunk with persistent messages entered a durable queue, at positions from `first_seq` on. Called under the
    /// queue's lock.
    pub fn enqueue(&self, queue: QueueId, first_seq: u64, chunk: &Arc<Chunk>) -> Epoch {
        self.add(|filling| {
            let contents = &mut filling.contents;
            if let Some(Entry::Enqueue { chunk: last, targets }) = contents.entries.last_mut()
                && Arc::ptr_eq(last, chunk)
            {
                targets.push((queue, first_seq));
                return;
            }
            contents.bytes += chunk.bytes();
            self.unwritten_bytes.fetch_add(chunk.bytes(), Ordering::Relaxed);
            let targets = SmallVec::from_slice(&[(queue, first_seq)]);
            contents.entries.push(Entry::Enqueue { chunk: chunk.clone(), targets });
        })
    }

    /// Positions of a durable queue were settled: acknowledged, purged, expired. Called under the queue's lock.
    pub fn settle(&self, queue: QueueId, first_seq: u64, end_seq: u64) -> Epoch {
        self.add(|filling| {
            let settled = filling.contents.settled.entry(queue).or_default();
            match settled.last_mut() {
                Some((_, end)) if *end == first_seq => *end = end_seq,
                _ => settled.push((first_seq, end_seq)),
            }
        })
    }

    /// Messages below `through` may have been delivered. `kept_in` is the epoch in which the last of them entered the
    /// queue: if that is kept already, the mark must not rest. Called under the queue's lock.
    pub fn deliver(&self, queue: QueueId, through: u64, kept_in: Epoch) {
        let is_kept = kept_in.0 <= self.written.load(Ordering::Acquire);
        self.add(|filling| {
            let mark = filling.contents.delivered.entry(queue).or_default();
            *mark = through.max(*mark);
            if is_kept && !filling.urgent {
                filling.urgent = true;
                self.work.notify_one();
            }
        });
    }

    /// A durable queue is gone. Called under the queue's lock.
    pub fn drop_queue(&self, queue: QueueId) -> Epoch {
        self.add(|filling| filling.contents.entries.push(Entry::DropQueue(queue)))
    }

    /// Definitions changed, all at once or not at all. Called under the topology mutex.
    pub fn define(&self, changes: Vec<Change>) -> Epoch {
        self.add(|filling| filling.contents.entries.push(Entry::Define(changes)))
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
        self.wait(epoch, Need::Kept, waiter);
    }

    /// Has `waiter` notified, once, when the epoch can be read back. It does not hurry.
    pub fn wait_until_written(&self, epoch: Epoch, waiter: Arc<dyn Waiter>) {
        self.wait(epoch, Need::Written, waiter);
    }

    fn wait(&self, epoch: Epoch, need: Need, waiter: Arc<dyn Waiter>) {
        let mut filling = self.lock();
        let pending = match need {
            Need::Kept => self.outcome(epoch) == Outcome::Pending,
            Need::Written => !self.is_written(epoch),
        };
        if !pending {
            drop(filling);
            return waiter.notify();
        }
        filling.waiting.push(Waiting { epoch, need, waiter });
        if need == Need::Kept {
            filling.sync_wanted = filling.sync_wanted.max(epoch);
            filling.urgent |= epoch == filling.epoch;
            self.work.notify_one();
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
            let wants_sync = self.policy == SyncPolicy::Always
                && filling.sync_wanted.0 > self.synced.load(Ordering::Relaxed);
            let rest = match filling.began {
                Some(began) => LINGER.checked_sub(began.elapsed()),
                None => None,
            };
            let is_due = filling.urgent
                || filling.stopping
                || filling.contents.bytes >= WRITTEN_AT_BYTES
                || rest.is_none();
            if filling.began.is_some() && is_due && filling.holders == 0 {
                let sync = wants_sync || (filling.stopping && self.policy == SyncPolicy::Always);
                return self.take(&mut filling, sync);
            }
            if wants_sync && filling.sync_wanted.0 <= self.written.load(Ordering::Relaxed) {
                return Work::Sync;
            }
            if filling.began.is_none() && filling.stopping {
                return Work::Stop;
            }
            filling = match rest.filter(|_| filling.holders == 0) {
                Some(rest) => self.work.wait_timeout(filling, rest).expect("as in `lock`").0,
                None => self.work.wait(filling).expect("as in `lock`"),
            };
        }
    }

    fn take(&self, filling: &mut Filling, sync: bool) -> Work {
        let epoch = filling.epoch;
        filling.epoch = Epoch(epoch.0 + 1);
        filling.urgent = false;
        filling.began = None;
        Work::Write { epoch, contents: std::mem::take(&mut filling.contents), sync }
    }

    /// The committer has written an epoch that contained so many bytes; they can be read back.
    pub fn written(&self, epoch: Epoch, contents: &Contents) {
        self.unwritten_bytes.fetch_sub(contents.bytes, Ordering::Relaxed);
        self.written.store(epoch.0, Ordering::Release);
        self.tell();
    }

    /// The committer has synced everything up to this epoch.
    pub fn synced(&self, epoch: Epoch) {
        self.synced.store(epoch.0, Ordering::Release);
        self.tell();
    }

    /// There is no room for this epoch. It stays with the committer, which tries again.
    pub fn refused(&self, epoch: Epoch) {
        self.refused.store(epoch.0, Ordering::Release);
        self.tell();
    }

    /// Notifies everyone whose wait is over.
    fn tell(&self) {
        let mut filling = self.lock();
        let is_over = |waiting: &mut Waiting| match waiting.need {
            Need::Kept => self.outcome(waiting.epoch) != Outcome::Pending,
            Need::Written => self.is_written(waiting.epoch),
        };
        let over: Vec<Waiting> = filling.waiting.extract_if(.., is_over).collect();
        let has_room = self.unwritten_bytes.load(Ordering::Relaxed) < self.unwritten_max_bytes / 2;
        let for_room = if has_room { std::mem::take(&mut filling.waiting_for_room) } else { Vec::new() };
        drop(filling);
        over.into_iter().for_each(|waiting| waiting.waiter.notify());
        for_room.into_iter().for_each(Waiter::notify);
    }

    /// The committer is to write what there is and end.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.work.notify_one();
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
