//! Copying what still waits out of a file, by queue and in order, so that the file can go.
//!
//! Worth it where most of a file is settled, or where its messages of many queues lie so mixed that each queue has many
//! small pieces. A backlog of one queue stays where the journal wrote it; one of a thousand queues is written once more.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use smallvec::SmallVec;

use super::core::Core;
use super::disk::DiskFile;
use super::format::{
    self, BlockHead, BlockPlace, Enqueue, EntryView, FileKind, FooterPiece, Records, Scanned, Scanner, Target,
};
use super::index::{FileInfo, Index, Piece, Place, QueueIndex};
use super::record;
use super::{Epoch, QueueId};

/// Files of which at most this share is needed are compacted.
const LIVE_SHARE_MAX: (u64, u64) = (1, 2);
/// A file whose queues have so many pieces each is compacted, if there are more than a few.
const PIECES_PER_QUEUE_MAX: u64 = 4;
const FEW_PIECES: u64 = 256;
/// Messages that came within so many milliseconds become one entry, unless they may expire.
const SAME_TIME_MS: u64 = 10;
/// A block of a segment gets no further entry beyond this.
const BLOCK_BYTES: usize = 64 * 1024;
/// So much is gathered before it is written.
const BUFFER_BYTES: usize = 1024 * 1024;

/// The file that is most worth compacting, if one is worth it.
pub fn candidate(core: &Core) -> Option<u64> {
    let state = core.state();
    let sealed: Vec<(u64, FileInfo)> = state.sealed_files().filter(|(_, file)| file.pieces > 0).collect();
    let sparse = sealed.iter().filter(|(_, file)| is_sparse(file)).min_by_key(|(_, file)| file.live_bytes);
    let mixed = || sealed.iter().find(|(number, file)| is_mixed(&state.index, *number, file));
    sparse.or_else(mixed).map(|(number, _)| *number)
}

/// Whether little of the file is needed. A segment is compared with what it once had, since its records may be small
/// beside what surrounds them, and copying them again would gain nothing.
pub fn is_sparse(file: &FileInfo) -> bool {
    let whole = if file.kind == FileKind::Segment { file.peak_bytes } else { file.len };
    file.live_bytes * LIVE_SHARE_MAX.1 <= whole * LIVE_SHARE_MAX.0
}

/// Whether the queues of a journal file have many small pieces each. A file that has less than what its queues need of
/// it, because many share each message, stays as it is: a copy for each would cost memory and disk without end.
fn is_mixed(index: &Index, number: u64, file: &FileInfo) -> bool {
    if file.kind != FileKind::Journal || file.pieces <= FEW_PIECES || file.live_bytes > file.len {
        return false;
    }
    let is_in = |queue: &QueueIndex| queue.pieces().any(|piece| piece.place.file == number);
    let queues = index.queues().filter(|(_, queue)| is_in(queue)).count() as u64;
    file.pieces > PIECES_PER_QUEUE_MAX * queues
}

/// Messages of one queue at consecutive positions.
struct Copied {
    first_seq: u64,
    count: u64,
    time_ms: u64,
    ttl_ms: Option<u64>,
    /// Each message that may expire does so to the millisecond.
    may_expire: bool,
    stride: u64,
    bytes: Vec<u8>,
}

impl Copied {
    /// So many messages of an entry, from the target's position on.
    fn new(enqueue: &Enqueue<'_>, target: Target, count: u64, bytes: &[u8]) -> Copied {
        let &Enqueue { time_ms, stride, .. } = enqueue;
        let Target { first_seq, ttl_ms, .. } = target;
        let may_expire = ttl_ms.is_some() || record::some_expires(bytes);
        Copied { first_seq, count, time_ms, ttl_ms, may_expire, stride, bytes: bytes.to_vec() }
    }

    /// Takes in what follows, if that is no loss.
    fn absorb(&mut self, next: &Enqueue<'_>, target: Target, count: u64, bytes: &[u8]) -> bool {
        let is_alike = self.first_seq + self.count == target.first_seq
            && (self.stride, self.ttl_ms) == (next.stride, target.ttl_ms)
            && self.stride != 0
            && next.time_ms.abs_diff(self.time_ms) <= SAME_TIME_MS
            && self.bytes.len() + bytes.len() <= BLOCK_BYTES;
        if !is_alike {
            return false;
        }
        let may_expire = self.may_expire || record::some_expires(bytes);
        if may_expire && next.time_ms != self.time_ms {
            return false;
        }
        self.may_expire = may_expire;
        self.count += count;
        self.time_ms = next.time_ms.max(self.time_ms);
        self.bytes.extend_from_slice(bytes);
        true
    }
}

