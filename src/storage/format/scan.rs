//! Reading the blocks of a file.

use std::io;

use super::block::{BLOCK_HEAD_BYTES, BLOCK_MAGIC, Block, BlockHead, BlockPlace};
use crate::storage::disk::DiskFile;

/// What a [`Scanner`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// A block, to be looked at with [`Scanner::block`].
    Block { offset: u64, head: BlockHead },
    /// Bytes that are no block.
    Damage { offset: u64, len: u64 },
}

/// Reads the blocks of a file one after the other, over what is none.
pub struct Scanner<'f> {
    file: &'f dyn DiskFile,
    number: u64,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    current: Option<BlockHead>,
}

/// So much is read at once.
const READ_BYTES: usize = 256 * 1024;

impl<'f> Scanner<'f> {
    /// Over the bytes from `from` up to but not including `end` of file number `number`.
    pub fn new(file: &'f dyn DiskFile, number: u64, from: u64, end: u64) -> Scanner<'f> {
        Scanner { file, number, at: from, end, buffer: Vec::new(), buffer_at: from, current: None }
    }

    /// Where the next block begins, if there is one.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The block that [`next_block`](Self::next_block) has just found.
    pub fn block(&self) -> Option<Block<'_>> {
        let head = self.current?;
        let start = (self.at - head.block_bytes() as u64 - self.buffer_at) as usize;
        Some(Block::read(head, &self.buffer[start..start + head.block_bytes()]))
    }

    /// Goes on to the next block; `None` at the end.
    pub fn next_block(&mut self) -> io::Result<Option<Scanned>> {
        self.current = None;
        if self.at >= self.end {
            return Ok(None);
        }
        if let Some(head) = self.head_at(self.at)? {
            return Ok(Some(self.found(head)?));
        }
        let offset = self.at;
        self.at = self.find_head(offset + 1)?;
        Ok(Some(Scanned::Damage { offset, len: self.at - offset }))
    }

    fn found(&mut self, head: BlockHead) -> io::Result<Scanned> {
        let offset = self.at;
        self.fill(offset, head.block_bytes())?;
        self.current = Some(head);
        self.at += head.block_bytes() as u64;
        Ok(Scanned::Block { offset, head })
    }

    /// The head of a block that begins there and ends before the end of the file.
    fn head_at(&mut self, offset: u64) -> io::Result<Option<BlockHead>> {
        if offset + BLOCK_HEAD_BYTES as u64 > self.end {
            return Ok(None);
        }
        self.fill(offset, BLOCK_HEAD_BYTES)?;
        let start = (offset - self.buffer_at) as usize;
        let head = BlockHead::decode(&self.buffer[start..], BlockPlace { file: self.number, offset });
        Ok(head.filter(|head| offset + head.block_bytes() as u64 <= self.end))
    }

    /// The first offset from `from` on where a block begins, or the end.
    fn find_head(&mut self, mut from: u64) -> io::Result<u64> {
        while from + BLOCK_HEAD_BYTES as u64 <= self.end {
            self.fill(from, BLOCK_HEAD_BYTES)?;
            let start = (from - self.buffer_at) as usize;
            let window = &self.buffer[start..];
            let Some(found) = window.windows(4).position(|bytes| bytes == BLOCK_MAGIC) else {
                from += (window.len() - 3) as u64;
                continue;
            };
            from += found as u64;
            if self.head_at(from)?.is_some() {
                return Ok(from);
            }
            from += 1;
        }
        Ok(self.end)
    }

    /// Has at least `bytes` from `offset` on in the buffer, which lie before the end.
    fn fill(&mut self, offset: u64, bytes: usize) -> io::Result<()> {
        let has = self.buffer_at <= offset && offset + bytes as u64 <= self.buffer_at + self.buffer.len() as u64;
        if has {
            return Ok(());
        }
        let want = (bytes.max(READ_BYTES) as u64).min(self.end - offset) as usize;
        self.buffer.resize(want, 0);
        if self.buffer.capacity() > 4 * want.max(READ_BYTES) {
            self.buffer.shrink_to(want);
        }
        self.buffer_at = offset;
        self.file.read_exact_at(&mut self.buffer, offset)
    }
}
