//! The journal's one writer: encodes epochs, writes them, syncs them, and enters them into the index.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::chunk::{Chunk, Persistence};
use super::core::{Core, State};
use super::counts::Counts;
use super::disk::DiskFile;
use super::format::{self, BlockHead, BlockPlace, Enqueue, FileKind, Target};
use super::index::{Piece, Place};
use super::log::{Contents, Entry};
use super::ranges::Ranges;
use super::record;
use super::{Epoch, QueueId, queue_key};

/// A block that has so much payload gets no further entry.
const BLOCK_BYTES: usize = 128 * 1024;
/// Blocks of so many bytes are written at once, before the whole epoch is encoded.
const WRITTEN_BYTES: usize = 1024 * 1024;
/// A buffer larger than this is not kept.
const KEPT_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Why an epoch could not be committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// There is no room; it may be tried again.
    #[error("the disk is full")]
    Full,
    /// Nobody knows what is on the disk now. The process must stop.
    #[error("{0}")]
    Fatal(String),
}

/// Where the committer writes.
struct Journal {
    number: u64,
    file: Arc<dyn DiskFile>,
    end: u64,
}

pub struct Committer {
    core: Arc<Core>,
    journal: Journal,
    written: Epoch,
    synced: Epoch,
    /// Something was written that is not synced.
    unsynced: bool,
    buffer: Vec<u8>,
}

/// Messages of one queue that an epoch enters, and the block that has them.
struct Placed {
    queue: QueueId,
    first_seq: u64,
    count: u64,
    bytes: u64,
    block: usize,
    may_expire: bool,
}

/// What an epoch came to.
#[derive(Default)]
struct Encoded {
    placed: Vec<Placed>,
    /// Where in the epoch each block begins and ends.
    blocks: Vec<(u64, u64)>,
    /// Of all blocks that have been written.
    bytes: u64,
    settled: Vec<(QueueId, Vec<(u64, u64)>)>,
    returned: Vec<(QueueId, Counts)>,
}

/// A new journal file with a head, its name durable.
pub fn create_journal(core: &Core) -> io::Result<(u64, Arc<dyn DiskFile>)> {
    let number = core.new_file_number();
    let file = core.disk.create(&FileKind::Journal.file_name(number))?;
    file.write_all_at(&format::file_head(FileKind::Journal, number), 0)?;
    file.sync()?;
    core.disk.sync_dir()?;
    Ok((number, file))
}

impl Committer {
    /// Writes to a new journal file. No epoch behind `last` has been begun before.
    pub fn new(core: Arc<Core>, last: Epoch) -> io::Result<Committer> {
        let (number, file) = create_journal(&core)?;
        let mut state = core.state();
        state.index.add_file(number, FileKind::Journal, format::FILE_HEAD_BYTES);
        (state.journal_file, state.journal_end) = (number, format::FILE_HEAD_BYTES);
        state.sealed_epoch = last;
        // What was cut has had numbers, too, but must not be missed.
        let written = state.epoch;
        drop(state);
        let journal = Journal { number, file, end: format::FILE_HEAD_BYTES };
        Ok(Committer { core, journal, written, synced: written, unsynced: false, buffer: Vec::new() })
    }

    /// Commits an epoch, and syncs if it is to be.
    ///
    /// # Errors
    /// On `Full` nothing has happened, and the same may be tried again.
    pub fn commit(&mut self, epoch: Epoch, contents: &Contents, sync: bool) -> Result<(), CommitError> {
        self.roll()?;
        let (encoded, offset) = self.write(epoch, contents)?;
        self.written = epoch;
        if sync {
            self.sync_file()?;
        }
        self.enter(epoch, contents, &encoded, offset);
        self.core.is_full.store(false, Ordering::Relaxed);
        self.core.log.written(epoch, contents);
        if !self.unsynced {
            self.synced = epoch;
            self.core.log.synced(epoch);
        }
        Ok(())
    }

