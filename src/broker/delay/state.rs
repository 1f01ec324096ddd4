//! What is held back, and what happens to it. What is to be done without the lock is in [`Wants`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::bucket::Bucket;
use super::envelope;
use super::wheel::{LEVELS, Place, Wheel};
use crate::broker::definitions::{Definition, HiddenOwner};
use crate::broker::queue::Queue;
use crate::storage::chunk::{OpenChunk, Run};
use crate::storage::store::{Loaded, RecoveredQueue, Store};
use crate::storage::{Epoch, QueueId};

/// What is moved in one turn: runs, and their bytes.
const RUNS_A_TURN: usize = 4096;
const BYTES_A_TURN: usize = 256 * 1024;
/// More is read ahead while less than this is in memory.
const AHEAD_BYTES: u64 = 256 * 1024;
/// A bucket is read from disk so long before its turn, so that it need not wait for the disk then.
const AHEAD_MS: u64 = 250;
/// When something is tried again that could not be read.
const UNREADABLE_MS: u64 = 1000;

/// What is to be asked for once the lock is released.
#[derive(Default)]
pub struct Wants {
    /// Positions to be read, as first and end.
    pub load: Vec<(QueueId, u64, u64)>,
    /// To be told when this epoch is written.
    pub written: Option<Epoch>,
    /// When to be attended to, in place of which time; 0 if there was none.
    pub timer_ms: Option<(u64, u64)>,
    /// To be attended to soon.
    pub attend: bool,
}

/// A turn that has begun.
#[derive(Clone, Copy)]
struct Turn {
    place: Place,
    /// What is at this position or behind it has come since.
    until_seq: u64,
}

/// What is to be done next.
pub enum Next {
    /// Nothing now.
    Rest,
    /// To look again.
    Again,
    /// To move these messages, which have been taken out of that bucket.
    Move(Place, Vec<Run>),
}

pub struct State {
    owner: HiddenOwner,
    store: Option<Arc<Store>>,
    wheel: Wheel,
    buckets: BTreeMap<Place, Bucket>,
    /// The hidden queues whose lanes are the buckets of a level.
    levels: [Option<QueueId>; LEVELS],
    turn: Option<Turn>,
    /// Buckets that were found at start and of which it is not known yet what they stand for.
    unknown: usize,
    /// When the worker has been asked to attend; 0 if it has not.
    timer_ms: u64,
    awaits_written: bool,
    dead: bool,
    pub wants: Wants,
}

impl State {
    pub fn new(owner: HiddenOwner, store: Option<Arc<Store>>, now_ms: u64) -> State {
        State {
            owner,
            store,
            wheel: Wheel::new(now_ms),
            buckets: BTreeMap::new(),
            levels: [None; LEVELS],
            turn: None,
            unknown: 0,
            timer_ms: 0,
            awaits_written: false,
            dead: false,
            wants: Wants::default(),
        }
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn messages(&self) -> u64 {
        self.buckets.values().map(|bucket| bucket.ready.messages()).sum()
    }

    #[cfg(test)]
    pub fn resident_bytes(&self) -> u64 {
        self.buckets.values().flat_map(|bucket| bucket.ready.resident()).map(|run| run.bytes() as u64).sum()
    }

    /// Takes in a level with what was found on disk of its lanes. Returns the buckets of which it has to be found out when
    /// they are due, and the positions at which they have messages.
    pub fn recover(
        &mut self,
        level: u8,
        id: QueueId,
        lanes: &[(u8, RecoveredQueue)],
    ) -> Vec<(Place, QueueId, u64, u64)> {
        self.levels[usize::from(level)] = Some(id);
        let mut unknown = Vec::new();
        for (lane, found) in lanes {
            let place = Place { level, lane: *lane };
            let mut bucket = Bucket::new(id, place, true);
            bucket.recover(found);
            if let (Some(first), Some(last)) = (found.waiting.first(), found.waiting.last()) {
                unknown.push((place, bucket.id, first.first_seq, last.end_seq));
            }
            self.buckets.insert(place, bucket);
        }
        self.unknown += unknown.len();
        unknown
    }

    /// It has been found out when the first message of a bucket is due.
    pub fn found(&mut self, place: Place, due_ms: u64) {
        self.wheel.found(place, due_ms);
        self.unknown -= 1;
        self.wants.attend |= self.unknown == 0;
    }

    fn bucket(&mut self, place: Place) -> &mut Bucket {
        if !self.buckets.contains_key(&place) {
            let level = self.level(place.level);
            let bucket = Bucket::new(level, place, self.store.is_some());
            self.buckets.insert(place, bucket);
        }
        self.buckets.get_mut(&place).expect("it has just been put there")
    }

    /// The hidden queue of a level, which is defined when it is first needed.
    fn level(&mut self, level: u8) -> QueueId {
        let owner = &self.owner;
        let store = self.store.as_deref();
        *self.levels[usize::from(level)].get_or_insert_with(|| {
            let id = Queue::new_id();
            if let Some(store) = store {
                store.log.define(vec![Definition::Delays { id, level, owner: owner.clone() }.put()]);
            }
            id
        })
    }

    /// Begins to take messages in.
    pub fn incoming(&mut self, now_ms: u64) -> Incoming<'_> {
        Incoming { state: self, now_ms, open: HashMap::new(), epoch: Epoch::NONE }
    }

