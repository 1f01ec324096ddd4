//! The files of a data directory, behind a trait: the real one is [`std`], the one of the tests loses what was not
//! synced, tears writes and fails on demand.

use std::io;
use std::sync::Arc;

/// A directory of files, without folders in it.
pub trait Disk: Send + Sync + 'static {
    /// Names and lengths in bytes, in no particular order.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// A new, empty file, open for reading and writing. Its name is durable after [`sync_dir`](Disk::sync_dir).
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// A file that exists, open for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Replaces a file of the new name, if there is one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes names durable: what was created, removed and renamed.
    fn sync_dir(&self) -> io::Result<()>;
    /// Bytes that can still be written, where it is known.
    fn free_bytes(&self) -> io::Result<Option<u64>>;
    /// What errors call this directory, or a file in it.
    fn path(&self, name: &str) -> String;
}

/// Reads and writes take a position, so that threads can share one.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    fn len(&self) -> io::Result<u64>;
    /// Fills the buffer, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Makes the content durable, and as much about the file as it takes to read it back (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}