    /// Writes an epoch of which nobody is to be told, into whatever room is left, and syncs it.
    pub fn relieve(&mut self, epoch: Epoch, contents: &Contents) -> Result<(), CommitError> {
        let (encoded, offset) = self.write(epoch, contents)?;
        self.sync_file()?;
        self.enter(epoch, contents, &encoded, offset);
        Ok(())
    }

    /// Syncs what has been written.
    pub fn sync(&mut self) -> Result<(), CommitError> {
        self.sync_file()?;
        self.synced = self.written;
        self.core.log.synced(self.synced);
        Ok(())
    }

    fn sync_file(&mut self) -> Result<(), CommitError> {
        if self.unsynced {
            self.journal.file.sync().map_err(|error| self.fatal("sync", &error))?;
            self.unsynced = false;
        }
        Ok(())
    }

    fn fatal(&self, what: &str, error: &io::Error) -> CommitError {
        let path = self.core.disk.path(&FileKind::Journal.file_name(self.journal.number));
        CommitError::Fatal(format!("cannot {what} {path}: {error}"))
    }

    fn failed(&self, what: &str, error: &io::Error) -> CommitError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CommitError::Full,
            _ => self.fatal(what, error),
        }
    }

    /// Writes an epoch behind the last one. Returns what it came to, and where it begins.
    fn write(&mut self, epoch: Epoch, contents: &Contents) -> Result<(Encoded, u64), CommitError> {
        let encoded = match self.encode(epoch, contents) {
            Ok(encoded) => encoded,
            Err(error) => {
                self.cut()?;
                return Err(self.failed("write", &error));
            }
        };
        let offset = self.journal.end;
        self.journal.end += encoded.bytes;
        self.unsynced |= encoded.bytes > 0;
        Ok((encoded, offset))
    }

    /// Takes back what was written in part. Should this file be followed by another, its end must not look torn: what
    /// comes behind a torn end was never confirmed.
    fn cut(&mut self) -> Result<(), CommitError> {
        self.journal.file.set_len(self.journal.end).map_err(|error| self.fatal("cut", &error))?;
        self.unsynced = true;
        self.sync_file()
    }

    /// Begins a new file if the current one is long enough. Its blocks' checksums depend on the file, so this comes before
    /// the epoch is encoded.
    fn roll(&mut self) -> Result<(), CommitError> {
        if self.journal.end < self.core.journal_file_bytes {
            return Ok(());
        }
        self.sync_file()?;
        let (number, file) =
            create_journal(&self.core).map_err(|error| self.failed("begin the journal after", &error))?;
        self.journal = Journal { number, file, end: format::FILE_HEAD_BYTES };
        let mut state = self.core.state();
        state.index.add_file(number, FileKind::Journal, format::FILE_HEAD_BYTES);
        (state.journal_file, state.journal_end) = (number, format::FILE_HEAD_BYTES);
        state.sealed_epoch = state.epoch;
        Ok(())
    }

    fn enter(&self, epoch: Epoch, contents: &Contents, encoded: &Encoded, offset: u64) {
        let mut state = self.core.state();
        let State { index, definitions, .. } = &mut *state;
        for entry in &contents.entries {
            match entry {
                Entry::Define(changes) => {
                    definitions.extend(changes.iter().map(|change| (change.key.clone(), change.value.clone())));
                }
                Entry::DropQueue(id) => drop(definitions.insert(queue_key(*id), None)),
                Entry::Enqueue { .. } => {}
            }
        }
        for Placed { queue, first_seq, count, bytes, block, may_expire } in &encoded.placed {
            let (start, end) = encoded.blocks[*block];
            let place = Place { file: self.journal.number, offset: offset + start, len: end - start };
            index.enqueue(*queue, Piece::new(*first_seq, *count, place, *bytes));
            if *may_expire {
                index.note_expiring(*queue);
            }
        }
        contents.delivered.iter().for_each(|(queue, &through)| index.deliver(queue, through));
        for (queue, counts) in &encoded.returned {
            counts.iter().for_each(|(first, end, count)| index.count_returns(*queue, first, end, count));
        }
        for (queue, ranges) in &encoded.settled {
            ranges.iter().for_each(|&(first, end)| index.settle(*queue, first, end));
        }
        // Last, for nothing comes to a queue that is gone.
        for entry in &contents.entries {
            if let Entry::DropQueue(id) = entry {
                index.drop_queue(*id);
            }
        }
        index.set_file_len(self.journal.number, self.journal.end);
        state.epoch = epoch;
        (state.journal_file, state.journal_end) = (self.journal.number, self.journal.end);
    }

    fn encode(&mut self, epoch: Epoch, contents: &Contents) -> io::Result<Encoded> {
        let head = BlockHead::new(epoch, self.synced, 0, false);
        let mut encoder = Encoder {
            out: &mut self.buffer,
            file: &*self.journal.file,
            written: Ok(()),
            at: BlockPlace { file: self.journal.number, offset: self.journal.end },
            head,
            open: None,
            encoded: Encoded::default(),
        };
        let mut settled: Vec<(QueueId, Ranges)> =
            contents.settled.iter().map(|(id, some)| (id, ranges(some))).collect();
        settled.sort_unstable_by_key(|(id, _)| *id);
        let returned = still_counted(contents, &settled);
        for entry in &contents.entries {
            match entry {
                Entry::Define(changes) => encoder.entry(64, |out| format::push_define(out, changes)),
                Entry::DropQueue(id) => encoder.entry(16, |out| format::push_drop_queue(out, *id)),
                Entry::Enqueue { chunk, targets } => encoder.enqueue(chunk, targets, contents.time_ms, &mut settled),
            }
        }
        for (id, &through) in contents.delivered.iter() {
            encoder.entry(16, |out| format::push_deliver(out, id, through));
        }
        for (id, counts) in &returned {
            let counts: Vec<(u64, u64, u32)> = counts.iter().collect();
            encoder.entry(16 + 6 * counts.len(), |out| format::push_returns(out, *id, &counts));
        }
        encoder.encoded.returned = returned;
        for (id, ranges) in settled {
            if !ranges.is_empty() {
                let ranges = ranges.to_vec();
                encoder.entry(16 + 4 * ranges.len(), |out| format::push_settle(out, id, &ranges));
                encoder.encoded.settled.push((id, ranges));
            }
        }
        encoder.finish()
    }
}