    /// What is to be done at this time.
    pub fn next(&mut self, now_ms: u64) -> Next {
        if self.timer_ms <= now_ms {
            self.timer_ms = 0;
        }
        if self.dead || self.unknown > 0 {
            return Next::Rest;
        }
        let Some(turn) = self.begin_turn(now_ms) else {
            self.read_ahead(now_ms);
            self.set_timer();
            return Next::Rest;
        };
        let Some(bucket) = self.buckets.get_mut(&turn.place) else { return self.end_turn(turn) };
        let taken = take(bucket, turn.until_seq);
        let is_over = bucket.ready.first_seq().is_none_or(|first_seq| first_seq >= turn.until_seq);
        if !is_over {
            self.load_on(turn.place);
        }
        match (taken.is_empty(), is_over) {
            (false, _) => Next::Move(turn.place, taken),
            (true, true) => self.end_turn(turn),
            (true, false) => Next::Rest,
        }
    }

    fn begin_turn(&mut self, now_ms: u64) -> Option<Turn> {
        if self.turn.is_none() {
            let place = self.wheel.begin(now_ms)?;
            let until_seq = self.buckets.get(&place).map_or(0, |bucket| bucket.next_seq);
            self.turn = Some(Turn { place, until_seq });
        }
        self.turn
    }

    fn end_turn(&mut self, turn: Turn) -> Next {
        self.turn = None;
        self.wheel.end(turn.place);
        Next::Again
    }

    /// Reads the bucket that has its turn next, if that is soon.
    fn read_ahead(&mut self, now_ms: u64) {
        if let Some((next_ms, place)) = self.wheel.next()
            && next_ms <= now_ms.saturating_add(AHEAD_MS)
        {
            self.load_on(place);
        }
    }

    fn load_on(&mut self, place: Place) {
        let Some(bucket) = self.buckets.get_mut(&place).filter(|bucket| !bucket.loading) else { return };
        if let Some((from_seq, to_seq)) = bucket.ready.begin_load(AHEAD_BYTES) {
            bucket.loading = true;
            self.wants.load.push((bucket.id, from_seq, to_seq));
        }
    }

    /// Takes in what was read of a bucket. Returns how many messages are lost.
    pub fn loaded(&mut self, loaded: Loaded, now_ms: u64) -> u64 {
        let level = self.levels.iter().position(|level| *level == Some(loaded.queue.base()));
        let place = level.map(|level| Place { level: level as u8, lane: loaded.queue.level() });
        let Some((place, bucket)) = place.and_then(|place| Some((place, self.buckets.get_mut(&place)?))) else {
            loaded.runs.into_iter().for_each(Run::settle);
            return 0;
        };
        let is_unreadable = loaded.through_seq <= loaded.from_seq;
        bucket.loading = false;
        let lost = bucket.ready.end_load(loaded);
        if is_unreadable {
            self.attend_at(now_ms.saturating_add(UNREADABLE_MS));
        } else {
            self.wants.attend |= self.turn.is_some_and(|turn| turn.place == place);
        }
        lost
    }

    /// Settles messages that have been moved out of a bucket.
    pub fn settle(&mut self, place: Place, runs: Vec<Run>) {
        let id = self.buckets.get(&place).map(|bucket| bucket.id);
        let store = self.store.as_ref().filter(|_| !self.dead);
        for run in runs {
            if let (Some(id), Some(store)) = (id, store) {
                store.log.settle_moved(id, run.first_seq, run.end_seq());
            }
            run.settle();
        }
    }

    /// Has the worker attend when the next bucket has its turn.
    fn set_timer(&mut self) {
        if let Some((next_ms, _)) = self.wheel.next() {
            self.attend_at(next_ms);
        }
    }

