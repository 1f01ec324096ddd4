//! Reading messages back into memory, and letting go of those that are not durable.
//!
//! A few threads serve all queues; neither a connection's thread nor a queue's lock ever waits for a disk.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::chunk::{Chunk, Run};
use super::core::Core;
use super::counts::Counts;
use super::disk::DiskFile;
use super::format::{self, BlockHead, BlockPlace, Enqueue, EntryView, FileKind, Records, Scanner, Target};
use super::index::{Piece, Place, ReadPlan};
use super::ranges::Ranges;
use super::store::{Cold, LoadRequest, Loaded, SpillRequest};
use super::{Epoch, QueueId};

/// A piece may move while it is read; it is looked up again so often.
const LOOKUPS_MAX: u32 = 8;
/// A spill file that has reached this length gets nothing more.
const SPILL_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// What is being gathered for one [`LoadRequest`].
struct Load<'a> {
    core: &'a Core,
    queue: QueueId,
    to_seq: u64,
    max_bytes: usize,
    bytes: usize,
    runs: Vec<Run>,
    /// Everything before has been looked at.
    at: u64,
}

/// Reads messages of a queue, at least one if there is one.
pub fn load(core: &Core, request: &LoadRequest) -> Loaded {
    read(core, request.queue, (request.from_seq, request.to_seq), request.max_bytes)
}

fn read(core: &Core, queue: QueueId, (from_seq, to_seq): (u64, u64), max_bytes: usize) -> Loaded {
    let mut load = Load { core, queue, to_seq, max_bytes, bytes: 0, runs: Vec::new(), at: from_seq };
    let mut lookups = 0;
    while load.at < to_seq && load.bytes < max_bytes {
        let plan = core.state().index.plan(queue, load.at, to_seq);
        let Some(plan) = plan else {
            load.at = to_seq;
            break;
        };
        match load.piece(&plan) {
            Ok(()) => lookups = 0,
            Err(error) if error.kind() == io::ErrorKind::NotFound && lookups < LOOKUPS_MAX => lookups += 1,
            Err(error) => {
                load.unreadable(&plan, &error);
                break;
            }
        }
    }
    // A block may have what entered several queues at once before what entered this one earlier.
    load.runs.sort_by_key(|run| run.first_seq);
    Loaded { queue, from_seq, through_seq: load.at, runs: load.runs }
}

