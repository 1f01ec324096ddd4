//! The checkpoint: what holds up to a position of the journal, in an embedded database (`redb`) over one file.
//!
//! Each write is one transaction: after a crash it is there as a whole or not at all. It commits in two phases, so that
//! what the file says is the last transaction can be trusted, and saves what pages are in use, so that opening after a
//! kill need not search for them. Whoever opens a file checks all of it against its checksums first: the rows are about
//! to be read anyway, and a database that trusts a damaged file may panic or run in circles later.
//!
//! A transaction that fails closes the database: it refuses all work after an I/O error. The next one opens it again.

mod backend;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::disk::{Disk, DiskFile, MemoryFile};
use backend::{Backend, Failure};

/// The name of the file.
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// It is made under this name, and gets its own once it is complete.
pub const UNFINISHED_FILE: &str = "checkpoint.new";

/// From 2 on, rows of queues may say more than a program that knows only 1 understands.
const FORMAT: u64 = 2;
/// The oldest format that is read, too; what is written next makes it the newest.
const OLDEST_FORMAT: u64 = 1;
/// Pages that the database keeps in memory, once a transaction is done.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const DEFINITIONS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("definitions");
const QUEUES: TableDefinition<u64, &[u8]> = TableDefinition::new("queues");

/// What went wrong; the text names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// What was there before still is, and another attempt may succeed when there is room.
    #[error("there is no room on the disk to write {path}: make some")]
    Full { path: String },
    #[error(
        "cannot use {path}: {error}; the user that runs Leveret must be able to read and write it, and the disk must work"
    )]
    Io { path: String, error: io::Error },
    #[error(
        "{path} is damaged ({why}); restore the whole data directory from a backup, let `leveret check --repair` save \
         what the other files tell, or move the directory away to start with an empty one"
    )]
    Damaged { path: String, why: String },
    #[error(
        "{path} has format {found}, and this version of Leveret knows only formats {OLDEST_FORMAT} to {FORMAT}; start the \
         version that wrote it"
    )]
    UnknownFormat { path: String, found: u64 },
}

/// All that a checkpoint says. What the rows say is the store's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub numbers: Numbers,
    pub definitions: BTreeMap<Vec<u8>, Vec<u8>>,
    /// By the queue's id.
    pub queues: HashMap<u64, Vec<u8>>,
}

/// Where the journal goes on, and what has been used; all 0 in a new checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The last epoch that is contained.
    pub epoch: u64,
    /// The journal file that holds what comes next ...
    pub journal_file: u64,
    /// ... from this byte on.
    pub journal_offset: u64,
    /// No queue has had this id or a higher one.
    pub next_queue_id: u64,
    /// No file has had this number or a higher one.
    pub next_file: u64,
}

impl Numbers {
    fn rows(&mut self) -> [(&'static str, &mut u64); 5] {
        [
            ("epoch", &mut self.epoch),
            ("journal_file", &mut self.journal_file),
            ("journal_offset", &mut self.journal_offset),
            ("next_queue_id", &mut self.next_queue_id),
            ("next_file", &mut self.next_file),
        ]
    }
}

/// What one transaction changes. A row becomes the value given, or is deleted.
#[derive(Clone, Debug, Default)]
pub struct Update {
    pub numbers: Numbers,
    pub definitions: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub queues: HashMap<u64, Option<Vec<u8>>>,
}

pub struct Checkpoint {
    path: String,
    file: Arc<dyn DiskFile>,
    failure: Arc<Failure>,
    /// `None` after a transaction failed.
    database: Option<Database>,
}

impl Checkpoint {
    /// Makes the file if it is missing, and checks all of it if it is there.
    pub fn open(disk: &Arc<dyn Disk>) -> Result<Checkpoint, CheckpointError> {
        let files = disk.list().map_err(|error| cannot_use(disk.path(""), error))?;
        let exists = |name| files.iter().any(|(file, _)| file == name);
        if exists(UNFINISHED_FILE) {
            disk.remove(UNFINISHED_FILE).map_err(|error| cannot_use(disk.path(UNFINISHED_FILE), error))?;
        }
        if !exists(CHECKPOINT_FILE) {
            create(disk)?;
        }
        // A process that was killed may have left the name, like the content, in the system's memory only.
        let path = disk.path(CHECKPOINT_FILE);
        disk.sync_dir().map_err(|error| cannot_use(path.clone(), error))?;
        let file = disk.open(CHECKPOINT_FILE).map_err(|error| cannot_use(path.clone(), error))?;
        Checkpoint::over(file, path).checked()
    }

