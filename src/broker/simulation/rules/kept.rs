//! Messages as the disk has them, and the states that epochs leave behind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model_testing::Random;
use crate::storage::chunk::{OpenChunk, Run};
use crate::storage::record::{Record, append_prefix, flags};
use crate::storage::stepped::Taken;
use crate::storage::{Epoch, QueueId};
use crate::wire::properties::PropertiesView;
use crate::wire::table::{self, ValueView};

/// The lane and the position.
pub type Place = (QueueId, u64);

/// A message that waits, or is with somebody who has not settled it.
#[derive(Clone, PartialEq)]
pub struct Kept {
    pub id: u64,
    pub record: Arc<[u8]>,
    /// When it expires; `u64::MAX` if it does not.
    pub deadline_ms: u64,
    pub returns: u32,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Kept { id, deadline_ms, returns, .. } = self;
        write!(f, "{id}{{{returns} returns, until {deadline_ms}, {:?}}}", self.deaths())
    }
}

pub type State = BTreeMap<Place, Kept>;

/// How often a message has died in a queue for a reason, the latest first.
pub type Deaths = Vec<(String, String, i64)>;

pub fn id_of(record: &Record<'_>) -> u64 {
    let id = u64::from_le_bytes(*record.body().first_chunk().expect("an id"));
    assert!(record.body() == body_of(id), "the body of {id} is not what was published");
    id
}

impl Kept {
    /// Of a time to live that began when the message was published.
    pub fn new(record: &Record<'_>, ttl_ms: Option<u64>, time_ms: u64, returns: u32) -> Kept {
        let own_ms = properties(record).expiration_ms().expect("a number");
        let ttl_ms = [ttl_ms, own_ms].into_iter().flatten().min();
        let deadline_ms = ttl_ms.map_or(u64::MAX, |ttl_ms| time_ms + ttl_ms);
        let bytes = [record.prefix(), record.body()].concat();
        Kept { id: id_of(record), record: bytes.into(), deadline_ms, returns }
    }

    /// Those of a run.
    pub fn of_run(run: &Run, queue: QueueId) -> Vec<(Place, Kept)> {
        let of_queue = |run: &Run| (run.deadline_ms > 0).then(|| run.deadline_ms - run.time_ms());
        let one = |(seq, record): (u64, Record<'_>)| {
            ((queue.lane(run.lane), seq), Kept::new(&record, of_queue(run), run.time_ms(), run.returns))
        };
        (run.first_seq..).zip(run.records()).map(one).collect()
    }

    pub fn record(&self) -> Record<'_> {
        Record::new(&self.record)
    }

    /// As its header tells them.
    pub fn deaths(&self) -> Deaths {
        deaths(&self.record())
    }
}

pub fn properties<'a>(record: &Record<'a>) -> PropertiesView<'a> {
    PropertiesView::parse(record.properties(), 8).expect("properties can be read")
}

fn deaths(record: &Record<'_>) -> Deaths {
    let headers = properties(record).headers_bytes().unwrap_or_default();
    let Some(ValueView::Array(array)) = table::lookup(headers, b"x-death") else { return Vec::new() };
    let one = |value| {
        let ValueView::Table(death) = value else { panic!("a death is a table") };
        let text = |key: &[u8]| match table::lookup(death, key) {
            Some(ValueView::LongString(text)) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("{other:?}"),
        };
        let count = table::lookup(death, b"count").and_then(|count| count.as_integer()).expect("a count");
        (text(b"queue"), text(b"reason"), count)
    };
    table::values(array).map(one).collect()
}

fn body_of(id: u64) -> Vec<u8> {
    let more = match id % 16 {
        0..10 => 7,
        10..12 => (id * 131 % 300) as usize,
        _ => 1100,
    };
    [&id.to_le_bytes()[..], &vec![id as u8; more]].concat()
}

/// A message as it is published.
#[derive(Clone, Debug)]
pub struct Published {
    pub id: u64,
    pub persistent: bool,
    pub priority: Option<u8>,
    pub expiration: Option<u64>,
}

impl Published {
    pub fn random(id: u64, random: &mut Random) -> Published {
        let priority = if random.one_in(3) { None } else { Some(random.pick(&[0, 1, 2, 5, 255])) };
        let expiration = if random.one_in(5) { Some(random.pick(&[0, 3, 40, 5000])) } else { None };
        Published { id, persistent: !random.one_in(8), priority, expiration }
    }

    pub fn push(&self, open: &mut OpenChunk, key: &str) {
        const PRIORITY: u16 = 1 << 11;
        const EXPIRATION: u16 = 1 << 8;
        let mut of_record = if self.persistent { flags::PERSISTENT } else { 0 };
        let (mut of_wire, mut values) = (0u16, Vec::new());
        if let Some(priority) = self.priority {
            (of_record, of_wire) = (flags::with_priority(of_record, priority), of_wire | PRIORITY);
            values.push(priority);
        }
        if let Some(expiration) = self.expiration {
            (of_record, of_wire) = (of_record | flags::EXPIRATION, of_wire | EXPIRATION);
            table::push_short_string(&mut values, expiration.to_string().as_bytes());
        }
        let (properties, body) = ([&of_wire.to_be_bytes()[..], &values].concat(), body_of(self.id));
        let mut prefix = Vec::new();
        append_prefix(&mut prefix, of_record, b"", key.as_bytes(), &properties, body.len() as u32);
        open.push(&prefix, &body);
    }
}

/// What there was at the end of each epoch since the last start.
#[derive(Default)]
pub struct States {
    /// With what was found at the start as the first.
    ends: VecDeque<(Epoch, Arc<State>)>,
}

impl States {
    pub fn starting(epoch: Epoch, found: State) -> States {
        States { ends: [(epoch, Arc::new(found))].into() }
    }

    pub fn last(&self) -> &State {
        &self.ends.back().expect("there is that of the start").1
    }

    pub fn before_last(&self) -> Arc<State> {
        self.ends[self.ends.len() - 2].1.clone()
    }

    pub fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.ends.iter().map(|(epoch, _)| *epoch)
    }

    /// An epoch is written. Returns the state that it leaves.
    pub fn add(&mut self, taken: &Taken) -> Arc<State> {
        let mut state = self.last().clone();
        for entering in &taken.enqueued {
            let record = Record::new(&entering.record);
            let kept = Kept::new(&record, entering.ttl_ms, entering.time_ms, 0);
            let before = state.insert((entering.queue, entering.seq), kept);
            assert!(before.is_none(), "{:?} is at {} of {}", before, entering.seq, entering.queue);
        }
        for &(lane, first, end) in &taken.settled {
            (first..end).for_each(|seq| drop(state.remove(&(lane, seq))));
        }
        for &(lane, first, end, returns) in &taken.returned {
            state.range_mut((lane, first)..(lane, end)).for_each(|(_, kept)| kept.returns = returns);
        }
        let state = Arc::new(state);
        self.ends.push_back((taken.epoch, state.clone()));
        state
    }

    /// The epoch that was found, which must be one from `kept` on.
    pub fn found(&self, kept: Epoch, found: &State) -> Epoch {
        let mut candidates = self.ends.iter().filter(|(epoch, _)| *epoch >= kept);
        let matching = candidates.find(|(_, state)| **state == *found);
        let Some((epoch, _)) = matching else {
            panic!("with {kept:?} kept, a crash has left\n{found:?}\nof\n{:?}", self.last())
        };
        *epoch
    }
}
