//! Opening a data directory, and the threads that serve it.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::checkpoint::Checkpoint;
use super::committer::{CommitError, Committer};
use super::core::Core;
use super::disk::Disk;
use super::full::{self, Refused};
use super::janitor::{Bell, Extent, Janitor, JanitorError};
use super::loader::Loader;
use super::log::{Log, SyncPolicy, Work};
use super::recovery::{self, Found, OpenError};
use super::store::{Recovered, Store};
use super::{Epoch, QueueId, queue_of_key};

/// Threads that read messages back.
const LOADERS: usize = 2;

/// How a store is to behave.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub sync: SyncPolicy,
    /// Durable data that may wait to be written before publishers are to pause.
    pub unwritten_max_bytes: usize,
    /// See [`Store::queue_resident_bytes`].
    pub queue_resident_bytes: u64,
    /// A journal file that has reached this length gets no further epoch.
    pub journal_file_bytes: u64,
    /// Room held back for when the disk is full.
    pub reserve_bytes: u64,
}

impl Options {
    pub const JOURNAL_FILE_BYTES: u64 = 32 * 1024 * 1024;
    pub const RESERVE_BYTES: u64 = 4 * 1024 * 1024;
}

/// A store whose work is done by whoever calls: what the threads run, and what tests drive step by step.
pub struct Engine {
    pub core: Arc<Core>,
    pub committer: Committer,
    pub janitor: Janitor,
    pub loader: Arc<Loader>,
}

/// Opens a data directory, repairs nothing but the torn end of the journal, and logs what is damaged.
pub fn open_engine(disk: Arc<dyn Disk>, options: Options) -> Result<(Engine, Recovered), OpenError> {
    recovery::refuse_without_checkpoint(&disk)?;
    let checkpoint = Checkpoint::open(&disk).map_err(|error| OpenError::Checkpoint(error.to_string()))?;
    let contents = checkpoint.read().map_err(|error| OpenError::Checkpoint(error.to_string()))?;
    recovery::refuse_short_files(&disk, &contents)?;
    let mut found = recovery::read(&disk, contents)?;
    report(&disk, &found);
    found.tidy(&disk)?;
    let recovered = recovered(&mut found);
    Ok((engine_of(&disk, checkpoint, found, options)?, recovered))
}

/// The engine that goes on from what was found.
pub fn engine_of(
    disk: &Arc<dyn Disk>,
    checkpoint: Checkpoint,
    found: Found,
    options: Options,
) -> Result<Engine, OpenError> {
    let is_new = found.is_new;
    let last = Epoch(found.next_epoch.0 - 1);
    let log = Arc::new(Log::new(last, options.sync, options.unwritten_max_bytes));
    let core = Arc::new(Core::new(disk.clone(), log, found.state, found.next_file, &options));
    if let Err(error) = full::hold_reserve(&core) {
        tracing::warn!("cannot hold room in reserve for a full disk: {error}");
    }
    let begin = |error| OpenError::Io { path: disk.path(""), error };
    let committer = Committer::new(core.clone(), last).map_err(begin)?;
    let mut janitor = Janitor::new(core.clone(), checkpoint);
    if is_new {
        // From now on the journal would be missed.
        janitor.checkpoint(Extent::SealedFiles).map_err(|error| OpenError::Checkpoint(error.to_string()))?;
    }
    let loader = Arc::new(Loader::new(core.clone()));
    Ok(Engine { core, committer, janitor, loader })
}

impl Engine {
    /// Commits everything in the log and writes a checkpoint.
    pub fn finish(&mut self) -> Result<(), String> {
        self.core.log.stop();
        loop {
            let done = match self.core.log.next_work() {
                Work::Write { epoch, contents, .. } => self.committer.commit(epoch, &contents, true),
                Work::Sync => self.committer.sync(),
                Work::Stop => break,
            };
            done.map_err(|error| error.to_string())?;
        }
        self.janitor.checkpoint(Extent::Everything).map_err(|error| error.to_string())
    }
}

fn report(disk: &Arc<dyn Disk>, found: &Found) {
    for damage in &found.damage {
        tracing::error!("{damage}");
    }
    if let Some((name, _, gone)) = &found.torn {
        tracing::warn!("{}: cut {gone} bytes at the end that were never confirmed", disk.path(name));
    }
}