impl Load<'_> {
    /// Reads from one piece.
    fn piece(&mut self, plan: &ReadPlan) -> io::Result<()> {
        let Place { file: number, .. } = plan.piece.place;
        let Some((kind, len)) = self.core.state().index.files().get(&number).map(|file| (file.kind, file.len)) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let file = self.core.file(number, kind)?;
        let end_seq = plan.piece.end_seq.min(self.to_seq);
        let mut found = Ranges::default();
        let mut scanner = Scanner::new(&*file, number, plan.offset, plan.piece.place.end().min(len));
        let mut seen = plan.from_seq;
        let mut next = plan.offset;
        while seen < end_seq && self.bytes < self.max_bytes {
            let begin = scanner.at();
            if scanner.next_block()?.is_none() {
                break;
            }
            let (through, is_whole) = self.block(&scanner, plan, end_seq, &mut found);
            seen = through.max(seen);
            // Another piece may begin in this block.
            next = if is_whole { scanner.at() } else { begin };
        }
        let through = if self.bytes >= self.max_bytes { seen } else { end_seq };
        if !plan.spilled {
            self.report_lost(plan.from_seq, through, &found, number, kind);
        }
        self.core.state().index.set_cursor(self.queue, &plan.piece, through, next);
        self.at = through;
        Ok(())
    }

    /// Takes what the scanner's block has of the piece. Returns the position after the last that it has, and whether it
    /// has no message of the queue from `end_seq` on.
    fn block(&mut self, scanner: &Scanner<'_>, plan: &ReadPlan, end_seq: u64, found: &mut Ranges) -> (u64, bool) {
        let Some(block) = scanner.block() else { return (0, true) };
        let (mut seen, mut is_whole) = (0, true);
        // Of spilled messages nobody else knows it.
        let mut returned = plan.spilled.then(Counts::default);
        for entry in block.entries() {
            let enqueue = match entry {
                EntryView::Enqueue(enqueue) => enqueue,
                EntryView::Returns(of, counts) if of == self.queue => {
                    let mut known = returned.as_mut();
                    let mut note = |&(first, end, count): &_| known.iter_mut().for_each(|of| of.set(first, end, count));
                    counts.iter().for_each(&mut note);
                    continue;
                }
                _ => continue,
            };
            let Some(&target) = enqueue.targets.iter().find(|target| target.queue == self.queue) else { continue };
            let end = target.first_seq + enqueue.records;
            is_whole &= end <= end_seq;
            let (from, to) = (target.first_seq.max(plan.from_seq), end.min(end_seq));
            if from < to {
                self.entry(&enqueue, target, (from, to), returned.as_ref(), block.head, found);
                seen = to.max(seen);
            }
        }
        (seen, is_whole)
    }

    /// Takes the messages of an entry whose positions are in `wanted`. `spilled` is how often those were returned that are
    /// spilled; the index knows it of others.
    fn entry(
        &mut self,
        enqueue: &Enqueue<'_>,
        target: Target,
        wanted: (u64, u64),
        spilled: Option<&Counts>,
        head: BlockHead,
        found: &mut Ranges,
    ) {
        let epoch = if spilled.is_some() { head.epoch } else { head.epoch.max(Epoch(1)) };
        let deadline_ms = target.ttl_ms.map_or(0, |ttl| enqueue.time_ms.saturating_add(ttl));
        for Records { first, count, bytes } in enqueue.intact() {
            let (start, end) = (target.first_seq + first, target.first_seq + first + count);
            let Some(chunk) = Chunk::parse(bytes.to_vec()).filter(|chunk| u64::from(chunk.records()) == count) else {
                continue;
            };
            chunk.published_at(enqueue.time_ms);
            let (from, to) = (start.max(wanted.0), end.min(wanted.1));
            let waiting = match spilled {
                Some(returned) => returned.over(from, to),
                None => self.core.state().index.unsettled_with_returns(self.queue, from, to),
            };
            for (from, to, returns) in waiting.into_iter().filter(|(from, to, _)| from < to) {
                let mut run = Run::of_records(&chunk, (from - start) as u32, (to - from) as u32, from, epoch);
                (run.lane, run.returns, run.deadline_ms) = (self.queue.level(), returns, deadline_ms);
                self.bytes += run.bytes();
                self.runs.push(run);
                found.insert(from, to);
            }
        }
    }

    /// Reports positions that should have been found, and settles them: they are lost.
    fn report_lost(&self, from: u64, through: u64, found: &Ranges, number: u64, kind: FileKind) {
        let waiting = self.core.state().index.unsettled(self.queue, from, through);
        let lost: Vec<(u64, u64)> = waiting.iter().flat_map(|&(from, to)| found.gaps(from, to)).collect();
        if lost.is_empty() {
            return;
        }
        let count: u64 = lost.iter().map(|(from, to)| to - from).sum();
        let path = self.core.disk.path(&kind.file_name(number));
        tracing::error!("{count} messages of queue {} are lost: {path} is damaged", self.queue);
        for (from, to) in lost {
            self.core.log.settle(self.queue, from, to);
        }
    }

    /// The file cannot be read now. The queue asks again later.
    fn unreadable(&self, plan: &ReadPlan, error: &io::Error) {
        let Place { file, .. } = plan.piece.place;
        let kind = self.core.state().index.files().get(&file).map_or(FileKind::Journal, |file| file.kind);
        let path = self.core.disk.path(&kind.file_name(file));
        tracing::error!("messages of queue {} cannot be delivered: cannot read {path}: {error}", self.queue);
    }
}

/// Where messages are spilled to.
struct SpillFile {
    number: u64,
    file: Arc<dyn DiskFile>,
    end: u64,
}