fn ranges(some: &[(u64, u64)]) -> Ranges {
    let mut ranges = Ranges::default();
    some.iter().for_each(|&(first, end)| ranges.insert(first, end));
    ranges
}

/// How often messages were returned, but for those that are settled by now.
fn still_counted(contents: &Contents, settled: &[(QueueId, Ranges)]) -> Vec<(QueueId, Counts)> {
    let mut counted = Vec::new();
    for (id, counts) in contents.returned.iter() {
        let mut counts = counts.clone();
        if let Ok(at) = settled.binary_search_by_key(&id, |(id, _)| *id) {
            settled[at].1.to_vec().iter().for_each(|&(first, end)| counts.remove(first, end));
        }
        if !counts.is_empty() {
            counted.push((id, counts));
        }
    }
    counted.sort_unstable_by_key(|(id, _)| *id);
    counted
}

/// Puts entries into blocks.
struct Encoder<'a> {
    /// Blocks that are not written yet. It is kept from epoch to epoch.
    out: &'a mut Vec<u8>,
    file: &'a dyn DiskFile,
    written: io::Result<()>,
    /// Where the epoch begins.
    at: BlockPlace,
    /// Of the next block.
    head: BlockHead,
    /// Where the block begins that is being filled.
    open: Option<usize>,
    encoded: Encoded,
}

