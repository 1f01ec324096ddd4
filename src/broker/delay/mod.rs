//! Delayed messages: held back in buckets by when they are due, on disk, and let go at their times.
//!
//! A queue or an exchange that holds messages back has [`Delays`]. To the store its buckets are lanes of hidden queues, one
//! for each level of its [wheel](wheel), so whatever holds for queues holds for them: messages are in order, leave memory as
//! soon as they are written, and are found again after a crash. Where a bucket has its turn, its messages go to another
//! bucket, to the queue, or through the exchange; they leave the one and enter the other in one epoch. All of that is the
//! worker's, in turns of bounded length.
//!
//! Everything that is held back is written to disk, persistent or not.

mod bucket;
pub mod envelope;
pub mod header;
mod release;
pub mod retry;
mod state;
#[cfg(test)]
mod tests;
mod wheel;

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

pub use self::envelope::Why;
use self::state::{Next, State, Wants};
pub use self::wheel::LEVELS;
use self::wheel::Place;
use crate::broker::definitions::HiddenOwner;
use crate::broker::exchange::Exchange;
use crate::broker::queue::{Queue, Surroundings};
use crate::broker::worker::{Attended, Duty};
use crate::storage::chunk::{Chunk, Persistence, Run};
use crate::storage::log::Waiter;
use crate::storage::record::Record;
use crate::storage::store::{ColdTarget, LoadRequest, Loaded, RecoveredQueue};
use crate::storage::{Epoch, QueueId};

/// Bytes that are read from disk at once.
const LOAD_BYTES: usize = 512 * 1024;

/// Whose messages are held back, and where they go.
#[derive(Clone)]
pub enum Owner {
    /// To the tail of this queue.
    Queue(Weak<Queue>),
    /// Through this exchange, as if they were published now.
    Exchange(Weak<Exchange>),
}

/// What was found of a level of somebody's delays at start.
pub struct RecoveredLevel {
    pub level: u8,
    pub id: QueueId,
    pub lanes: Vec<(u8, RecoveredQueue)>,
}

/// The messages that a queue or an exchange holds back.
pub struct Delays {
    owner: Owner,
    around: Surroundings,
    state: Mutex<State>,
    this: Weak<Delays>,
}

/// The state, locked. What it wants is asked for when it is unlocked.
struct Locked<'a> {
    delays: &'a Delays,
    state: Option<MutexGuard<'a, State>>,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_ref().expect("locked until dropped")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().expect("locked until dropped")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        let wants = std::mem::take(&mut state.wants);
        drop(state);
        if let Some(delays) = self.delays.this.upgrade() {
            delays.ask_for(wants);
        }
        #[cfg(test)]
        crate::storage::stepped::unlocked();
    }
}

impl Delays {
    /// Nothing is held back, but for what was found at start.
    pub fn new(owner: Owner, named: HiddenOwner, around: Surroundings, recovered: &[RecoveredLevel]) -> Arc<Delays> {
        let mut state = State::new(named, around.store.clone(), around.worker.now_ms());
        let mut unknown = Vec::new();
        for RecoveredLevel { level, id, lanes } in recovered {
            unknown.extend(state.recover(*level, *id, lanes));
        }
        let delays = Arc::new_cyclic(|this| Delays { owner, around, state: Mutex::new(state), this: this.clone() });
        unknown
            .into_iter()
            .for_each(|(place, queue, from_seq, to_seq)| delays.find_out(place, queue, from_seq, to_seq));
        delays
    }

