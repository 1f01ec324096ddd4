//! Keeping the directory small and the next start short: checkpoints, and the removal of files that nothing needs.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, CheckpointError, Numbers, Update};
use super::compaction;
use super::core::Core;
use super::format::{FILE_HEAD_BYTES, FileKind};

/// Room is reclaimed at most so often, unless a checkpoint is due.
const RECLAIM_INTERVAL: Duration = Duration::from_secs(1);
/// What could not be done is not tried again sooner.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How often it looks whether there is something to do.
const LOOK: Duration = Duration::from_millis(100);

/// What the janitor could not do.
#[derive(Debug, thiserror::Error)]
pub enum JanitorError {
    /// Nobody knows what is on the disk now. The process must stop.
    #[error("{0}")]
    Fatal(String),
    /// It can be tried again later.
    #[error("{0}")]
    Later(String),
}

/// How much a checkpoint is to cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The journal up to the file that is being written, which is read at the next start. What many queues receive mixed
    /// is many small pieces until its file is compacted; that is not worth writing down.
    SealedFiles,
    /// All of the journal, so that the next start need read nothing.
    Everything,
}

pub struct Janitor {
    core: Arc<Core>,
    checkpoint: Checkpoint,
    last: Instant,
    /// The last attempt found no room.
    failed: bool,
    /// The file of the journal at which the last checkpoint ends.
    journal_file: u64,
}

impl Janitor {
    pub fn new(core: Arc<Core>, checkpoint: Checkpoint) -> Janitor {
        Janitor { core, checkpoint, last: Instant::now(), failed: false, journal_file: 0 }
    }

    /// Does what is due: a checkpoint when the journal has begun a new file, compaction of files that waste room.
    pub fn look(&mut self) -> Result<(), JanitorError> {
        if self.failed && self.last.elapsed() < RETRY_INTERVAL {
            return Ok(());
        }
        let is_due = self.core.state().journal_file != self.journal_file;
        if is_due || (self.last.elapsed() >= RECLAIM_INTERVAL && self.wastes_room()) {
            self.last = Instant::now();
            let cleaned = self.clean();
            self.failed = cleaned.is_err();
            return cleaned;
        }
        Ok(())
    }

    /// Whether some file could go, or is hardly needed.
    fn wastes_room(&self) -> bool {
        self.core.state().sealed_files().any(|(_, file)| file.pieces == 0 || compaction::is_sparse(&file))
    }

    /// Compacts what is worth it and writes a checkpoint.
    pub fn clean(&mut self) -> Result<(), JanitorError> {
        while let Some(file) = compaction::candidate(&self.core) {
            if !compaction::compact(&self.core, file).map_err(|error| JanitorError::Later(error.to_string()))? {
                break;
            }
        }
        self.checkpoint(Extent::SealedFiles)
    }

    /// Writes down the state of this moment, and removes the files that it does not need.
    pub fn checkpoint(&mut self, extent: Extent) -> Result<(), JanitorError> {
        let (update, unneeded) = self.snapshot(extent);
        let journal = update.numbers.journal_file;
        let row_bytes: usize = update.queues.values().flatten().map(Vec::len).sum();
        tracing::debug!("checkpoint: {} rows of queues with {row_bytes} bytes", update.queues.len());
        self.sync_journal(journal)?;
        match self.checkpoint.write(&update) {
            Ok(()) => self.journal_file = journal,
            Err(error) => {
                self.put_back(update);
                return Err(match error {
                    CheckpointError::Full { .. } => JanitorError::Later(error.to_string()),
                    _ => JanitorError::Fatal(error.to_string()),
                });
            }
        }
        for (number, kind) in unneeded {
            self.core.state().index.remove_file(number);
            if let Err(error) = self.core.remove_file(number, kind) {
                tracing::warn!("cannot remove {}: {error}", self.core.disk.path(&kind.file_name(number)));
            }
        }
        Ok(())
    }