/// Copies what waits in a file to a new segment. Returns whether anything changed.
pub fn compact(core: &Core, number: u64) -> io::Result<bool> {
    let Some(info) = core.state().index.files().get(&number).copied() else { return Ok(false) };
    let waiting = gather(core, number, &info)?;
    let copied = write(core, &waiting)?;
    drop(waiting);
    let mut state = core.state();
    let queues: HashSet<QueueId> = state
        .index
        .queues()
        .filter(|(_, queue)| queue.pieces().any(|piece| piece.place.file == number))
        .map(|(id, _)| id)
        .collect();
    for id in queues {
        let lost = lost_of(&state.index.pieces_in(id, number), copied.get(&id).map_or(&[], Vec::as_slice));
        if lost > 0 {
            let path = core.disk.path(&info.kind.file_name(number));
            tracing::error!("{lost} messages of queue {id} are lost: {path} is damaged");
        }
        state.index.relocate(id, number, copied.get(&id).map_or(&[], Vec::as_slice));
    }
    Ok(true)
}

/// How many positions of the pieces are in none of the copies although they should be, at most.
fn lost_of(pieces: &[Piece], copied: &[Piece]) -> u64 {
    let live: u64 = pieces.iter().map(|piece| piece.live).sum();
    let found: u64 = copied.iter().map(|piece| piece.end_seq - piece.first_seq).sum();
    live.saturating_sub(found)
}

/// Reads what waits in a file, by queue and in the order of positions.
fn gather(core: &Core, number: u64, info: &FileInfo) -> io::Result<BTreeMap<QueueId, Vec<Copied>>> {
    let file = core.file(number, info.kind)?;
    let mut scanner = Scanner::new(&*file, number, format::FILE_HEAD_BYTES, info.len);
    let mut waiting: BTreeMap<QueueId, Vec<Copied>> = BTreeMap::new();
    while let Some(scanned) = scanner.next_block()? {
        let (Scanned::Block { offset, .. }, Some(block)) = (scanned, scanner.block()) else { continue };
        for entry in block.entries() {
            let EntryView::Enqueue(enqueue) = entry else { continue };
            for &target in &enqueue.targets {
                take_waiting(core, number, offset, target, &enqueue, &mut waiting);
            }
        }
    }
    waiting.values_mut().for_each(|some| some.sort_by_key(|copied| copied.first_seq));
    Ok(waiting)
}

fn take_waiting(
    core: &Core,
    number: u64,
    offset: u64,
    target: Target,
    enqueue: &Enqueue<'_>,
    waiting: &mut BTreeMap<QueueId, Vec<Copied>>,
) {
    let Target { queue, first_seq, .. } = target;
    for Records { first, count, bytes } in enqueue.intact() {
        let start = first_seq + first;
        let ranges = core.state().index.unsettled_in(queue, start, start + count, number, offset);
        for (from, to) in ranges {
            let Some(bytes) = part(bytes, enqueue.stride, from - start, to - start) else { continue };
            let copied = waiting.entry(queue).or_default();
            let next = Target { first_seq: from, ..target };
            if copied.last_mut().is_some_and(|last| last.absorb(enqueue, next, to - from, bytes)) {
                continue;
            }
            copied.push(Copied::new(enqueue, next, to - from, bytes));
        }
    }
}

/// Records number `from` up to but not including `to`.
fn part(bytes: &[u8], stride: u64, from: u64, to: u64) -> Option<&[u8]> {
    if stride > 0 {
        return bytes.get((from * stride) as usize..(to * stride) as usize);
    }
    let (mut at, mut start) = (0, 0);
    for number in 0..to {
        if number == from {
            start = at;
        }
        at += record::length_of(&bytes[at..])?;
    }
    bytes.get(start..at)
}

/// A segment that is being written.
struct Writer<'c> {
    core: &'c Core,
    number: u64,
    file: Arc<dyn DiskFile>,
    end: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the current block begins.
    open: Option<usize>,
    pieces: Vec<(QueueId, Piece)>,
    /// Pieces of the current block.
    in_block: Vec<(QueueId, u64, u64, u64)>,
}

/// Writes segments and makes them durable. Returns where everything is now.
fn write(core: &Core, waiting: &BTreeMap<QueueId, Vec<Copied>>) -> io::Result<BTreeMap<QueueId, Vec<Piece>>> {
    if waiting.is_empty() {
        return Ok(BTreeMap::new());
    }
    let number = core.new_file_number();
    let name = FileKind::Segment.file_name(number);
    let file = core.disk.create(&name)?;
    let mut writer = Writer {
        core,
        number,
        file,
        end: 0,
        buffer: format::file_head(FileKind::Segment, number).to_vec(),
        open: None,
        pieces: Vec::new(),
        in_block: Vec::new(),
    };
    match writer.write_all(waiting) {
        Ok(pieces) => Ok(pieces),
        Err(error) => {
            core.state().index.remove_file(number);
            // What could not be written is of no use, and its room may be needed.
            let _ = core.remove_file(number, FileKind::Segment);
            Err(error)
        }
    }
}