    /// A copy of the file as it is, for who looks and changes nothing.
    pub fn open_copy(disk: &Arc<dyn Disk>) -> Result<Checkpoint, CheckpointError> {
        let path = disk.path(CHECKPOINT_FILE);
        let copy = disk.open(CHECKPOINT_FILE).and_then(|file| {
            let mut bytes = vec![0; file.len()? as usize];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(MemoryFile::new(bytes))
        });
        let copy = copy.map_err(|error| cannot_use(path.clone(), error))?;
        Checkpoint::over(Arc::new(copy), path).checked()
    }

    /// A new one beside the one that cannot be used, which stays until [`replace`](Self::replace).
    pub fn create_beside(disk: &Arc<dyn Disk>) -> Result<Checkpoint, CheckpointError> {
        match disk.remove(UNFINISHED_FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot_use(disk.path(UNFINISHED_FILE), error));
            }
            _ => {}
        }
        create_unfinished(disk)
    }

    /// Puts the one that was made beside it in the place of the old one, if there is one, which is `aside` from then on.
    /// Nobody may use it meanwhile.
    pub fn replace(disk: &Arc<dyn Disk>, aside: &str) -> Result<(), CheckpointError> {
        let path = disk.path(UNFINISHED_FILE);
        let finish = || {
            disk.open(UNFINISHED_FILE)?.sync()?;
            match disk.rename(CHECKPOINT_FILE, aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            disk.rename(UNFINISHED_FILE, CHECKPOINT_FILE)?;
            disk.sync_dir()
        };
        finish().map_err(|error| cannot_use(path, error))
    }

    fn over(file: Arc<dyn DiskFile>, path: String) -> Checkpoint {
        Checkpoint { path, file, failure: Arc::default(), database: None }
    }

    fn checked(mut self) -> Result<Checkpoint, CheckpointError> {
        // The database would make a new one of an empty file.
        if self.file.len().map_err(|error| cannot_use(self.path.clone(), error))? == 0 {
            return Err(CheckpointError::Damaged { path: self.path, why: "it is empty".into() });
        }
        let mut database = self.database()?;
        let check = self.guarded(|| {
            database.check_integrity()?;
            let transaction = database.begin_read()?;
            let format = transaction.open_table(META)?.get("format")?.map(|format| format.value());
            Ok(format)
        });
        let format = match check {
            Ok(format) => format,
            Err(error) => {
                self.close(database);
                return Err(error);
            }
        };
        self.database = Some(database);
        match format {
            Some(OLDEST_FORMAT..=FORMAT) => Ok(self),
            Some(found) => Err(CheckpointError::UnknownFormat { path: self.path.clone(), found }),
            None => Err(CheckpointError::Damaged { path: self.path.clone(), why: "it has no format".into() }),
        }
    }

    /// All that it says.
    pub fn read(&self) -> Result<Contents, CheckpointError> {
        if let Some(database) = &self.database {
            return self.guarded(|| contents(database));
        }
        let database = self.database()?;
        let contents = self.guarded(|| contents(&database));
        self.close(database);
        contents
    }

    /// One transaction, durable when this returns. After [`CheckpointError::Full`], or any other error, the next may
    /// contain what this one would have changed, or may not: a repetition must do no harm.
    pub fn write(&mut self, update: &Update) -> Result<(), CheckpointError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.database()?,
        };
        match self.guarded(|| transact(&database, update)) {
            Ok(()) => {
                self.database = Some(database);
                Ok(())
            }
            Err(error) => {
                self.close(database);
                Err(error)
            }
        }
    }

    fn database(&self) -> Result<Database, CheckpointError> {
        // What is read now must still be there after a crash, whoever wrote it.
        self.file.sync().map_err(|error| cannot_use(self.path.clone(), error))?;
        let backend = Backend::new(self.file.clone(), self.failure.clone());
        self.guarded(|| Ok(Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)?))
    }

    /// Closing writes, too, and what it cannot write is of no consequence.
    fn close(&self, database: Database) {
        let _ = self.guarded(|| {
            drop(database);
            Ok(())
        });
    }

    /// The database may panic over a damaged file.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, CheckpointError> {
        self.failure.forget();
        let path = self.path.clone();
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(done)) => Ok(done),
            Err(panic) => Err(CheckpointError::Damaged { path, why: text_of(panic.as_ref()) }),
            Ok(Err(error)) => Err(match self.failure.take() {
                Some(error) if error.kind() != io::ErrorKind::UnexpectedEof => cannot_use(path, error),
                _ => CheckpointError::Damaged { path, why: error.to_string() },
            }),
        }
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the database panicked").to_owned()
}