    /// What changed since the last checkpoint, and the files that nothing needs once it is written.
    fn snapshot(&self, extent: Extent) -> (Update, Vec<(u64, FileKind)>) {
        let mut state = self.core.state();
        let (epoch, journal_offset) = match extent {
            Extent::SealedFiles => (state.sealed_epoch, FILE_HEAD_BYTES),
            Extent::Everything => (state.epoch, state.journal_end),
        };
        let journal_file = state.journal_file;
        let numbers = Numbers {
            epoch: epoch.0,
            journal_file,
            journal_offset,
            next_queue_id: state.index.next_queue_id(),
            next_file: self.core.next_file_number(),
        };
        let update = Update {
            numbers,
            definitions: std::mem::take(&mut state.definitions),
            queues: state.index.take_changes(journal_file, extent == Extent::Everything),
        };
        let unneeded = state.sealed_files().filter(|(_, file)| file.pieces == 0);
        let unneeded = unneeded.map(|(number, file)| (number, file.kind)).collect();
        (update, unneeded)
    }

    /// A checkpoint must not know of what a power cut could still take away.
    fn sync_journal(&self, number: u64) -> Result<(), JanitorError> {
        let file = self.core.file(number, FileKind::Journal);
        file.and_then(|file| file.sync()).map_err(|error| {
            let path = self.core.disk.path(&FileKind::Journal.file_name(number));
            JanitorError::Fatal(format!("cannot sync {path}: {error}"))
        })
    }

    fn put_back(&self, update: Update) {
        let mut state = self.core.state();
        state.index.put_back_changes(update.queues.into_keys());
        let newer = std::mem::take(&mut state.definitions);
        state.definitions = update.definitions;
        state.definitions.extend(newer);
    }
}

/// Wakes the janitor's thread, and ends it.
#[derive(Default)]
pub struct Bell {
    stopping: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    pub fn stop(&self) {
        *self.stopping.lock().expect("nothing panics that holds it") = true;
        self.rung.notify_all();
    }

    /// Rests a moment; returns whether to go on.
    pub fn rest(&self) -> bool {
        let stopping = self.stopping.lock().expect("as above");
        if *stopping {
            return false;
        }
        !*self.rung.wait_timeout(stopping, LOOK).expect("as above").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::chunk::OpenChunk;
    use crate::storage::log::{Change, SyncPolicy, Work};
    use crate::storage::open::{Engine, Options, open_engine};
    use crate::storage::record::{append_prefix, flags};
    use crate::storage::sim_disk::SimDisk;
    use crate::storage::{QueueId, queue_key};

    #[test]
    fn what_found_no_room_is_not_tried_again_at_once() {
        let options = Options {
            sync: SyncPolicy::Always,
            unwritten_max_bytes: 1 << 20,
            queue_resident_bytes: 0,
            journal_file_bytes: 100,
            reserve_bytes: 0,
        };
        let disk = SimDisk::new();
        let (mut engine, _) = open_engine(disk.clone(), options).unwrap();
        let commit = |engine: &mut Engine| {
            let Some(Work::Write { epoch, contents, .. }) = engine.core.log.take_now(true) else { panic!() };
            engine.committer.commit(epoch, &contents, true).unwrap();
        };
        let queue = QueueId(1);
        engine.core.log.define(vec![Change { key: queue_key(queue), value: Some(vec![1]) }]);
        let mut messages = OpenChunk::default();
        let mut prefix = Vec::new();
        append_prefix(&mut prefix, flags::PERSISTENT, b"", b"key", &[0, 0], 100);
        (0..10).for_each(|_| messages.push(&prefix, &[0; 100]));
        engine.core.log.enqueue(queue, 0, None, &messages.close());
        commit(&mut engine);
        engine.core.log.settle(queue, 0, 9);
        commit(&mut engine);
        disk.set_capacity(Some(disk.used_bytes()));
        assert!(matches!(engine.janitor.look(), Err(JanitorError::Later(_))), "there is one message to be copied");
        assert!(engine.janitor.look().is_ok(), "it rests");
    }
}