    fn attend_at(&mut self, due_ms: u64) {
        if !self.dead && (self.timer_ms == 0 || due_ms < self.timer_ms) {
            let due_ms = due_ms.max(1);
            let instead_of_ms = self.wants.timer_ms.map_or(self.timer_ms, |(_, instead_of_ms)| instead_of_ms);
            self.timer_ms = due_ms;
            self.wants.timer_ms = Some((due_ms, instead_of_ms));
        }
    }

    /// More is written.
    pub fn written(&mut self) {
        self.awaits_written = false;
        self.fold();
    }

    /// Lets what is on disk leave memory, and has it told when more is.
    fn fold(&mut self) {
        let Some(store) = &self.store else { return };
        let with_tail = self.buckets.values_mut().filter(|bucket| bucket.ready.has_tail());
        let missing = with_tail.filter_map(|bucket| bucket.fold(store)).min();
        if let Some(epoch) = missing
            && !std::mem::replace(&mut self.awaits_written, true)
        {
            self.wants.written = Some(epoch);
        }
    }

    /// Ends it. Returns what was held back, to be dropped once the lock is released.
    pub fn kill(&mut self) -> BTreeMap<Place, Bucket> {
        if !std::mem::replace(&mut self.dead, true)
            && let Some(store) = &self.store
        {
            let owner = &self.owner;
            let levels = || (0..).zip(&self.levels).filter_map(|(level, id)| Some((level, (*id)?)));
            let row = |(level, id)| Definition::Delays { id, level, owner: owner.clone() }.delete();
            let rows: Vec<_> = levels().map(row).collect();
            if !rows.is_empty() {
                let _hold = store.log.hold();
                levels().for_each(|(_, id)| _ = store.log.drop_queue(id));
                store.log.define(rows);
            }
        }
        self.turn = None;
        std::mem::take(&mut self.buckets)
    }
}

/// Takes what is in memory at the front of a bucket, a turn's worth at most.
fn take(bucket: &mut Bucket, until_seq: u64) -> Vec<Run> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    while taken.len() < RUNS_A_TURN && bytes < BYTES_A_TURN {
        let Some(front) = bucket.ready.front_run().filter(|run| run.first_seq < until_seq) else { break };
        let most = u32::try_from(until_seq - front.first_seq).unwrap_or(u32::MAX);
        let Some(run) = bucket.ready.take(most, BYTES_A_TURN - bytes) else { break };
        bytes += run.bytes();
        taken.push(run);
    }
    taken
}

/// Messages that are being put into buckets: each bucket gets those of one go together.
pub struct Incoming<'a> {
    state: &'a mut State,
    now_ms: u64,
    open: HashMap<Place, OpenChunk>,
    epoch: Epoch,
}

impl Incoming<'_> {
    /// Whether what is due at this time, and found in a bucket of level 0, is due.
    pub fn is_due(&self, due_ms: u64) -> bool {
        self.state.wheel.is_due(due_ms)
    }

    /// Adds an envelope: what goes before the message's record, and the record.
    pub fn add(&mut self, due_ms: u64, prefix: &[u8], record: &[u8]) {
        let place = self.state.wheel.put(due_ms);
        let open = self.open.entry(place).or_insert_with(spare);
        open.push(prefix, record);
        if open.is_full() {
            self.epoch = self.epoch.max(close(self.state, place, open, self.now_ms));
        }
    }

    /// As [`add`](Self::add), and makes the envelope.
    pub fn add_message(&mut self, due_ms: u64, why: envelope::Why, record: &[u8]) {
        self.add(due_ms, &envelope::prefix(due_ms, why, record.len()), record);
    }

    /// Puts them into their buckets. Returns the epoch with which all are kept; none without a store.
    pub fn finish(mut self) -> Epoch {
        for (place, mut open) in std::mem::take(&mut self.open) {
            if !open.is_empty() {
                self.epoch = self.epoch.max(close(self.state, place, &mut open, self.now_ms));
            }
            keep(open);
        }
        self.state.fold();
        if self.state.turn.is_none() && self.state.unknown == 0 {
            self.state.set_timer();
        }
        self.epoch
    }
}

/// Buffers that a thread keeps.
const SPARE_MAX: usize = 128;

thread_local! {
    static SPARE: RefCell<Vec<OpenChunk>> = const { RefCell::new(Vec::new()) };
}

fn spare() -> OpenChunk {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

fn keep(open: OpenChunk) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARE_MAX {
            spare.push(open);
        }
    });
}

fn close(state: &mut State, place: Place, open: &mut OpenChunk, now_ms: u64) -> Epoch {
    let chunk = open.close();
    chunk.published_at(now_ms);
    let store = state.store.clone();
    state.bucket(place).push(&chunk, store.as_deref())
}
