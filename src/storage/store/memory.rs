//! A store for tests that keeps in memory what the real one has on disk: a record for each queue and position.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Cold, LoadRequest, Loaded, SpillRequest, Store};
use crate::storage::chunk::{Chunk, Run};
use crate::storage::format::Target;
use crate::storage::log::{Contents, Entry, Log, SyncPolicy, Work};
use crate::storage::record::flags;
use crate::storage::{Epoch, QueueId};

type Records = BTreeMap<(QueueId, u64), Kept>;

/// A message on disk.
#[derive(Clone)]
struct Kept {
    epoch: Epoch,
    time_ms: u64,
    /// 0 if there is none.
    deadline_ms: u64,
    returns: u32,
    record: Vec<u8>,
}

impl Kept {
    fn run(self, queue: QueueId, seq: u64) -> Run {
        let chunk = Chunk::of_one(self.record);
        chunk.published_at(self.time_ms);
        let mut run = Run::of_records(&chunk, 0, 1, seq, self.epoch);
        (run.lane, run.returns, run.deadline_ms) = (queue.level(), self.returns, self.deadline_ms);
        run
    }
}

#[derive(Default)]
struct Inner {
    journal: Records,
    spilled: Records,
    /// All positions below may have been delivered.
    delivered: HashMap<QueueId, u64>,
    dropped: HashSet<QueueId>,
    /// Not answered yet.
    requests: VecDeque<Request>,
    answers_at_once: bool,
    is_full: bool,
}

enum Request {
    Load(LoadRequest),
    Spill(SpillRequest),
}

impl Request {
    fn queue(&self) -> QueueId {
        match self {
            Request::Load(load) => load.queue,
            Request::Spill(spill) => spill.queue,
        }
    }
}

/// What the test sees of the disk; the store has another handle of it.
#[derive(Clone)]
pub struct MemoryDisk {
    inner: Arc<Mutex<Inner>>,
    /// A load brings no more messages than this.
    load_messages: usize,
}

impl MemoryDisk {
    /// A store over a disk that answers when it is [told](MemoryDisk::answer).
    pub fn open(queue_resident_bytes: u64, load_messages: usize) -> (MemoryDisk, Arc<Store>) {
        let disk = MemoryDisk { inner: Arc::default(), load_messages };
        let log = Log::new(Epoch(0), SyncPolicy::Always, usize::MAX);
        // So that it never waits for more to come.
        log.stop();
        (disk.clone(), Store::over(log, Box::new(disk), queue_resident_bytes))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test has failed while it held the disk")
    }

    pub fn answer_at_once(&self) {
        self.lock().answers_at_once = true;
    }

    /// Writes the epoch that is being filled.
    pub fn write(&self, log: &Log) {
        if let Work::Write { epoch, contents, .. } = log.next_work() {
            self.lock().apply(epoch, &contents);
            log.written(epoch, &contents);
            log.synced(epoch);
        }
    }

    /// Whose the request is that has waited longest.
    pub fn next_request(&self) -> Option<QueueId> {
        self.lock().requests.front().map(Request::queue)
    }

    /// Answers the request that has waited longest, if there is one.
    pub fn answer(&self) {
        let request = self.lock().requests.pop_front();
        if let Some(request) = request {
            self.carry_out(request);
        }
    }

    /// Never answers the request that has waited longest.
    pub fn drop_request(&self) {
        self.lock().requests.pop_front();
    }

    /// Whether a load of this queue has not been answered.
    pub fn is_loading(&self, queue: QueueId) -> bool {
        let is_load = |request: &Request| matches!(request, Request::Load(load) if load.queue == queue);
        self.lock().requests.iter().any(is_load)
    }

    /// How many messages of this queue the journal has, and how many are spilled.
    pub fn counts(&self, queue: QueueId) -> (usize, usize) {
        let inner = self.lock();
        let count = |records: &Records| records.range((queue, 0)..=(queue, u64::MAX)).count();
        (count(&inner.journal), count(&inner.spilled))
    }

    /// All positions below may have been delivered, as far as the disk knows.
    pub fn delivered(&self, queue: QueueId) -> u64 {
        self.lock().delivered.get(&queue).copied().unwrap_or(0)
    }

    pub fn is_dropped(&self, queue: QueueId) -> bool {
        self.lock().dropped.contains(&queue.base())
    }

    /// Leaves no room to spill anything.
    pub fn fill(&self) {
        self.lock().is_full = true;
    }

    /// Makes the disk lose a message.
    pub fn lose(&self, queue: QueueId, seq: u64) {
        self.lock().journal.remove(&(queue, seq)).expect("the message is there to be lost");
    }

    fn take_on(&self, request: Request) {
        if self.lock().answers_at_once {
            self.carry_out(request);
        } else {
            self.lock().requests.push_back(request);
        }
    }

