//! The data directory: locked and opened at start, closed at the end.

use std::sync::Arc;

use crate::config::Config;
use crate::storage::disk::StdDisk;
use crate::storage::lock::DirectoryLock;
use crate::storage::open::{self, Options};
use crate::storage::store::{Recovered, Store};

/// A data directory that this process alone uses.
pub struct DataDirectory {
    pub store: Arc<Store>,
    _lock: DirectoryLock,
}

impl DataDirectory {
    /// Locks the data directory and reads what is there. An error is one line and names the file.
    pub fn open(config: &Config) -> Result<(DataDirectory, Recovered), String> {
        let directory = &config.data_dir;
        let disk = StdDisk::open(directory)
            .map_err(|error| format!("cannot use data directory {}: {error}", directory.display()))?;
        let lock = DirectoryLock::acquire(directory).map_err(|error| error.to_string())?;
        let options = Options {
            sync: config.storage.policy(),
            unwritten_max_bytes: usize::try_from(config.limits.unwritten_bytes).unwrap_or(usize::MAX),
            queue_resident_bytes: config.limits.queue_resident_bytes,
            journal_file_bytes: Options::JOURNAL_FILE_BYTES,
            reserve_bytes: Options::RESERVE_BYTES,
        };
        let (store, recovered) = open::open(Arc::new(disk), options).map_err(|error| error.to_string())?;
        Ok((DataDirectory { store, _lock: lock }, recovered))
    }
}
