//! Chunks and runs: how messages travel through the broker in bulk.
//!
//! A [`Chunk`] is an immutable block of records, written once by the connection that received them and shared by
//! every queue that they went to. A [`Run`] is consecutive messages of one queue, all of them records of one chunk.
//! Neither costs anything per message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Epoch;
use super::record::{self, Record};

/// Bytes held by all chunks of the process and what refers to them: what the memory alarm looks at.
static CHUNK_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What a chunk costs beside its records: itself, and what the allocator adds.
const CHUNK_OVERHEAD_BYTES: usize = 192;
/// What a run in a queue costs, or what stands there for messages on disk.
const RUN_OVERHEAD_BYTES: usize = 64;

/// Bytes that messages hold in memory now, with what it takes to keep track of them.
pub fn bytes_in_memory() -> usize {
    CHUNK_BYTES.load(Ordering::Relaxed)
}

/// While it lives, what stands in a queue for messages on disk counts as memory.
#[derive(Debug)]
pub struct RangeCharge(());

impl RangeCharge {
    #[expect(clippy::new_without_default, reason = "it has an effect")]
    pub fn new() -> RangeCharge {
        CHUNK_BYTES.fetch_add(RUN_OVERHEAD_BYTES, Ordering::Relaxed);
        RangeCharge(())
    }
}

impl Drop for RangeCharge {
    fn drop(&mut self) {
        CHUNK_BYTES.fetch_sub(RUN_OVERHEAD_BYTES, Ordering::Relaxed);
    }
}

/// Bytes that something else holds for messages, which count as memory while it lives.
#[derive(Debug, Default)]
pub struct Charge(usize);