    fn carry_out(&self, request: Request) {
        match request {
            Request::Load(load) => {
                let LoadRequest { queue, from_seq, to_seq, max_bytes, .. } = load;
                let loaded = self.lock().find(queue, (from_seq, to_seq), max_bytes, self.load_messages);
                load.target.loaded(loaded);
            }
            Request::Spill(SpillRequest { queue, runs, target }) => {
                let is_full = self.lock().is_full;
                if !is_full {
                    self.lock().spill(queue, &runs);
                }
                target.spilled(queue, if is_full { Vec::new() } else { runs });
            }
        }
    }
}

impl Cold for MemoryDisk {
    fn load(&self, request: LoadRequest) {
        self.take_on(Request::Load(request));
    }

    fn read(&self, queue: QueueId, from_seq: u64, to_seq: u64, max_bytes: usize) -> Loaded {
        self.lock().find(queue, (from_seq, to_seq), max_bytes, usize::MAX)
    }

    fn spill(&self, request: SpillRequest) {
        self.take_on(Request::Spill(request));
    }

    fn release_spilled(&self, queue: QueueId, first_seq: u64, end_seq: u64) {
        self.lock().spilled.retain(|(of, seq), _| *of != queue || !(first_seq..end_seq).contains(seq));
    }
}

impl Inner {
    fn apply(&mut self, epoch: Epoch, contents: &Contents) {
        for entry in &contents.entries {
            match entry {
                Entry::Define(_) => {}
                Entry::DropQueue(queue) => {
                    self.dropped.insert(*queue);
                    self.journal.retain(|(of, _), _| of.base() != *queue);
                }
                Entry::Enqueue { chunk, targets } => {
                    let time_ms = if chunk.time_ms() == 0 { contents.time_ms } else { chunk.time_ms() };
                    targets.iter().for_each(|target| self.enqueue(epoch, target, chunk, time_ms));
                }
            }
        }
        for (queue, counts) in contents.returned.iter() {
            for (first_seq, end_seq, returns) in counts.iter() {
                let kept = self.journal.range_mut((queue, first_seq)..(queue, end_seq));
                kept.for_each(|(_, kept)| kept.returns = returns);
            }
        }
        for (queue, settled) in contents.settled.iter() {
            for &(first_seq, end_seq) in settled {
                self.journal.retain(|(of, seq), _| *of != queue || !(first_seq..end_seq).contains(seq));
            }
        }
        for (queue, &through) in contents.delivered.iter() {
            let mark = self.delivered.entry(queue).or_default();
            *mark = through.max(*mark);
        }
    }

    fn enqueue(&mut self, epoch: Epoch, target: &Target, chunk: &Chunk, time_ms: u64) {
        let &Target { queue, first_seq, ttl_ms } = target;
        assert!(!self.dropped.contains(&queue.base()), "nothing is logged of a queue that was dropped");
        let deadline_ms = ttl_ms.map_or(0, |ttl| time_ms + ttl);
        for (index, seq) in (0..chunk.records()).zip(first_seq..) {
            if chunk.record(index).flags() & flags::PERSISTENT != 0 {
                let record = chunk.bytes_of(index, index + 1).to_vec();
                let kept = Kept { epoch, time_ms, deadline_ms, returns: 0, record };
                let before = self.journal.insert((queue, seq), kept);
                assert!(before.is_none(), "a position is used once");
            }
        }
    }

    fn spill(&mut self, queue: QueueId, runs: &[Run]) {
        for run in runs {
            for (record, seq) in run.records().zip(run.first_seq..) {
                let record = [record.prefix(), record.body()].concat();
                let &Run { epoch, deadline_ms, returns, .. } = run;
                let kept = Kept { epoch, time_ms: run.time_ms(), deadline_ms, returns, record };
                let before = self.spilled.insert((queue, seq), kept);
                assert!(before.is_none(), "a message is spilled once");
            }
        }
    }

    fn find(&mut self, queue: QueueId, (from_seq, to_seq): (u64, u64), max_bytes: usize, most: usize) -> Loaded {
        let positions = || (queue, from_seq)..(queue, to_seq);
        let all = self.journal.range(positions()).chain(self.spilled.range(positions()));
        // What is in both is the same in both.
        let all: BTreeMap<u64, Kept> = all.map(|(&(_, seq), found)| (seq, found.clone())).collect();
        let mut runs = Vec::new();
        let (mut bytes, mut through_seq) = (0, to_seq);
        for (seq, kept) in all {
            if runs.len() == most || bytes >= max_bytes {
                through_seq = seq;
                break;
            }
            bytes += kept.record.len();
            runs.push(kept.run(queue, seq));
        }
        self.spilled.retain(|(of, seq), _| *of != queue || !(from_seq..through_seq).contains(seq));
        Loaded { queue, from_seq, through_seq, runs }
    }
}
