//! What the threads of the store share: the index, the open files, and what has changed since the last checkpoint.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::Epoch;
use super::disk::{Disk, DiskFile};
use super::format::FileKind;
use super::index::{FileInfo, Index};
use super::log::Log;
use super::open::Options;

/// Files that are kept open for reading.
const OPEN_FILES_MAX: usize = 64;

/// Definitions that changed since the last checkpoint, with their new values.
pub type DefinitionChanges = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What the journal has made of the data so far. Changed by the committer, epoch by epoch.
#[derive(Default)]
pub struct State {
    pub index: Index,
    pub definitions: DefinitionChanges,
    /// Everything up to this epoch is in the state.
    pub epoch: Epoch,
    /// Where the journal goes on behind that epoch.
    pub journal_file: u64,
    pub journal_end: u64,
    /// Everything up to this epoch is in older files of the journal.
    pub sealed_epoch: Epoch,
}

impl State {
    /// Files to which nothing is written any more, but for spill files.
    pub fn sealed_files(&self) -> impl Iterator<Item = (u64, FileInfo)> {
        let is_sealed = |number: u64, kind: FileKind| match kind {
            FileKind::Journal => number < self.journal_file,
            FileKind::Segment => true,
            FileKind::Spill => false,
        };
        let files = self.index.files().iter().map(|(&number, file)| (number, *file));
        files.filter(move |(number, file)| is_sealed(*number, file.kind))
    }
}

pub struct Core {
    pub disk: Arc<dyn Disk>,
    pub log: Arc<Log>,
    state: Mutex<State>,
    /// The most recently used at the end.
    open: Mutex<VecDeque<(u64, Arc<dyn DiskFile>)>>,
    next_file: AtomicU64,
    /// A journal file that has reached this length gets no further epoch.
    pub journal_file_bytes: u64,
    /// Room held back for when the disk is full.
    pub reserve_bytes: u64,
    /// The disk had no room for the last thing that was to be written.
    pub is_full: AtomicBool,
}

impl Core {
    pub fn new(disk: Arc<dyn Disk>, log: Arc<Log>, state: State, next_file: u64, options: &Options) -> Core {
        Core {
            disk,
            log,
            state: Mutex::new(state),
            open: Mutex::default(),
            next_file: AtomicU64::new(next_file),
            journal_file_bytes: options.journal_file_bytes,
            reserve_bytes: options.reserve_bytes,
            is_full: AtomicBool::new(false),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it changes the index")
    }

    /// A number that no file has had.
    pub fn new_file_number(&self) -> u64 {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    pub fn next_file_number(&self) -> u64 {
        self.next_file.load(Ordering::Relaxed)
    }

    /// The file of that number, opened if it is not open.
    pub fn file(&self, number: u64, kind: FileKind) -> io::Result<Arc<dyn DiskFile>> {
        let mut open = self.open.lock().expect("no code panics while it opens a file");
        if let Some(at) = open.iter().position(|(of, _)| *of == number) {
            let found = open.remove(at).expect("it is there");
            open.push_back(found.clone());
            return Ok(found.1);
        }
        let file = self.disk.open(&kind.file_name(number))?;
        open.push_back((number, file.clone()));
        if open.len() > OPEN_FILES_MAX {
            open.pop_front();
        }
        Ok(file)
    }

    /// Removes a file that nothing refers to.
    pub fn remove_file(&self, number: u64, kind: FileKind) -> io::Result<()> {
        self.open.lock().expect("as above").retain(|(of, _)| *of != number);
        self.disk.remove(&kind.file_name(number))
    }
}