impl Encoder<'_> {
    /// Appends an entry of about so many bytes.
    fn entry(&mut self, about_bytes: usize, push: impl FnOnce(&mut Vec<u8>)) {
        if let Some(start) = self.open
            && self.out.len() - start + about_bytes > BLOCK_BYTES
        {
            self.end_block(false);
        }
        if self.open.is_none() {
            self.open = Some(format::begin_block(self.out));
        }
        push(self.out);
    }

    fn end_block(&mut self, last: bool) {
        let Some(start) = self.open.take() else { return };
        let begin = self.encoded.bytes + start as u64;
        let at = BlockPlace { offset: self.at.offset + begin, ..self.at };
        format::end_block(self.out, start, at, self.head.ending(last));
        self.head.index += 1;
        self.encoded.blocks.push((begin, self.encoded.bytes + self.out.len() as u64));
        if self.out.len() >= WRITTEN_BYTES {
            self.flush();
        }
    }

    /// Writes the blocks so far. After a failure nothing more is written.
    fn flush(&mut self) {
        if self.written.is_ok() && !self.out.is_empty() {
            self.written = self.file.write_all_at(self.out, self.at.offset + self.encoded.bytes);
        }
        self.encoded.bytes += self.out.len() as u64;
        self.out.clear();
        self.out.shrink_to(KEPT_BUFFER_BYTES);
    }

    fn finish(mut self) -> io::Result<Encoded> {
        self.end_block(true);
        self.flush();
        self.written.map(|()| self.encoded)
    }

    /// The persistent messages of a chunk, but for those that are settled everywhere already.
    /// They were published when the chunk says, or else about when the epoch began.
    fn enqueue(&mut self, chunk: &Chunk, targets: &[Target], epoch_ms: u64, settled: &mut [(QueueId, Ranges)]) {
        let time_ms = if chunk.time_ms() == 0 { epoch_ms } else { chunk.time_ms() };
        if chunk.persistence() == Persistence::All {
            return self.enqueue_some(chunk, 0, chunk.records(), targets, time_ms, settled);
        }
        let is_persistent = |index: u32| chunk.record(index).flags() & record::flags::PERSISTENT != 0;
        let mut at = 0;
        while at < chunk.records() {
            let end = (at..chunk.records()).find(|&index| !is_persistent(index)).unwrap_or(chunk.records());
            if end > at {
                self.enqueue_some(chunk, at, end, targets, time_ms, settled);
            }
            at = end + 1;
        }
    }

    fn enqueue_some(
        &mut self,
        chunk: &Chunk,
        from: u32,
        to: u32,
        targets: &[Target],
        time_ms: u64,
        settled: &mut [(QueueId, Ranges)],
    ) {
        let count = u64::from(to - from);
        let needed: SmallVec<[Target; 2]> = targets
            .iter()
            .map(|target| Target { first_seq: target.first_seq + u64::from(from), ..*target })
            .filter(|target| !forget_if_settled(settled, target.queue, target.first_seq, target.first_seq + count))
            .collect();
        if needed.is_empty() {
            return;
        }
        let bytes = chunk.bytes_of(from, to);
        let stride = chunk.stride().map_or(0, u64::from);
        let enqueue = Enqueue { targets: needed, time_ms, records: count, stride, bytes, damaged: SmallVec::new() };
        self.entry(bytes.len(), |out| format::push_enqueue(out, &enqueue));
        let block = self.encoded.blocks.len();
        let placed = |&Target { queue, first_seq, ttl_ms }: &Target| {
            let may_expire = ttl_ms.is_some() || chunk.has_expirations();
            Placed { queue, first_seq, count, bytes: bytes.len() as u64, block, may_expire }
        };
        self.encoded.placed.extend(enqueue.targets.iter().map(placed));
    }
}

/// If all of these positions are settled, takes them from what is to be written and returns true.
fn forget_if_settled(settled: &mut [(QueueId, Ranges)], id: QueueId, first: u64, end: u64) -> bool {
    let Ok(at) = settled.binary_search_by_key(&id, |(id, _)| *id) else { return false };
    let ranges = &mut settled[at].1;
    let is_settled = ranges.covers(first, end);
    if is_settled {
        ranges.remove(first, end);
    }
    is_settled
}