    fn lock(&self) -> Locked<'_> {
        let state = self.state.lock().expect("delays in an impossible state are not used any further");
        Locked { delays: self, state: Some(state) }
    }

    /// How many messages are held back.
    pub fn messages(&self) -> u64 {
        self.lock().messages()
    }

    /// Bytes of them that are in memory.
    #[cfg(test)]
    pub fn resident_bytes(&self) -> u64 {
        self.lock().resident_bytes()
    }

    /// Holds back messages of a chunk: by their numbers in it, with when each is due, in milliseconds since 1970. Returns
    /// the epoch with which those of them are kept that are persistent; none if none is, or it is over with the owner.
    pub fn hold_back(&self, chunk: &Chunk, due_ms: &[(u32, u64)]) -> Epoch {
        let records = due_ms.iter().map(|(index, due_ms)| (*due_ms, chunk.record(*index).bytes()));
        let epoch = self.hold_back_records(records, Why::Delayed);
        if chunk.persistence() == Persistence::None { Epoch::NONE } else { epoch }
    }

    /// Holds back messages, given as when they are due and their records.
    fn hold_back_records<R: AsRef<[u8]>>(&self, records: impl Iterator<Item = (u64, R)>, why: Why) -> Epoch {
        let now_ms = self.around.worker.now_ms();
        let mut state = self.lock();
        if state.is_dead() {
            return Epoch::NONE;
        }
        let mut incoming = state.incoming(now_ms);
        for (due_ms, record) in records {
            incoming.add_message(due_ms, why, record.as_ref());
        }
        incoming.finish()
    }

    /// Drops everything, and all that comes from now on: the owner is gone.
    pub fn kill(&self) {
        let remains = self.lock().kill();
        drop(remains);
    }

    /// Has the first message of a bucket read, to know for which time it stands.
    fn find_out(self: &Arc<Self>, place: Place, queue: QueueId, from_seq: u64, to_seq: u64) {
        if let Some(store) = &self.around.store {
            let target = Arc::new(Unknown { delays: self.clone(), place });
            store.cold.load(LoadRequest { queue, from_seq, to_seq, max_bytes: 1, target });
        }
    }

    fn ask_for(self: &Arc<Self>, wants: Wants) {
        let Wants { load, written, timer_ms, attend } = wants;
        let worker = &self.around.worker;
        if let Some((due_ms, instead_of_ms)) = timer_ms {
            let weak: Weak<Delays> = Arc::downgrade(self);
            worker.at(due_ms, instead_of_ms, weak);
        }
        if attend {
            worker.soon(self.clone());
        }
        let Some(store) = &self.around.store else { return };
        if let Some(epoch) = written {
            store.log.wait_until_written(epoch, self.clone());
        }
        for (queue, from_seq, to_seq) in load {
            store.cold.load(LoadRequest { queue, from_seq, to_seq, max_bytes: LOAD_BYTES, target: self.clone() });
        }
    }

    /// Moves messages that were taken out of a bucket to where they go, in one epoch.
    fn move_on(&self, place: Place, runs: Vec<Run>, now_ms: u64) {
        let _hold = self.around.store.as_ref().map(|store| store.log.hold());
        let mut due: Vec<Record<'_>> = Vec::new();
        let mut state = self.lock();
        let mut incoming = state.incoming(now_ms);
        for envelope in runs.iter().flat_map(Run::records) {
            let due_ms = envelope::due_ms(&envelope);
            if place.level == 0 && incoming.is_due(due_ms) {
                due.push(envelope);
            } else {
                incoming.add(due_ms, envelope.prefix(), envelope.body());
            }
        }
        incoming.finish();
        drop(state);
        if !due.is_empty() {
            release::release(&self.owner, &self.around, &due, now_ms);
        }
        drop(due);
        self.lock().settle(place, runs);
    }
}

impl Duty for Delays {
    fn attend(self: Arc<Self>, now_ms: u64) -> Attended {
        let next = self.lock().next(now_ms);
        match next {
            Next::Rest => return Attended::Done,
            Next::Again => {}
            Next::Move(place, runs) => self.move_on(place, runs, now_ms),
        }
        Attended::More
    }
}

impl ColdTarget for Delays {
    fn loaded(self: Arc<Self>, loaded: Loaded) {
        let lost = self.lock().loaded(loaded, self.around.worker.now_ms());
        if lost > 0 {
            tracing::error!("{lost} delayed messages are not on disk, where they should be");
        }
    }

    fn spilled(self: Arc<Self>, _: QueueId, _: Vec<Run>) {
        unreachable!("nothing was asked to be spilled");
    }
}

/// Told when more can leave memory.
impl Waiter for Delays {
    fn notify(self: Arc<Self>) {
        self.lock().written();
    }
}

/// A bucket whose first message is being read.
struct Unknown {
    delays: Arc<Delays>,
    place: Place,
}

impl ColdTarget for Unknown {
    fn loaded(self: Arc<Self>, loaded: Loaded) {
        // What cannot be read has its turn at once: then it is tried again.
        let due_ms = loaded.runs.first().map_or(0, |run| envelope::due_ms(&run.record(0)));
        loaded.runs.into_iter().for_each(Run::settle);
        self.delays.lock().found(self.place, due_ms);
    }

    fn spilled(self: Arc<Self>, _: QueueId, _: Vec<Run>) {
        unreachable!("nothing was asked to be spilled");
    }
}
