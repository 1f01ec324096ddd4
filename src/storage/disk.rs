//! The files of a data directory, behind a trait: the real one is [`StdDisk`], the one of the tests loses what was not
//! synced, tears writes and fails on demand.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// A directory of files, without folders in it.
pub trait Disk: Send + Sync + 'static {
    /// Names and lengths in bytes, in no particular order.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// A new, empty file, open for reading and writing. Its name is durable after [`sync_dir`](Disk::sync_dir). Fails
    /// with `AlreadyExists` if there is one: what another run left there must be looked at first.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// A file that exists, open for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Who has the file open can go on using it.
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
#[allow(clippy::len_without_is_empty)]
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// In bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills the buffer, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Lengthens the file if it must. After an error, any part may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file, or lengthens it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Makes the content durable, and as much about the file as it takes to read it back (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system that only the user of this process can read.
#[derive(Debug)]
pub struct StdDisk {
    directory: PathBuf,
    is_read_only: bool,
}

impl StdDisk {
    /// Creates the directory if it is missing, and those above it.
    pub fn open(directory: &Path) -> io::Result<StdDisk> {
        if !directory.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            // An empty parent is that of a relative path.
            let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
            sync_directory(parent.unwrap_or(Path::new(".")))?;
        }
        // That it is a directory, and may be read, shows now rather than at its first use.
        std::fs::read_dir(directory)?;
        Ok(StdDisk { directory: directory.to_owned(), is_read_only: false })
    }

    /// One that is there, in which nothing can be changed.
    pub fn read_only(directory: &Path) -> io::Result<StdDisk> {
        std::fs::read_dir(directory)?;
        Ok(StdDisk { directory: directory.to_owned(), is_read_only: true })
    }

    fn may_write(&self) -> io::Result<()> {
        if self.is_read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn at(&self, name: &str) -> PathBuf {
        debug_assert!(!name.contains('/'), "{name} leaves the directory");
        self.directory.join(name)
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn for_reading_and_writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Disk for StdDisk {
    /// Leaves out folders, and files of names that are not UTF-8: they are none of ours.
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.may_write()?;
        Ok(Arc::new(for_reading_and_writing().create_new(true).open(self.at(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.is_read_only {
            return Ok(Arc::new(File::open(self.at(name))?));
        }
        Ok(Arc::new(for_reading_and_writing().open(self.at(name))?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_write()?;
        std::fs::remove_file(self.at(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_write()?;
        std::fs::rename(self.at(from), self.at(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let file_system = rustix::fs::statvfs(&self.directory)?;
        Ok(Some(file_system.f_bavail.saturating_mul(file_system.f_frsize)))
    }

    fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A file in memory only.
#[derive(Debug)]
pub struct MemoryFile(Mutex<Vec<u8>>);

impl MemoryFile {
    pub fn new(bytes: Vec<u8>) -> MemoryFile {
        MemoryFile(Mutex::new(bytes))
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().expect("no code panics while it copies bytes")
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.bytes();
        let found = bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, written: &[u8], offset: u64) -> io::Result<()> {
        let (start, end) = (offset as usize, offset as usize + written.len());
        let mut bytes = self.bytes();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(written);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes().resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn disk() -> (tempfile::TempDir, StdDisk) {
        let directory = tempfile::tempdir().unwrap();
        let disk = StdDisk::open(&directory.path().join("a/data")).unwrap();
        (directory, disk)
    }

    fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
        result.err().expect("an error").kind()
    }

    #[test]
    fn creates_a_missing_directory_for_its_user_alone() {
        let (_directory, disk) = disk();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&disk.directory), 0o700);
        disk.create("file").unwrap();
        assert_eq!(mode(&disk.at("file")), 0o600);
        StdDisk::open(&disk.directory).expect("one that is there is as good");
    }

    #[test]
    fn reads_back_what_was_written_where_it_was_written() {
        let (_directory, disk) = disk();
        let file = disk.create("file").unwrap();
        file.write_all_at(b"world", 6).unwrap();
        file.write_all_at(b"hello ", 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir().unwrap();
        let mut read = [0; 11];
        disk.open("file").unwrap().read_exact_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"hello world");
        file.set_len(5).unwrap();
        assert_eq!(file.len().unwrap(), 5);
        assert_eq!(kind(file.read_exact_at(&mut read, 0)), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn lists_creates_renames_and_removes() {
        let (_directory, disk) = disk();
        std::fs::create_dir(disk.at("folder")).unwrap();
        disk.create("a").unwrap().set_len(3).unwrap();
        disk.create("b").unwrap();
        disk.rename("a", "b").unwrap();
        assert_eq!(disk.list().unwrap(), [("b".to_owned(), 3)]);
        disk.remove("b").unwrap();
        assert_eq!(disk.list().unwrap(), []);
    }

    #[test]
    fn errors_keep_their_kind() {
        let (_directory, disk) = disk();
        disk.create("a").unwrap();
        assert_eq!(kind(disk.create("a")), io::ErrorKind::AlreadyExists);
        assert_eq!(kind(disk.open("b")), io::ErrorKind::NotFound);
        assert_eq!(kind(disk.remove("b")), io::ErrorKind::NotFound);
        assert_eq!(kind(disk.rename("b", "c")), io::ErrorKind::NotFound);
        assert_eq!(kind(StdDisk::open(&disk.at("a"))), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn knows_its_path_and_the_room_there_is() {
        let (directory, disk) = disk();
        assert_eq!(disk.path("x"), directory.path().join("a/data/x").display().to_string());
        assert!(disk.free_bytes().unwrap().is_some());
    }
}
