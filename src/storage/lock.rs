//! The lock of a data directory: two brokers on the same files would destroy them.
//!
//! It is the operating system's lock (`flock`) on a file, so it is gone when the process is, however it ends; what the
//! file says is only for the message to the second one that comes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The name of the file that is locked.
pub const LOCK_FILE: &str = "lock";

/// Why a directory could not be locked; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("data directory {} is in use by process {pid}", directory.display())]
    InUse { directory: PathBuf, pid: u32 },
    /// The other one has not yet said who it is.
    #[error("data directory {} is in use by another process", directory.display())]
    InUseBySomebody { directory: PathBuf },
    #[error("cannot write {}: {error}; {}", path.display(), remedy(error.kind()))]
    Io { path: PathBuf, error: io::Error },
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => {
            "make the data directory and the files in it writable for the user that runs Leveret, or choose another one"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount the file system of the data directory for writing, or choose another directory"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on the file system of the data directory, or choose another directory"
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "create the data directory, or choose another one",
        io::ErrorKind::Unsupported => "the file system cannot lock files: choose a data directory on another one",
        _ => "the data directory must be one that Leveret can lock and write to",
    }
}

/// While it lives, this process alone uses the directory.
#[derive(Debug)]
pub struct DirectoryLock {
    // The file stays there when the lock is dropped: to remove it could take away the lock of the next one.
    _file: File,
}

impl DirectoryLock {
    /// The directory must exist. Never waits.
    pub fn acquire(directory: &Path) -> Result<DirectoryLock, LockError> {
        let path = directory.join(LOCK_FILE);
        let io = |error| LockError::Io { path: path.clone(), error };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(directory, &mut file)),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        match file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
            // A full disk is for the broker to deal with, once it runs.
            Err(error) if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Err(io(error))
            }
            _ => Ok(DirectoryLock { _file: file }),
        }
    }

    /// For who only reads: writes nothing, and lets others read too. Where there is no lock file, no broker has been yet,
    /// or this is a copy: `None`.
    pub fn acquire_to_read(directory: &Path) -> Result<Option<DirectoryLock>, LockError> {
        let path = directory.join(LOCK_FILE);
        let io = |error| LockError::Read { path: path.clone(), error };
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(io)?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(DirectoryLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(in_use(directory, &mut file)),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }
}

fn in_use(directory: &Path, file: &mut File) -> LockError {
    let directory = directory.to_owned();
    let mut text = String::new();
    let read = file.take(64).read_to_string(&mut text);
    match read.ok().and_then(|_| text.trim().parse().ok()) {
        Some(pid) => LockError::InUse { directory, pid },
        None => LockError::InUseBySomebody { directory },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_has_it_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::acquire(directory.path()).unwrap();
        let refused = DirectoryLock::acquire(directory.path()).unwrap_err();
        let (path, pid) = (directory.path().display(), std::process::id());
        assert_eq!(refused.to_string(), format!("data directory {path} is in use by process {pid}"));
        drop(first);
        DirectoryLock::acquire(directory.path()).unwrap();
    }

    #[test]
    fn a_lock_file_without_a_pid_does_not_hide_that_it_is_locked() {
        let directory = tempfile::tempdir().unwrap();
        let _first = DirectoryLock::acquire(directory.path()).unwrap();
        std::fs::write(directory.path().join(LOCK_FILE), "").unwrap();
        let refused = DirectoryLock::acquire(directory.path()).unwrap_err();
        assert!(refused.to_string().ends_with("is in use by another process"), "{refused}");
    }

    #[test]
    fn what_a_dead_process_left_in_the_file_does_not_matter() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(LOCK_FILE), "4194304000\nand more").unwrap();
        let _lock = DirectoryLock::acquire(directory.path()).unwrap();
        let text = std::fs::read_to_string(directory.path().join(LOCK_FILE)).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    /// The lock of a killed process is free at once: the system releases it.
    #[test]
    fn the_lock_ends_with_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(LOCK_FILE);
        let mut other = std::process::Command::new("flock")
            .arg("--no-fork")
            .arg(&path)
            .args(["sh", "-c", "echo locked; exec sleep 60"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        other.stdout.as_mut().unwrap().read_exact(&mut [0; 7]).unwrap();
        DirectoryLock::acquire(directory.path()).unwrap_err();
        other.kill().unwrap();
        other.wait().unwrap();
        DirectoryLock::acquire(directory.path()).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_written_to_is_named_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let missing = DirectoryLock::acquire(&directory.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("none/lock") && missing.contains("create the data directory"), "{missing}");
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem] {
            let text = LockError::Io { path: "/data/lock".into(), error: kind.into() }.to_string();
            assert!(text.contains("/data/lock") && text.contains("choose another"), "{text}");
        }
    }
}