impl Writer<'_> {
    fn write_all(&mut self, waiting: &BTreeMap<QueueId, Vec<Copied>>) -> io::Result<BTreeMap<QueueId, Vec<Piece>>> {
        for (&queue, some) in waiting {
            for copied in some {
                self.entry(queue, copied)?;
            }
        }
        self.end_block()?;
        self.footer()?;
        self.flush()?;
        self.file.sync()?;
        self.core.disk.sync_dir()?;
        let mut by_queue: BTreeMap<QueueId, Vec<Piece>> = BTreeMap::new();
        for (queue, piece) in std::mem::take(&mut self.pieces) {
            by_queue.entry(queue).or_default().push(piece);
        }
        self.core.state().index.add_file(self.number, FileKind::Segment, self.end);
        Ok(by_queue)
    }

    fn entry(&mut self, queue: QueueId, copied: &Copied) -> io::Result<()> {
        if let Some(start) = self.open
            && self.buffer.len() - start + copied.bytes.len() > BLOCK_BYTES
        {
            self.end_block()?;
        }
        if self.open.is_none() {
            self.open = Some(format::begin_block(&mut self.buffer));
        }
        let &Copied { first_seq, count, time_ms, ttl_ms, stride, ref bytes, .. } = copied;
        let targets = [Target { queue, first_seq, ttl_ms }].into_iter().collect();
        let enqueue = Enqueue { targets, time_ms, records: count, stride, bytes, damaged: SmallVec::new() };
        format::push_enqueue(&mut self.buffer, &enqueue);
        self.in_block.push((queue, first_seq, count, bytes.len() as u64));
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        let Some(start) = self.open.take() else { return Ok(()) };
        let offset = self.end + start as u64;
        let at = BlockPlace { file: self.number, offset };
        format::end_block(&mut self.buffer, start, at, BlockHead::new(Epoch::NONE, Epoch::NONE, 0, true));
        let place = Place { file: self.number, offset, len: (self.buffer.len() - start) as u64 };
        for (queue, first_seq, count, bytes) in std::mem::take(&mut self.in_block) {
            self.add_piece(queue, Piece::new(first_seq, count, place, bytes));
        }
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn add_piece(&mut self, queue: QueueId, piece: Piece) {
        if let Some((of, last)) = self.pieces.last_mut()
            && *of == queue
            && last.absorb(&piece)
        {
            return;
        }
        self.pieces.push((queue, piece));
    }

    fn footer(&mut self) -> io::Result<()> {
        let pieces: Vec<FooterPiece> = self.pieces.iter().map(|(queue, piece)| piece.footer(*queue)).collect();
        self.open = Some(format::begin_block(&mut self.buffer));
        format::push_footer(&mut self.buffer, &pieces);
        self.end_block()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.end)?;
        self.end += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::chunk::{Chunk, OpenChunk};
    use crate::storage::log::{Change, SyncPolicy, Work};
    use crate::storage::open::{Engine, Options, open_engine};
    use crate::storage::queue_key;
    use crate::storage::record::{append_prefix, flags};
    use crate::storage::sim_disk::SimDisk;

    const QUEUES: u64 = 100;
    const ROUNDS: u64 = 8;

    const OPTIONS: Options = Options {
        sync: SyncPolicy::Always,
        unwritten_max_bytes: 1 << 20,
        queue_resident_bytes: 0,
        journal_file_bytes: u64::MAX,
        reserve_bytes: 0,
    };

    fn message() -> Arc<Chunk> {
        let mut prefix = Vec::new();
        append_prefix(&mut prefix, flags::PERSISTENT, b"", b"key", &[0, 0], 100);
        let mut open = OpenChunk::default();
        open.push(&prefix, &[0; 100]);
        open.close()
    }

    fn commit(engine: &mut Engine) {
        let Some(Work::Write { epoch, contents, .. }) = engine.core.log.take_now(true) else { return };
        engine.committer.commit(epoch, &contents, true).unwrap();
    }

    /// Which file is compacted when queues have received messages in turn.
    fn compacted(mut enter: impl FnMut(&Engine, u64)) -> Option<u64> {
        let disk = SimDisk::new();
        let (mut engine, _) = open_engine(disk.clone(), OPTIONS).unwrap();
        let define = |id| Change { key: queue_key(QueueId(id)), value: Some(vec![1]) };
        engine.core.log.define((0..=QUEUES).map(define).collect());
        for round in 0..ROUNDS {
            enter(&engine, round);
            commit(&mut engine);
            // So that no queue's messages lie in consecutive blocks.
            engine.core.log.enqueue(QueueId(QUEUES), round, None, &message());
            commit(&mut engine);
        }
        drop(engine);
        // A journal file is sealed by the next start.
        let (engine, _) = open_engine(disk, OPTIONS).unwrap();
        candidate(&engine.core)
    }

    #[test]
    fn a_file_of_which_each_queue_has_many_small_pieces_is_copied() {
        let file = compacted(|engine, round| {
            for id in 0..QUEUES {
                engine.core.log.enqueue(QueueId(id), round, None, &message());
            }
        });
        assert!(file.is_some());
    }

    #[test]
    fn a_file_whose_messages_many_queues_share_is_not_copied_for_each() {
        let file = compacted(|engine, round| {
            let shared = message();
            for id in 0..QUEUES {
                engine.core.log.enqueue(QueueId(id), round, None, &shared);
            }
        });
        assert_eq!(file, None);
    }
}