fn recovered(found: &mut Found) -> Recovered {
    let queues: std::collections::HashMap<QueueId, _> =
        found.state.index.queues().map(|(id, queue)| (id, queue.recovered())).collect();
    // A queue that never had a message is known from its definition alone.
    let defined = found.definitions.keys().filter_map(|key| queue_of_key(key)).map(|id| id.base().0 + 1).max();
    found.state.index.raise_next_queue_id(defined.unwrap_or(1));
    Recovered {
        definitions: std::mem::take(&mut found.definitions),
        queues,
        next_queue_id: found.state.index.next_queue_id(),
    }
}

/// What a running store consists of beside what its users see.
struct Running {
    log: Arc<Log>,
    loader: Arc<Loader>,
    bell: Arc<Bell>,
    committer: JoinHandle<()>,
    janitor: JoinHandle<Janitor>,
    loaders: Vec<JoinHandle<()>>,
}

/// Ends a store's threads.
pub struct Closer(Mutex<Option<Running>>);

impl Closer {
    /// Nothing to end.
    pub fn none() -> Closer {
        Closer(Mutex::new(None))
    }

    /// Writes what is still to be written, makes a checkpoint, and ends the threads. Nothing may be added to the log any
    /// more. To close twice does nothing.
    pub fn close(&self) {
        let running = self.0.lock().expect("no code panics while it closes").take();
        let Some(Running { log, loader, bell, committer, janitor, loaders }) = running else { return };
        log.stop();
        loader.stop();
        bell.stop();
        let _ = committer.join();
        loaders.into_iter().for_each(|thread| drop(thread.join()));
        let Ok(mut janitor) = janitor.join() else { return };
        if let Err(error) = janitor.checkpoint(Extent::Everything) {
            tracing::error!("the next start will take longer: {error}");
        }
    }
}

/// Opens a data directory and starts the threads that serve it. A failed write or sync ends the process.
pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Arc<Store>, Recovered), OpenError> {
    let (Engine { core, committer, janitor, loader }, recovered) = open_engine(disk.clone(), options)?;
    let (log, bell) = (core.log.clone(), Arc::new(Bell::default()));
    let running = Running {
        log: log.clone(),
        loader: loader.clone(),
        bell: bell.clone(),
        committer: spawn("committer", move || commit_all(committer, &core)),
        janitor: spawn("janitor", move || keep_clean(janitor, &bell)),
        loaders: (0..LOADERS).map(|_| loader.clone()).map(|loader| spawn("loader", move || loader.run())).collect(),
    };
    let store = Store {
        log,
        cold: Box::new(loader),
        queue_resident_bytes: options.queue_resident_bytes,
        disk,
        closer: Closer(Mutex::new(Some(running))),
    };
    Ok((Arc::new(store), recovered))
}

fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().name(name.into()).spawn(run).expect("a thread can be started")
}

/// After a failed sync nobody knows what is on the disk; to go on would be to confirm what may be lost.
fn stop_process(error: &dyn std::fmt::Display) -> ! {
    tracing::error!("{error}; the broker stops, for what it would confirm from now on might not be kept");
    std::process::exit(1)
}

fn commit_all(mut committer: Committer, core: &Core) {
    loop {
        let done = match core.log.next_work() {
            Work::Write { epoch, contents, sync } => match committer.commit(epoch, &contents, sync) {
                Err(CommitError::Full) => Refused::new(core, epoch, contents).wait(&mut committer, core),
                done => done,
            },
            Work::Sync => committer.sync(),
            Work::Stop => return,
        };
        if let Err(error) = done {
            stop_process(&error);
        }
    }
}

fn keep_clean(mut janitor: Janitor, bell: &Bell) -> Janitor {
    while bell.rest() {
        match janitor.look() {
            Ok(()) => {}
            Err(error @ JanitorError::Later(_)) => tracing::warn!("cannot clean up the data directory now: {error}"),
            Err(error @ JanitorError::Fatal(_)) => stop_process(&error),
        }
    }
    janitor
}