impl Charge {
    pub fn set(&mut self, bytes: usize) {
        if bytes != self.0 {
            CHUNK_BYTES.fetch_add(bytes, Ordering::Relaxed);
            CHUNK_BYTES.fetch_sub(std::mem::replace(&mut self.0, bytes), Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.0
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Where the records of a chunk begin.
#[derive(Debug)]
enum Layout {
    /// All records have this many bytes.
    Stride(u32),
    /// The offset of each record, and the end of the last.
    Index(Box<[u32]>),
}

/// How many of a chunk's messages are persistent (`delivery-mode` 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    None,
    Some,
    All,
}

/// 1 if the record at the front of `bytes` is persistent, else 0.
fn persistence_of(bytes: &[u8]) -> u32 {
    u32::from(bytes[record::FLAGS_AT] & record::flags::PERSISTENT as u8)
}

/// What is counted of records as they are gathered.
#[derive(Clone, Copy, Debug, Default)]
struct Census {
    records: u32,
    /// How many of them are persistent.
    persistent: u32,
    /// The flags that some record has.
    flags: u8,
}

impl Census {
    /// Counts the record at the front of `bytes`.
    #[inline]
    fn count(&mut self, bytes: &[u8]) {
        self.records += 1;
        self.persistent += persistence_of(bytes);
        self.flags |= bytes[record::FLAGS_AT];
    }
}

/// An immutable block of records.
#[derive(Debug)]
pub struct Chunk {
    bytes: Vec<u8>,
    layout: Layout,
    records: u32,
    /// How many of the records are persistent.
    persistent: u32,
    /// The flags that some record has.
    flags: u8,
    /// When it was published, in milliseconds since 1970; 0 while nobody has asked.
    time_ms: AtomicU64,
    /// Bytes of records that some queue or ledger still needs, counted once for each queue.
    live_bytes: AtomicUsize,
    /// What has been added to [`CHUNK_BYTES`] for it.
    charged_bytes: AtomicUsize,
}

impl Chunk {
    fn new(bytes: Vec<u8>, layout: Layout, census: Census, time_ms: u64) -> Arc<Chunk> {
        let Census { records, persistent, flags } = census;
        let chunk = Chunk {
            bytes,
            layout,
            records,
            persistent,
            flags,
            time_ms: AtomicU64::new(time_ms),
            live_bytes: AtomicUsize::new(0),
            charged_bytes: AtomicUsize::new(0),
        };
        chunk.charge(chunk.bytes.capacity() + CHUNK_OVERHEAD_BYTES);
        Arc::new(chunk)
    }

    fn charge(&self, bytes: usize) {
        self.charged_bytes.fetch_add(bytes, Ordering::Relaxed);
        CHUNK_BYTES.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A chunk of one record.
    pub fn of_one(bytes: Vec<u8>) -> Arc<Chunk> {
        let stride = bytes.len() as u32;
        let mut census = Census::default();
        census.count(&bytes);
        Chunk::new(bytes, Layout::Stride(stride), census, 0)
    }

    /// A chunk of records that lie one behind the other, as they were read from disk; `None` if they do not end where
    /// the last of them does, or there are none.
    pub fn parse(bytes: Vec<u8>) -> Option<Arc<Chunk>> {
        let (mut at, mut census) = (0, Census::default());
        let (mut stride, mut offsets) = (0, Vec::new());
        while at < bytes.len() {
            let length = record::length_of(&bytes[at..])?;
            if census.records == 0 {
                stride = length;
            } else if length != stride && offsets.is_empty() {
                offsets.extend((0..census.records).map(|i| i * stride as u32));
            }
            if !offsets.is_empty() {
                offsets.push(at as u32);
            }
            census.count(&bytes[at..]);
            at += length;
        }
        if census.records == 0 {
            return None;
        }
        let layout = if offsets.is_empty() {
            Layout::Stride(stride as u32)
        } else {
            offsets.push(at as u32);
            Layout::Index(offsets.into())
        };
        Some(Chunk::new(bytes, layout, census, 0))
    }

    /// The bytes of its records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn persistence(&self) -> Persistence {
        match self.persistent {
            0 => Persistence::None,
            all if all == self.records => Persistence::All,
            _ => Persistence::Some,
        }
    }

    pub fn records(&self) -> u32 {
        self.records
    }

    /// Whether some of its messages may have an expiration of their own.
    pub fn has_expirations(&self) -> bool {
        self.flags & record::flags::EXPIRATION as u8 != 0
    }

    /// Whether some of its messages may have headers.
    #[inline]
    pub fn has_headers(&self) -> bool {
        self.flags & record::flags::HEADERS as u8 != 0
    }

    /// When its messages were published, in milliseconds since 1970: what the first to take them in says, which is
    /// `now_ms`, and the same for everyone after.
    pub fn published_at(&self, now_ms: u64) -> u64 {
        self.time_ms
            .compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed)
            .map_or_else(|time| time, |_| now_ms)
    }

    /// When its messages were published, in milliseconds since 1970; 0 if nobody has [said](Chunk::published_at).
    pub fn time_ms(&self) -> u64 {
        self.time_ms.load(Ordering::Relaxed)
    }

    fn offset(&self, index: u32) -> usize {
        match &self.layout {
            Layout::Stride(stride) => index as usize * *stride as usize,
            Layout::Index(offsets) => offsets[index as usize] as usize,
        }
    }

    /// The record of that number, as bytes.
    pub fn record(&self, index: u32) -> Record<'_> {
        Record::new(self.bytes_of(index, index + 1))
    }

    /// The records from number `from` up to but not including `to`, one behind the other.
    pub fn bytes_of(&self, from: u32, to: u32) -> &[u8] {
        &self.bytes[self.offset(from)..self.offset(to)]
    }

    /// The length that all records have, if they have one.
    pub fn stride(&self) -> Option<u32> {
        match self.layout {
            Layout::Stride(stride) => Some(stride),
            Layout::Index(_) => None,
        }
    }

    fn bytes_between(&self, from: u32, to: u32) -> usize {
        self.offset(to) - self.offset(from)
    }

    /// How many records from `from` on fit into `bytes`, at most `most`.
    fn records_within(&self, from: u32, most: u32, bytes: usize) -> u32 {
        match &self.layout {
            Layout::Stride(stride) => (bytes / *stride as usize).min(most as usize) as u32,
            Layout::Index(offsets) => {
                let start = offsets[from as usize] as usize;
                let ends = &offsets[from as usize + 1..=(from + most) as usize];
                ends.partition_point(|&end| end as usize - start <= bytes) as u32
            }
        }
    }

    /// What is left of some records if their bytes are forgotten: their lengths.
    fn without_bytes(&self, from: u32, records: u32) -> Arc<Chunk> {
        let layout = match &self.layout {
            Layout::Stride(stride) => Layout::Stride(*stride),
            Layout::Index(offsets) => {
                let offsets = &offsets[from as usize..=(from + records) as usize];
                Layout::Index(offsets.iter().map(|offset| offset - offsets[0]).collect())
            }
        };
        let index_bytes = if let Layout::Index(offsets) = &layout { size_of_val(&**offsets) } else { 0 };
        // Only what is persistent as a whole is ever forgotten.
        let census = Census { records, persistent: records, flags: self.flags };
        let chunk = Chunk::new(Vec::new(), layout, census, self.time_ms());
        chunk.charge(index_bytes);
        chunk
    }

    /// Whether so little of the chunk is needed that keeping it wastes more than copying the rest out would.
    pub fn is_mostly_dead(&self) -> bool {
        const WORTH_COPYING_BYTES: usize = 16 * 1024;
        self.bytes.capacity() >= WORTH_COPYING_BYTES
            && self.live_bytes.load(Ordering::Relaxed) < self.bytes.capacity() / 4
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        CHUNK_BYTES.fetch_sub(*self.charged_bytes.get_mut(), Ordering::Relaxed);
    }
}

/// A chunk that is being written.
#[derive(Debug, Default)]
pub struct OpenChunk {
    bytes: Vec<u8>,
    census: Census,
    /// The length of all records so far, while `offsets` is empty.
    stride: u32,
    /// The offset of each record, once two differ in length.
    offsets: Vec<u32>,
}

impl OpenChunk {
    /// Below this a chunk is copied out at exact size and its buffer used again; from it on the buffer is given away.
    const MOVED_FROM_BYTES: usize = 32 * 1024;
    /// A chunk that has this many bytes is to be closed before more is appended; keeps offsets well within `u32`.
    pub const FULL_BYTES: usize = 512 * 1024;