/// Writes messages of a queue to a spill file and enters them into the index.
fn spill(core: &Core, current: &mut Option<SpillFile>, queue: QueueId, runs: &[Run]) -> io::Result<()> {
    if current.as_ref().is_none_or(|file| file.end >= SPILL_FILE_BYTES) {
        let number = core.new_file_number();
        let file = core.disk.create(&FileKind::Spill.file_name(number))?;
        file.write_all_at(&format::file_head(FileKind::Spill, number), 0)?;
        core.state().index.add_file(number, FileKind::Spill, format::FILE_HEAD_BYTES);
        *current = Some(SpillFile { number, file, end: format::FILE_HEAD_BYTES });
    }
    let Some(spill) = current else { return Ok(()) };
    for run in runs {
        let mut out = Vec::with_capacity(run.bytes() + 128);
        let start = format::begin_block(&mut out);
        if run.returns > 0 {
            format::push_returns(&mut out, queue, &[(run.first_seq, run.end_seq(), run.returns)]);
        }
        let (time_ms, first_seq) = (run.time_ms(), run.first_seq);
        let ttl_ms = (run.deadline_ms > 0).then(|| run.deadline_ms.saturating_sub(time_ms));
        let targets = [Target { queue, first_seq, ttl_ms }].into_iter().collect();
        let (bytes, records) = (run.record_bytes(), u64::from(run.count));
        let damaged = Default::default();
        format::push_enqueue(&mut out, &Enqueue { targets, time_ms, records, stride: 0, bytes, damaged });
        // Of a mixed run, what is durable must still be known as such when it is loaded.
        let at = BlockPlace { file: spill.number, offset: spill.end };
        format::end_block(&mut out, start, at, BlockHead::new(run.epoch, Epoch::NONE, 0, true));
        spill.file.write_all_at(&out, spill.end)?;
        let place = Place { file: spill.number, offset: spill.end, len: out.len() as u64 };
        spill.end += out.len() as u64;
        let mut state = core.state();
        state.index.set_file_len(spill.number, spill.end);
        state.index.spill(queue, Piece::new(run.first_seq, records, place, bytes.len() as u64));
    }
    Ok(())
}

enum Request {
    Load(LoadRequest),
    Spill(SpillRequest),
}

#[derive(Default)]
struct Requests {
    waiting: VecDeque<Request>,
    stopping: bool,
}

/// Requests of queues, and the threads' way to them.
pub struct Loader {
    core: Arc<Core>,
    requests: Mutex<Requests>,
    work: Condvar,
    spill: Mutex<Option<SpillFile>>,
}

impl Loader {
    pub fn new(core: Arc<Core>) -> Loader {
        Loader { core, requests: Mutex::default(), work: Condvar::new(), spill: Mutex::default() }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().expect("no code panics while it holds the requests")
    }

    fn ask(&self, request: Request) {
        self.requests().waiting.push_back(request);
        self.work.notify_one();
    }

    /// Serves requests until told to stop: what a thread does.
    pub fn run(&self) {
        loop {
            let mut requests = self.requests();
            let request = loop {
                match requests.waiting.pop_front() {
                    Some(request) => break request,
                    None if requests.stopping => return,
                    None => requests = self.work.wait(requests).expect("as in `requests`"),
                }
            };
            drop(requests);
            self.serve(request);
        }
    }

    /// Serves what was asked for first, on this thread. Returns whether there was such a thing.
    #[cfg(test)]
    pub fn serve_one(&self) -> bool {
        let request = self.requests().waiting.pop_front();
        request.map(|request| self.serve(request)).is_some()
    }

    pub fn stop(&self) {
        self.requests().stopping = true;
        self.work.notify_all();
    }

    fn serve(&self, request: Request) {
        match request {
            Request::Load(request) => {
                let loaded = load(&self.core, &request);
                self.core.state().index.release_spilled(request.queue, loaded.from_seq, loaded.through_seq);
                request.target.loaded(loaded);
            }
            Request::Spill(SpillRequest { queue, runs, target }) => {
                let mut file = self.spill.lock().expect("no code panics while it spills");
                let spilled = spill(&self.core, &mut file, queue, &runs);
                drop(file);
                if let Err(error) = &spilled {
                    tracing::error!("cannot move messages out of memory: {error}");
                }
                target.spilled(queue, if spilled.is_ok() { runs } else { Vec::new() });
            }
        }
        self.remove_empty_spill_files();
    }

