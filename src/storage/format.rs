//! The bytes of journal, segment and spill files; docs/storage-format.md draws them.
//!
//! A file is a head and blocks. A block is a head, a payload of entries, and a table with a checksum for each page of the
//! payload, and where the first entry begins in it, so that damage costs only the records that it touches. The head has
//! checksums of itself and of the table, mixed with the number of the file and the place in it, so that no block passes
//! for one of another file, or of another place.

mod block;
mod entry;
mod reader;
mod records;
mod scan;
#[cfg(test)]
mod tests;

use std::io;

pub use self::block::{Block, BlockHead, BlockPlace, begin_block, end_block};
pub use self::entry::{
    Enqueue, EntryView, FooterPiece, Target, push_bytes, push_counts, push_define, push_deliver, push_drop_queue,
    push_enqueue, push_footer, push_number, push_ranges, push_returns, push_settle,
};
pub use self::reader::Reader;
pub use self::records::Records;
pub use self::scan::{Scanned, Scanner};
use super::disk::DiskFile;

/// The version of everything in a data directory but the checkpoint, which has its own. From 2 on there are entries for
/// times to live and for what was returned, which a program that knows only 1 would leave out.
pub const VERSION: u32 = 2;
/// The oldest version that is read, too.
const OLDEST_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"LEVERET\n";
/// Bytes of a file's head.
pub const FILE_HEAD_BYTES: u64 = 32;
/// What a file is for; the extension of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Epochs as they were committed.
    Journal = 1,
    /// What still waits of older files, by queue.
    Segment = 2,
    /// Messages that left memory and need not outlive the process.
    Spill = 3,
}

impl FileKind {
    const ALL: [FileKind; 3] = [FileKind::Journal, FileKind::Segment, FileKind::Spill];

    fn extension(self) -> &'static str {
        match self {
            FileKind::Journal => "journal",
            FileKind::Segment => "segment",
            FileKind::Spill => "spill",
        }
    }

    /// `000000000042.journal`. No two files of a directory have one number, whatever their kinds.
    pub fn file_name(self, number: u64) -> String {
        format!("{number:012}.{}", self.extension())
    }

    /// The kind and number that a name tells, if it is one of ours.
    pub fn of_name(name: &str) -> Option<(FileKind, u64)> {
        let (number, extension) = name.split_once('.')?;
        let kind = FileKind::ALL.into_iter().find(|kind| kind.extension() == extension)?;
        let number = number.parse().ok()?;
        (kind.file_name(number) == name).then_some((kind, number))
    }
}

pub fn file_head(kind: FileKind, number: u64) -> [u8; FILE_HEAD_BYTES as usize] {
    head_of_version(VERSION, kind, number)
}

fn head_of_version(version: u32, kind: FileKind, number: u64) -> [u8; FILE_HEAD_BYTES as usize] {
    let mut head = [0; FILE_HEAD_BYTES as usize];
    head[0..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&version.to_le_bytes());
    head[12..16].copy_from_slice(&(kind as u32).to_le_bytes());
    head[16..24].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&head[..28]);
    head[28..32].copy_from_slice(&crc.to_le_bytes());
    head
}

/// What is wrong with the head of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("it has format version {0}, and this program knows only {OLDEST_VERSION} to {VERSION}")]
    Version(u32),
    #[error("its head is damaged")]
    Damaged,
    /// It was created and never written to.
    #[error("it has no head")]
    Missing,
}

/// Checks the head of a file that has the name of `kind` and `number`.
pub fn check_file_head(file: &dyn DiskFile, kind: FileKind, number: u64) -> io::Result<Result<(), HeadError>> {
    let mut head = [0; FILE_HEAD_BYTES as usize];
    if file.len()? < FILE_HEAD_BYTES {
        return Ok(Err(HeadError::Missing));
    }
    file.read_exact_at(&mut head, 0)?;
    let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    let is_known = (OLDEST_VERSION..=VERSION).contains(&version);
    if is_known && head == head_of_version(version, kind, number) {
        return Ok(Ok(()));
    }
    let is_intact = head[..8] == MAGIC && crc32fast::hash(&head[..28]).to_le_bytes() == head[28..32];
    Ok(Err(match head {
        _ if is_intact && !is_known => HeadError::Version(version),
        head if head.iter().all(|&byte| byte == 0) => HeadError::Missing,
        _ => HeadError::Damaged,
    }))
}