    pub fn is_empty(&self) -> bool {
        self.census.records == 0
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() >= Self::FULL_BYTES
    }

    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Appends a record given as its prefix (see [`append_prefix`](super::record::append_prefix)) and its body.
    #[inline]
    pub fn push(&mut self, prefix: &[u8], body: &[u8]) {
        self.begin_record((prefix.len() + body.len()) as u32);
        self.census.count(prefix);
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(body);
    }

    #[inline]
    fn begin_record(&mut self, length: u32) {
        if self.census.records == 0 {
            self.stride = length;
        } else if self.stride != length || !self.offsets.is_empty() {
            if self.offsets.is_empty() {
                self.offsets.extend((0..self.census.records).map(|i| i * self.stride));
            }
            self.offsets.push(self.bytes.len() as u32);
        }
    }

    /// Turns what was appended into a chunk and leaves this empty.
    pub fn close(&mut self) -> Arc<Chunk> {
        let layout = if self.offsets.is_empty() {
            Layout::Stride(self.stride)
        } else {
            self.offsets.push(self.bytes.len() as u32);
            let offsets = Layout::Index(self.offsets.as_slice().into());
            self.offsets.clear();
            offsets
        };
        let bytes = if self.bytes.len() < Self::MOVED_FROM_BYTES {
            let exact = self.bytes.as_slice().to_vec();
            self.bytes.clear();
            exact
        } else {
            std::mem::take(&mut self.bytes)
        };
        Chunk::new(bytes, layout, std::mem::take(&mut self.census), 0)
    }
}

/// Consecutive messages of one queue: `count` records of a chunk, whose positions in the queue are `first_seq` and
/// the `count - 1` that follow. Never empty.
#[derive(Clone, Debug)]
pub struct Run {
    pub first_seq: u64,
    pub count: u32,
    /// Whether these messages may have been handed out before.
    pub redelivered: bool,
    /// The priority level of the queue that they are in; 0 in a queue without levels.
    pub lane: u8,
    /// How often these messages came back undelivered, or rejected to be requeued.
    pub returns: u32,
    /// The epoch in which those of the messages that are durable entered the queue; none if none of them is.
    pub epoch: Epoch,
    /// When the queue's own limit of their life ends, in milliseconds since 1970; 0 if there is none. Fixed when they
    /// entered the queue.
    pub deadline_ms: u64,
    first_record: u32,
    chunk: Arc<Chunk>,
}

impl Run {
    /// All messages of `chunk`, at the positions from `first_seq` on.
    pub fn of_chunk(chunk: &Arc<Chunk>, first_seq: u64) -> Run {
        Run::of_records(chunk, 0, chunk.records, first_seq, Epoch::NONE)
    }

    /// `count` messages of `chunk` from record number `first_record` on, at the positions from `first_seq` on.
    pub fn of_records(chunk: &Arc<Chunk>, first_record: u32, count: u32, first_seq: u64, epoch: Epoch) -> Run {
        assert!(count > 0 && first_record + count <= chunk.records, "a run is some records of its chunk");
        let run = Run {
            first_seq,
            count,
            redelivered: false,
            lane: 0,
            returns: 0,
            epoch,
            deadline_ms: 0,
            first_record,
            chunk: chunk.clone(),
        };
        chunk.live_bytes.fetch_add(run.bytes(), Ordering::Relaxed);
        chunk.charge(RUN_OVERHEAD_BYTES);
        run
    }

