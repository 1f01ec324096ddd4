//! The local socket: where it is, who may open it, and whose it is.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config::Config;

/// Its name in the data directory.
pub const FILE_NAME: &str = "ctl.sock";

/// The longest path that a socket can have on Linux, in bytes.
pub const PATH_MAX_BYTES: usize = 107;

/// Where the broker with this configuration has its socket.
pub fn path_of(config: &Config) -> PathBuf {
    config.ctl_socket.clone().unwrap_or_else(|| config.data_dir.join(FILE_NAME))
}

/// # Errors
/// Says that the path is too long, and what to do about it.
pub fn check_path(path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().len();
    if bytes <= PATH_MAX_BYTES {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the path has {bytes} bytes, and that of a socket {PATH_MAX_BYTES} at most: set `ctl_socket` to a shorter one"
    )))
}

/// A socket that is listened on, and removed in the end.
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that only this file is removed.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens on `path`. The file can be opened by its owner only, from the first moment: it is made in a directory that
    /// nobody else can enter, and then moved. It takes the place of a socket on which nobody listens any more.
    ///
    /// # Errors
    /// If the path is too long, or something is there that is no such socket.
    pub fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
        check_path(path)?;
        check_free(path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let private = parent.join(format!(".{:04x}", rand::random::<u16>()));
        DirBuilder::new().mode(0o700).create(&private)?;
        let bound = bind_and_move(&private.join("s"), path);
        fs::remove_dir_all(&private)?;
        bound
    }
}

fn bind_and_move(made_at: &Path, path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    check_path(made_at)?;
    let listener = UnixListener::bind(made_at)?;
    fs::set_permissions(made_at, fs::Permissions::from_mode(0o600))?;
    let metadata = fs::symlink_metadata(made_at)?;
    fs::rename(made_at, path)?;
    Ok((listener, SocketFile { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) }))
}

/// Whether the path is free, or has a socket that a broker left behind which has ended.
fn check_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another broker listens there"))
        }
        Ok(_) => Ok(()),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn only_its_owner_can_open_it_and_it_goes_with_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let (listener, file) = SocketFile::listen(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
        drop((listener, file));
        assert!(!path.exists());
    }

    #[test]
    fn one_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, file) = SocketFile::listen(&path).unwrap();
        assert_eq!(SocketFile::listen(&path).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        // Another has taken its place meanwhile: it stays.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "not a socket").unwrap();
        drop(file);
        assert_eq!(SocketFile::listen(&path).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a socket");
    }

    #[test]
    fn a_path_that_is_too_long_is_told() {
        let error = SocketFile::listen(&PathBuf::from("/tmp").join("x".repeat(200))).err().unwrap().to_string();
        assert!(error.contains("205 bytes") && error.contains("`ctl_socket`"), "{error}");
    }
}
