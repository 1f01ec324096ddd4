//! What the embedded database writes to and reads from: a file of the disk.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use crate::storage::disk::DiskFile;

/// The first error of the disk since it was last forgotten: the database reports only that there was one before.
#[derive(Debug, Default)]
pub(super) struct Failure(Mutex<Option<io::Error>>);

impl Failure {
    pub(super) fn forget(&self) {
        self.take();
    }

    pub(super) fn take(&self) -> Option<io::Error> {
        self.0.lock().expect("no panic while it is held").take()
    }

    /// The error itself stays here; the database gets one of the same kind and text.
    fn keep<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let shown = io::Error::new(error.kind(), error.to_string());
            self.0.lock().expect("no panic while it is held").get_or_insert(error);
            shown
        })
    }
}

#[derive(Debug)]
pub(super) struct Backend {
    file: Arc<dyn DiskFile>,
    failure: Arc<Failure>,
}

impl Backend {
    pub(super) fn new(file: Arc<dyn DiskFile>, failure: Arc<Failure>) -> Backend {
        Backend { file, failure }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.failure.keep(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.failure.keep(self.file.read_exact_at(out, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.failure.keep(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.failure.keep(self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.failure.keep(self.file.write_all_at(data, offset))
    }
}