fn cannot_use(path: String, error: io::Error) -> CheckpointError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CheckpointError::Full { path },
        _ => CheckpointError::Io { path, error },
    }
}

/// A crash on the way leaves a file that is not the checkpoint yet, or a complete one. The name is not durable yet.
fn create(disk: &Arc<dyn Disk>) -> Result<(), CheckpointError> {
    let Checkpoint { path, file, .. } = create_unfinished(disk)?;
    let finish = file.sync().and_then(|()| disk.rename(UNFINISHED_FILE, CHECKPOINT_FILE));
    finish.map_err(|error| cannot_use(path, error))
}

fn create_unfinished(disk: &Arc<dyn Disk>) -> Result<Checkpoint, CheckpointError> {
    let path = disk.path(UNFINISHED_FILE);
    let file = disk.create(UNFINISHED_FILE).map_err(|error| cannot_use(path.clone(), error))?;
    let mut new = Checkpoint::over(file, path);
    new.write(&Update::default())?;
    Ok(new)
}

fn contents(database: &Database) -> Result<Contents, redb::Error> {
    let mut contents = Contents::default();
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    for (name, number) in contents.numbers.rows() {
        let row = meta.get(name)?.ok_or_else(|| redb::Error::Corrupted(format!("{name} is missing")))?;
        *number = row.value();
    }
    for row in transaction.open_table(DEFINITIONS)?.iter()? {
        let (key, value) = row?;
        contents.definitions.insert(key.value().to_owned(), value.value().to_owned());
    }
    for row in transaction.open_table(QUEUES)?.iter()? {
        let (id, value) = row?;
        contents.queues.insert(id.value(), value.value().to_owned());
    }
    Ok(contents)
}

fn transact(database: &Database, update: &Update) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("format", FORMAT)?;
        for (name, number) in { update.numbers }.rows() {
            meta.insert(name, *number)?;
        }
        let mut definitions = transaction.open_table(DEFINITIONS)?;
        for (key, value) in &update.definitions {
            match value {
                Some(value) => definitions.insert(key.as_slice(), value.as_slice())?,
                None => definitions.remove(key.as_slice())?,
            };
        }
        let mut queues = transaction.open_table(QUEUES)?;
        for (id, value) in in_order(&update.queues) {
            match value {
                Some(value) => queues.insert(id, value)?,
                None => queues.remove(id)?,
            };
        }
    }
    Ok(transaction.commit()?)
}

/// Neighbours share pages, so each is touched once.
fn in_order(queues: &HashMap<u64, Option<Vec<u8>>>) -> Vec<(u64, Option<&[u8]>)> {
    let mut rows: Vec<_> = queues.iter().map(|(id, value)| (*id, value.as_deref())).collect();
    rows.sort_unstable_by_key(|(id, _)| *id);
    rows
}