    /// How many of the messages of its chunk are persistent.
    pub fn persistence(&self) -> Persistence {
        self.chunk.persistence()
    }

    /// Whether some of the messages may have an expiration of their own.
    pub fn has_expirations(&self) -> bool {
        self.chunk.has_expirations()
    }

    /// When the messages were published; see [`Chunk::time_ms`].
    pub fn time_ms(&self) -> u64 {
        self.chunk.time_ms()
    }

    /// The same run over another chunk that has just its messages.
    fn over(&self, chunk: &Arc<Chunk>) -> Run {
        let &Run { redelivered, lane, returns, epoch, deadline_ms, first_seq, .. } = self;
        Run { redelivered, lane, returns, epoch, deadline_ms, ..Run::of_chunk(chunk, first_seq) }
    }

    /// Lets go of the messages' bytes, which are on disk, and keeps their number and lengths. Their records must not be
    /// looked at any more; everything else works as before.
    pub fn forget_bytes(&mut self) {
        debug_assert!(self.persistence() == Persistence::All, "only what is on disk may be forgotten");
        let lengths = self.chunk.without_bytes(self.first_record, self.count);
        let forgotten = self.over(&lengths);
        std::mem::replace(self, forgotten).settle();
    }

    /// Whether the records are in memory. False only for runs that were [made to forget them](Run::forget_bytes).
    pub fn has_bytes(&self) -> bool {
        !self.chunk.bytes.is_empty()
    }

    /// The position after the last.
    pub fn end_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }

    pub fn bytes(&self) -> usize {
        self.chunk.bytes_between(self.first_record, self.first_record + self.count)
    }

