//! A store for simulations: the real one over a simulated disk, each step taken when the test says so.
//!
//! It can also be told to commit an epoch in the middle of what the broker does, just after a queue was unlocked, as the
//! committer's thread might.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::committer::CommitError;
use super::full::Refused;
use super::janitor::{Extent, JanitorError};
use super::loader::{self, Loader};
use super::log::{Contents, Entry, Work};
use super::open::{Engine, Options, open_engine};
use super::record::flags;
use super::recovery::OpenError;
use super::sim_disk::SimDisk;
use super::store::{Cold, ColdTarget, LoadRequest, Loaded, Recovered, SpillRequest, Store};
use super::{Epoch, QueueId, chunk, compaction};

/// The simulated power cut or failure of the disk: the store is to be abandoned.
#[derive(Debug)]
pub(crate) struct Crashed;

/// What a step of the committer came to.
pub(crate) enum Committed {
    Plain,
    /// What had been refused was tried again: what waited for room at `before` now waits, or is kept, at `after`.
    Retried {
        before: Epoch,
        after: Epoch,
        /// What needs no room was written, as the epoch `before`.
        relieved: bool,
        /// Only the disk knows how far this came.
        cut_short: bool,
    },
}

struct Driven {
    engine: Engine,
    refused: Option<Refused>,
    taken: Option<Vec<Taken>>,
}

/// What an epoch says of messages, noted before it is written.
#[derive(Debug)]
pub(crate) struct Taken {
    pub epoch: Epoch,
    /// Persistent messages, each with where it enters, the time to live there, and when it was published.
    pub enqueued: Vec<Entering>,
    pub settled: Vec<(QueueId, u64, u64)>,
    pub returned: Vec<(QueueId, u64, u64, u32)>,
}

#[derive(Debug)]
pub(crate) struct Entering {
    pub queue: QueueId,
    pub seq: u64,
    pub ttl_ms: Option<u64>,
    pub time_ms: u64,
    pub record: Vec<u8>,
}

impl Taken {
    fn of(epoch: Epoch, contents: &Contents) -> Taken {
        let mut enqueued = Vec::new();
        for entry in &contents.entries {
            let Entry::Enqueue { chunk, targets } = entry else { continue };
            for (target, index) in targets.iter().flat_map(|target| (0..chunk.records()).map(move |i| (target, i))) {
                if chunk.record(index).flags() & flags::PERSISTENT != 0 {
                    let record = chunk.bytes_of(index, index + 1).to_vec();
                    let (seq, time_ms) = (target.first_seq + u64::from(index), chunk.time_ms());
                    enqueued.push(Entering { queue: target.queue, seq, ttl_ms: target.ttl_ms, time_ms, record });
                }
            }
        }
        let settled = contents.settled.iter().flat_map(|(id, all)| all.iter().map(move |&(a, b)| (id, a, b)));
        let returned = contents.returned.iter().flat_map(|(id, all)| all.iter().map(move |(a, b, n)| (id, a, b, n)));
        Taken { epoch, enqueued, settled: settled.collect(), returned: returned.collect() }
    }
}

pub(crate) struct Stepped {
    driven: Mutex<Driven>,
    loader: Arc<Loader>,
    /// So much is loaded at once.
    load_bytes: AtomicUsize,
    /// Commits when queues have been unlocked so often; 0 is never.
    interrupt_in: AtomicUsize,
    crashed: AtomicBool,
}

thread_local! {
    /// The one opened last.
    static STEPPED: RefCell<Weak<Stepped>> = const { RefCell::new(Weak::new()) };
}

/// A queue has been unlocked: others may act.
pub(crate) fn unlocked() {
    if let Some(stepped) = STEPPED.with_borrow(Weak::upgrade) {
        stepped.unlocked();
    }
}

impl Stepped {
    pub(crate) fn open(
        disk: Arc<SimDisk>,
        options: Options,
    ) -> Result<(Arc<Stepped>, Arc<Store>, Recovered), OpenError> {
        let (engine, recovered) = open_engine(disk.clone(), options)?;
        let (log, loader) = (engine.core.log.clone(), engine.loader.clone());
        let stepped = Arc::new(Stepped {
            driven: Mutex::new(Driven { engine, refused: None, taken: None }),
            loader,
            load_bytes: AtomicUsize::new(usize::MAX),
            interrupt_in: AtomicUsize::new(0),
            crashed: AtomicBool::new(false),
        });
        let cold = Box::new(Asked(Arc::downgrade(&stepped)));
        let store = Store::of_parts(log, cold, options.queue_resident_bytes, disk);
        STEPPED.set(Arc::downgrade(&stepped));
        Ok((stepped, store, recovered))
    }

    /// From now on notes what each epoch says of messages.
    pub(crate) fn take_notes(&self) {
        self.driven.lock().unwrap().taken = Some(Vec::new());
    }