    fn remove_empty_spill_files(&self) {
        let writing = self.spill.lock().expect("as above").as_ref().map(|file| file.number);
        let is_empty = |(&number, file): (&u64, &super::index::FileInfo)| {
            (file.kind == FileKind::Spill && file.pieces == 0 && Some(number) != writing).then_some(number)
        };
        let empty: Vec<u64> = self.core.state().index.files().iter().filter_map(is_empty).collect();
        for number in empty {
            self.core.state().index.remove_file(number);
            if let Err(error) = self.core.remove_file(number, FileKind::Spill) {
                tracing::warn!("cannot remove a spill file: {error}");
            }
        }
    }
}

impl Cold for Arc<Loader> {
    fn load(&self, request: LoadRequest) {
        self.ask(Request::Load(request));
    }

    fn read(&self, queue: QueueId, from_seq: u64, to_seq: u64, max_bytes: usize) -> Loaded {
        read(&self.core, queue, (from_seq, to_seq), max_bytes)
    }

    fn spill(&self, request: SpillRequest) {
        self.ask(Request::Spill(request));
    }

    fn release_spilled(&self, queue: QueueId, first_seq: u64, end_seq: u64) {
        self.core.state().index.release_spilled(queue, first_seq, end_seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::chunk::OpenChunk;
    use crate::storage::log::SyncPolicy;
    use crate::storage::open::{Options, open_engine};
    use crate::storage::record::append_prefix;
    use crate::storage::sim_disk::SimDisk;
    use crate::storage::store::ColdTarget;

    const OPTIONS: Options = Options {
        sync: SyncPolicy::Always,
        unwritten_max_bytes: 1 << 20,
        queue_resident_bytes: 0,
        journal_file_bytes: 1 << 20,
        reserve_bytes: 0,
    };

    /// Whatever it was answered last.
    #[derive(Default)]
    struct Asker(Mutex<Vec<(QueueId, Vec<Run>)>>);

    impl Asker {
        fn answer(&self) -> (QueueId, Vec<Run>) {
            self.0.lock().unwrap().pop().unwrap()
        }
    }

    impl ColdTarget for Asker {
        fn loaded(self: Arc<Self>, loaded: Loaded) {
            self.0.lock().unwrap().push((loaded.queue, loaded.runs));
        }

        fn spilled(self: Arc<Self>, queue: QueueId, runs: Vec<Run>) {
            self.0.lock().unwrap().push((queue, runs));
        }
    }

    #[test]
    fn spilled_messages_come_back_with_all_that_was_known_of_them() {
        let (engine, _) = open_engine(SimDisk::new(), OPTIONS).unwrap();
        let (queue, target) = (QueueId(7).lane(3), Arc::new(Asker::default()));
        let (mut open, mut prefix) = (OpenChunk::default(), Vec::new());
        append_prefix(&mut prefix, 0, b"", b"q", &[0, 0], 2);
        (0..9).for_each(|_| open.push(&prefix, b"hi"));
        let chunk = open.close();
        chunk.published_at(5_000);
        let mut run = Run::of_chunk(&chunk, 100);
        run.lane = 3;
        let mut runs: Vec<Run> = (0..2).map(|_| run.split_front(3)).collect();
        runs.push(run);
        (runs[1].returns, runs[1].deadline_ms, runs[2].deadline_ms) = (4, 5_000, 9_000);
        let known = |runs: &[Run]| -> Vec<_> {
            let of = |run: &Run| (run.first_seq, run.count, run.lane, run.returns, run.deadline_ms, run.time_ms());
            runs.iter().map(of).collect()
        };
        let before = known(&runs);
        engine.loader.spill(SpillRequest { queue, runs, target: target.clone() });
        engine.loader.serve_one();
        assert_eq!(target.answer().0, queue);
        let request = LoadRequest { queue, from_seq: 0, to_seq: 200, max_bytes: 1 << 20, target: target.clone() };
        engine.loader.load(request);
        engine.loader.serve_one();
        let (of, after) = target.answer();
        assert_eq!((of, known(&after)), (queue, before));
    }
}