    /// Its records, one behind the other.
    pub fn record_bytes(&self) -> &[u8] {
        self.chunk.bytes_of(self.first_record, self.first_record + self.count)
    }

    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        (self.first_record..self.first_record + self.count).map(|i| self.chunk.record(i))
    }

    pub fn record(&self, index: u32) -> Record<'_> {
        assert!(index < self.count);
        self.chunk.record(self.first_record + index)
    }

    /// How many messages from the front fit into `bytes`; at least one.
    pub fn count_within(&self, bytes: usize) -> u32 {
        self.chunk.records_within(self.first_record, self.count, bytes).max(1)
    }

    /// Takes the first `count` messages off, `0 < count < self.count`.
    pub fn split_front(&mut self, count: u32) -> Run {
        assert!(0 < count && count < self.count, "a run is split into two that are not empty");
        let front = Run { count, ..self.clone() };
        self.first_seq += u64::from(count);
        self.first_record += count;
        self.count -= count;
        front
    }

    /// Whether `next` continues this run, so that the two may be one.
    pub fn continues_with(&self, next: &Run) -> bool {
        Arc::ptr_eq(&self.chunk, &next.chunk)
            && self.end_seq() == next.first_seq
            && self.first_record + self.count == next.first_record
            && self.redelivered == next.redelivered
            && self.lane == next.lane
            && self.returns == next.returns
            && self.deadline_ms == next.deadline_ms
    }

    /// Notes that no queue needs these messages any more.
    pub fn settle(self) {
        self.chunk.live_bytes.fetch_sub(self.bytes(), Ordering::Relaxed);
    }

    /// Whether these messages keep alive a chunk that is otherwise mostly settled.
    pub fn pins_dead_bytes(&self) -> bool {
        self.chunk.is_mostly_dead()
    }

    /// The same messages in a chunk of their own.
    pub fn copied_out(self) -> Run {
        let mut open = OpenChunk::default();
        for record in self.records() {
            open.push(record.prefix(), record.body());
        }
        let chunk = open.close();
        chunk.time_ms.store(self.time_ms(), Ordering::Relaxed);
        let copy = self.over(&chunk);
        self.settle();
        copy
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests {
    use super::super::record::append_prefix;
    use super::*;

    fn chunk(bodies: &[&[u8]]) -> Arc<Chunk> {
        chunk_with(0, bodies)
    }

    fn persistent_chunk(bodies: &[&[u8]]) -> Arc<Chunk> {
        chunk_with(record::flags::PERSISTENT, bodies)
    }

    fn chunk_with(flags: u16, bodies: &[&[u8]]) -> Arc<Chunk> {
        let mut open = OpenChunk::default();
        for body in bodies {
            let mut prefix = Vec::new();
            append_prefix(&mut prefix, flags, b"", b"k", &[0, 0], body.len() as u32);
            open.push(&prefix, body);
        }
        open.close()
    }

    fn bodies(run: &Run) -> Vec<Vec<u8>> {
        run.records().map(|r| r.body().to_vec()).collect()
    }

    #[test]
    fn records_of_one_length_and_of_several_split_alike() {
        for all in [[&b"aa"[..], b"bb", b"cc"], [&b"a"[..], b"bbb", b""]] {
            let mut run = Run::of_chunk(&chunk(&all), 7);
            let whole = run.bytes();
            let front = run.split_front(1);
            assert_eq!(bodies(&front), all[..1]);
            assert_eq!(bodies(&run), all[1..]);
            assert_eq!((front.first_seq, run.first_seq), (7, 8));
            assert_eq!(front.bytes() + run.bytes(), whole);
            assert!(front.continues_with(&run));
        }
    }

    #[test]
    fn count_within_takes_at_least_one_message() {
        let run = Run::of_chunk(&chunk(&[b"aaaa", b"b", b"cc"]), 0);
        assert_eq!(run.count_within(0), 1);
        assert_eq!(run.count_within(run.record(0).prefix_bytes() * 2 + 5), 2);
        assert_eq!(run.count_within(usize::MAX >> 1), 3);
    }

    #[test]
    fn a_run_without_its_bytes_still_knows_its_lengths() {
        for all in [[&b"aa"[..], b"bb", b"cc"], [&b"a"[..], b"bbb", b""]] {
            let chunk = persistent_chunk(&all);
            let mut run = Run::of_chunk(&chunk, 7);
            run.split_front(1).settle();
            let mut kept = run.clone();
            run.forget_bytes();
            assert_eq!((Arc::strong_count(&chunk), run.has_bytes(), kept.has_bytes()), (2, false, true));
            assert_eq!((run.bytes(), run.count, run.first_seq), (kept.bytes(), 2, 8));
            assert_eq!(run.split_front(1).bytes(), kept.split_front(1).bytes());
            assert_eq!((run.bytes(), run.first_seq, run.end_seq()), (kept.bytes(), 9, 10));
        }
    }

    #[test]
    fn what_is_known_of_a_run_stays_with_it_however_its_bytes_move() {
        let chunk = persistent_chunk(&[b"aa", b"bbb", b"c"]);
        assert_eq!((chunk.time_ms(), chunk.published_at(70), chunk.published_at(80), chunk.time_ms()), (0, 70, 70, 70));
        let mut run = Run { lane: 3, returns: 4, deadline_ms: 99, ..Run::of_chunk(&chunk, 7) };
        let front = run.split_front(1);
        assert!(front.continues_with(&run));
        for other in
            [Run { lane: 2, ..run.clone() }, Run { returns: 5, ..run.clone() }, Run { deadline_ms: 0, ..run.clone() }]
        {
            assert!(!front.continues_with(&other));
        }
        let copied = run.clone().copied_out();
        run.forget_bytes();
        for run in [front, copied, run] {
            assert_eq!((run.lane, run.returns, run.deadline_ms, run.time_ms()), (3, 4, 99, 70));
        }
    }

    #[test]
    fn a_chunk_knows_whether_something_in_it_expires() {
        let with = |flags| chunk_with(flags, &[b"a"]);
        assert!(!with(record::flags::PERSISTENT).has_expirations());
        let chunk = with(record::flags::EXPIRATION);
        assert!(chunk.has_expirations());
        assert!(Chunk::parse(chunk.bytes_of(0, 1).to_vec()).unwrap().has_expirations());
        assert!(Chunk::of_one(chunk.bytes_of(0, 1).to_vec()).has_expirations());
    }

    #[test]
    fn a_survivor_is_copied_out_of_a_dead_chunk() {
        let body = [b'x'; 1000];
        let many: Vec<&[u8]> = (0..40).map(|_| &body[..]).collect();
        let mut run = Run::of_chunk(&chunk(&many), 0);
        assert!(!run.pins_dead_bytes());
        run.split_front(39).settle();
        assert!(run.pins_dead_bytes());
        let run = run.copied_out();
        assert!(!run.pins_dead_bytes());
        assert_eq!((run.first_seq, bodies(&run)), (39, vec![body.to_vec()]));
    }
}