    /// What was noted since this was last asked.
    pub(crate) fn notes(&self) -> Vec<Taken> {
        self.driven.lock().unwrap().taken.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Queues get about so much at once.
    pub(crate) fn load_at_most(&self, bytes: usize) {
        self.load_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Commits once queues have been unlocked so often; 0 is never.
    pub(crate) fn interrupt_in(&self, unlocks: usize) {
        self.interrupt_in.store(unlocks, Ordering::Relaxed);
    }

    fn unlocked(&self) {
        let left = self.interrupt_in.load(Ordering::Relaxed);
        self.interrupt_in.store(left.saturating_sub(1), Ordering::Relaxed);
        // If it is locked, this comes of a commit.
        if left == 1
            && self.check().is_ok()
            && let Ok(mut driven) = self.driven.try_lock()
            && driven.refused.is_none()
            && driven.commit(true).is_err()
        {
            self.crashed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a commit in the middle of something has failed.
    pub(crate) fn check(&self) -> Result<(), Crashed> {
        if self.crashed.load(Ordering::Relaxed) { Err(Crashed) } else { Ok(()) }
    }

    /// Takes a step of the committer.
    pub(crate) fn commit(&self, sync: bool) -> Result<Committed, Crashed> {
        self.check()?;
        let mut driven = self.driven.lock().unwrap();
        if driven.refused.is_some() { Ok(driven.try_again()) } else { driven.commit(sync).map(|()| Committed::Plain) }
    }

    pub(crate) fn sync(&self) -> Result<(), Crashed> {
        self.check()?;
        self.driven.lock().unwrap().engine.committer.sync().map_err(|_| Crashed)
    }

    pub(crate) fn checkpoint(&self) -> Result<(), Crashed> {
        match self.driven.lock().unwrap().engine.janitor.checkpoint(Extent::SealedFiles) {
            Ok(()) | Err(JanitorError::Later(_)) => Ok(()),
            Err(JanitorError::Fatal(_)) => Err(Crashed),
        }
    }

    /// Of one of the files, whether it is worth it or not.
    pub(crate) fn compact(&self, pick: usize) {
        let driven = self.driven.lock().unwrap();
        let core = &driven.engine.core;
        let mut sealed: Vec<u64> = core.state().sealed_files().map(|(number, _)| number).collect();
        sealed.sort_unstable();
        if !sealed.is_empty() {
            // What cannot be copied stays where it is.
            let _ = compaction::compact(core, sealed[pick % sealed.len()]);
        }
    }

    /// Serves what has waited longest of what queues have asked for. Returns whether there was such a thing.
    pub(crate) fn serve_one(&self) -> bool {
        self.loader.serve_one()
    }

    /// All that waits in a queue on disk, and below which position it may have been delivered.
    pub(crate) fn on_disk(&self, queue: QueueId) -> (Vec<chunk::Run>, u64) {
        let driven = self.driven.lock().unwrap();
        let core = &driven.engine.core;
        let request =
            LoadRequest { queue, from_seq: 0, to_seq: u64::MAX, max_bytes: usize::MAX, target: Arc::new(Nobody) };
        let loaded = loader::load(core, &request);
        let delivered = core.state().index.queue(queue).map_or(0, |queue| queue.delivered());
        (loaded.runs, delivered)
    }
}

impl Driven {
    fn commit(&mut self, sync: bool) -> Result<(), Crashed> {
        let core = &self.engine.core;
        let Some(Work::Write { epoch, contents, .. }) = core.log.take_now(sync) else { return Ok(()) };
        if let Some(taken) = &mut self.taken {
            taken.push(Taken::of(epoch, &contents));
        }
        match self.engine.committer.commit(epoch, &contents, sync) {
            Err(CommitError::Full) => {
                self.refused = Some(Refused::new(core, epoch, contents));
                Ok(())
            }
            done => done.map_err(|_| Crashed),
        }
    }

    fn try_again(&mut self) -> Committed {
        let Some(mut refused) = self.refused.take() else { return Committed::Plain };
        let before = refused.epoch();
        let tried = refused.try_again(&mut self.engine.committer, &self.engine.core);
        let after = refused.epoch();
        let relieved = before != after && self.engine.core.state().epoch >= before;
        let cut_short = tried.is_err();
        self.refused = matches!(tried, Ok(false)).then_some(refused);
        Committed::Retried { before, after, relieved, cut_short }
    }
}

/// What queues ask.
struct Asked(Weak<Stepped>);

impl Asked {
    fn ask(&self, ask: impl FnOnce(&Stepped)) {
        let Some(stepped) = self.0.upgrade() else { return };
        ask(&stepped);
    }
}

impl Cold for Asked {
    fn load(&self, request: LoadRequest) {
        self.ask(|stepped| {
            let max_bytes = match request.max_bytes {
                usize::MAX => usize::MAX,
                most => most.min(stepped.load_bytes.load(Ordering::Relaxed)),
            };
            stepped.loader.load(LoadRequest { max_bytes, ..request });
        });
    }

    fn read(&self, queue: QueueId, from_seq: u64, to_seq: u64, max_bytes: usize) -> Loaded {
        let stepped = self.0.upgrade().expect("what is read at start is read while the store lives");
        let max_bytes = max_bytes.min(stepped.load_bytes.load(Ordering::Relaxed));
        stepped.loader.read(queue, from_seq, to_seq, max_bytes)
    }

    fn spill(&self, request: SpillRequest) {
        self.ask(|stepped| stepped.loader.spill(request));
    }

    fn release_spilled(&self, queue: QueueId, first_seq: u64, end_seq: u64) {
        self.ask(|stepped| stepped.loader.release_spilled(queue, first_seq, end_seq));
    }
}

struct Nobody;

impl ColdTarget for Nobody {
    fn loaded(self: Arc<Self>, _: Loaded) {}
    fn spilled(self: Arc<Self>, _: QueueId, _: Vec<chunk::Run>) {}
}
