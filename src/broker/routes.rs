//! Where a connection's publishes go: cached routes, and the batch of messages on their way to queues.
//!
//! Consecutive messages for the same queues are gathered in one open chunk per set of target queues and handed
//! over in one step. Open chunks never share a queue, so whatever the order in which they are closed, each queue
//! receives its messages in the order in which they were published.

use std::sync::Arc;

use hashbrown::hash_table::HashTable;
use hashbrown::{DefaultHashBuilder, HashMap};
use smallvec::SmallVec;
use std::hash::BuildHasher;

use crate::broker::dedup::Admission;
use crate::broker::exchange::Exchange;
use crate::broker::outbox::Wakes;
use crate::broker::queue::{Enqueued, Queue, QueueId};
use crate::broker::router::Route;
use crate::storage::Epoch;
use crate::storage::chunk::{Chunk, OpenChunk, Persistence};
use crate::storage::log::Hold;
use crate::storage::store::Store;

/// Routes that a connection remembers; one more and it starts anew.
const ROUTES_MAX: usize = 4096;

/// Under this key is the one route of an exchange that draws, whatever the routing keys.
const ANY_KEY: &[u8] = b"";

/// The queues of one or more routes: an index into [`Routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetId(u32);

struct Target {
    queues: SmallVec<[Arc<Queue>; 1]>,
    /// Its open chunk in the batch.
    open: Option<u32>,
}

/// A cached route of (exchange, routing key).
struct Entry {
    hash: u64,
    key: Box<[u8]>,
    exchange: Arc<Exchange>,
    route: Route,
    target: TargetId,
    /// Only messages with a delay go to `target`: the exchange holds them back. Where others go is not known.
    is_held_back: bool,
    /// If there are any, each message goes to one of these and not to `target`.
    one_of: Option<Arc<OneOf>>,
    /// The batch in which the route was last found to be current.
    checked_in: u64,
}

/// Targets of which each message goes to one.
pub struct OneOf {
    exchange: Arc<Exchange>,
    targets: Box<[TargetId]>,
}

impl OneOf {
    /// Where one message goes.
    pub fn draw(&self) -> TargetId {
        self.targets[self.exchange.draw(self.targets.len())]
    }
}

/// What is known of where messages go.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    To(TargetId),
    /// Where those with a delay go.
    HeldBack(TargetId),
}

/// What routing a message gave.
pub struct Routed {
    pub target: TargetId,
    pub exchange: Arc<Exchange>,
}

#[derive(Default)]
pub struct Routes {
    hasher: DefaultHashBuilder,
    entries: HashTable<Entry>,
    targets: Vec<Target>,
    by_queues: HashMap<SmallVec<[QueueId; 2]>, TargetId>,
    /// Counts batches. What was read before a batch began was sent before, so a route need be current only once in it.
    batch: u64,
    /// Where the durable ones of these queues log what they take in.
    store: Option<Arc<Store>>,
}

impl Routes {
    pub fn new(store: Option<Arc<Store>>) -> Routes {
        Routes { store, ..Routes::default() }
    }

    /// The cached route, if it stands and is the same for all messages.
    #[inline]
    pub fn find(&mut self, exchange: &[u8], routing_key: &[u8]) -> Option<TargetId> {
        match self.look_up(exchange, routing_key)? {
            Known::To(target) => Some(target),
            Known::HeldBack(_) => None,
        }
    }

    /// Where messages with a delay go that the exchange holds back, if that is known.
    pub fn find_held_back(&mut self, exchange: &[u8], routing_key: &[u8]) -> Option<TargetId> {
        match self.look_up(exchange, routing_key)? {
            Known::To(_) => None,
            Known::HeldBack(target) => Some(target),
        }
    }

    /// What is known of where messages go, and stands.
    #[inline]
    pub fn look_up(&mut self, exchange: &[u8], routing_key: &[u8]) -> Option<Known> {
        let entry = self.current(exchange, routing_key).filter(|entry| entry.one_of.is_none())?;
        Some(if entry.is_held_back { Known::HeldBack(entry.target) } else { Known::To(entry.target) })
    }

    /// From what to draw where a message to this exchange goes, if that is known.
    pub fn one_of(&mut self, exchange: &[u8]) -> Option<&Arc<OneOf>> {
        self.current(exchange, ANY_KEY)?.one_of.as_ref()
    }

    #[inline]
    fn current(&mut self, exchange: &[u8], routing_key: &[u8]) -> Option<&Entry> {
        let hash = self.hasher.hash_one((exchange, routing_key));
        let batch = self.batch;
        let entry =
            self.entries.find_mut(hash, |e| *e.key == *routing_key && e.exchange.name.as_bytes() == exchange)?;
        if entry.checked_in != batch {
            if !entry.route.is_current() {
                return None;
            }
            entry.checked_in = batch;
        }
        Some(entry)
    }

    /// Remembers a route, if it may be remembered, and gives its target.
    pub fn insert(&mut self, exchange: &Arc<Exchange>, routing_key: &[u8], route: Route) -> TargetId {
        let target = self.target(&route.queues);
        let one_of = self.one_of_queues(exchange, &route.one_of);
        let is_held_back = route.is_held_back_here();
        if route.cacheable || one_of.is_some() || is_held_back {
            let routing_key = if one_of.is_some() { ANY_KEY } else { routing_key };
            let hash = self.hasher.hash_one((exchange.name.as_bytes(), routing_key));
            let same = |e: &Entry| *e.key == *routing_key && e.exchange.name == exchange.name;
            if let Ok(stale) = self.entries.find_entry(hash, same) {
                stale.remove();
            }
            let (key, exchange) = (routing_key.into(), exchange.clone());
            let checked_in = self.batch;
            let entry = Entry { hash, key, exchange, route, target, is_held_back, one_of, checked_in };
            self.entries.insert_unique(hash, entry, |e| e.hash);
        }
        target
    }

    fn one_of_queues(&mut self, exchange: &Arc<Exchange>, queues: &[Arc<Queue>]) -> Option<Arc<OneOf>> {
        let targets: Box<[_]> = queues.iter().map(|queue| self.target(std::slice::from_ref(queue))).collect();
        (!targets.is_empty()).then(|| Arc::new(OneOf { exchange: exchange.clone(), targets }))
    }

    /// The target that stands for a set of queues.
    pub fn target(&mut self, queues: &[Arc<Queue>]) -> TargetId {
        let mut ids: SmallVec<[QueueId; 2]> = queues.iter().map(|q| q.id).collect();
        ids.sort_unstable();
        if let Some(&known) = self.by_queues.get(&ids) {
            return known;
        }
        let id = TargetId(self.targets.len() as u32);
        self.targets.push(Target { queues: queues.iter().cloned().collect(), open: None });
        self.by_queues.insert(ids, id);
        id
    }

    /// The number of the batch that is being read.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    pub fn queues(&self, target: TargetId) -> &[Arc<Queue>] {
        &self.targets[target.0 as usize].queues
    }

    /// Whether some of the queues may refuse what is published to them.
    pub fn may_refuse(&self, target: TargetId) -> bool {
        self.queues(target).iter().any(|queue| queue.refuses())
    }

    /// Begins a new batch: routes are looked at again before they are used. The batch before must have been flushed.
    pub fn begin_batch(&mut self) {
        self.batch += 1;
        if self.targets.len() > ROUTES_MAX || self.entries.len() > ROUTES_MAX {
            self.forget();
        }
    }

    /// Forgets all routes, and with them the queues and exchanges that they kept alive.
    pub fn forget(&mut self) {
        debug_assert!(self.targets.iter().all(|t| t.open.is_none()));
        let store = self.store.take();
        *self = Routes { batch: self.batch + 1, store, ..Routes::default() };
    }
}

struct Bucket {
    target: TargetId,
    chunk: OpenChunk,
    /// Where each message came from, if it may be refused.
    origins: Vec<Origin>,
    may_refuse: bool,
}

/// Who published a message, to be told if it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub channel: u16,
    /// Counts the publishes of that channel from 1; 0 if nobody is to be told.
    pub number: u64,
}

/// Messages read and not yet in their queues. It belongs to the thread and is empty between two turns of a connection.
#[derive(Default)]
pub struct Batch {
    buckets: Vec<Bucket>,
    /// How many of `buckets` are in use; the others keep their buffers for later.
    open: usize,
    /// How many of these go to more than one queue.
    open_to_several: usize,
    /// The fullest queue published to since this was last taken, with its ready bytes, if it has more than
    /// [`flow_bytes`](Self::flow_bytes).
    pressed: Option<(Arc<Queue>, u64)>,
    /// Bytes published since then.
    published_bytes: u64,
    epoch: Epoch,
    /// Messages that were refused since this was last taken.
    refused: Vec<Origin>,
    /// Whether every queue may refuse, though nobody is told.
    may_refuse: bool,
    pub flow_bytes: u64,
}

/// What became of a message that was enqueued alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Not every queue has refused it.
    pub is_some: bool,
    /// With which it is kept; none if it is not to be.
    pub epoch: Epoch,
}

/// Chunks that may be open at once; one more and all are closed first.
const OPEN_CHUNKS_MAX: usize = 512;
/// Buffers kept between batches.
const KEPT_BUCKETS: usize = 128;

impl Batch {
    /// One for messages that no client publishes: who refuses them may.
    pub fn of_broker() -> Batch {
        Batch { may_refuse: true, flow_bytes: u64::MAX, ..Batch::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Whether there are many open chunks with little in each.
    pub fn is_thin(&self) -> bool {
        const THIN_BYTES: usize = 16 * 1024;
        let open = &self.buckets[..self.open];
        open.len() >= 8 && open.iter().map(|bucket| bucket.chunk.bytes()).sum::<usize>() < open.len() * THIN_BYTES
    }

    /// Whether some message on its way goes to this queue.
    pub fn goes_to(&self, queue: QueueId, routes: &Routes) -> bool {
        self.buckets[..self.open].iter().any(|bucket| routes.queues(bucket.target).iter().any(|q| q.id == queue))
    }

    /// The open chunk for a target.
    #[inline]
    pub fn chunk(&mut self, routes: &mut Routes, target: TargetId, wakes: &mut Wakes) -> &mut OpenChunk {
        if let Some(open) = routes.targets[target.0 as usize].open {
            if !self.buckets[open as usize].chunk.is_full() {
                return &mut self.buckets[open as usize].chunk;
            }
            self.flush(routes, wakes);
        }
        self.open(routes, target, wakes)
    }

    fn open(&mut self, routes: &mut Routes, target: TargetId, wakes: &mut Wakes) -> &mut OpenChunk {
        let to_several = routes.queues(target).len() > 1;
        if self.open == OPEN_CHUNKS_MAX
            || ((to_several || self.open_to_several > 0) && self.shares_a_queue(routes, target))
        {
            self.flush(routes, wakes);
        }
        let index = self.open;
        if index == self.buckets.len() {
            let (chunk, origins) = (OpenChunk::default(), Vec::new());
            self.buckets.push(Bucket { target, chunk, origins, may_refuse: false });
        }
        self.buckets[index].target = target;
        self.buckets[index].may_refuse = self.may_refuse || routes.may_refuse(target);
        routes.targets[target.0 as usize].open = Some(index as u32);
        self.open += 1;
        self.open_to_several += usize::from(to_several);
        &mut self.buckets[index].chunk
    }

    fn shares_a_queue(&self, routes: &Routes, target: TargetId) -> bool {
        let queues = routes.queues(target);
        self.buckets[..self.open]
            .iter()
            .any(|bucket| routes.queues(bucket.target).iter().any(|open| queues.iter().any(|q| q.id == open.id)))
    }

    /// Hands every open chunk to its queues.
    pub fn flush(&mut self, routes: &mut Routes, wakes: &mut Wakes) {
        for bucket in &mut self.buckets[..self.open] {
            let target = &mut routes.targets[bucket.target.0 as usize];
            target.open = None;
            self.published_bytes += bucket.chunk.bytes() as u64;
            let chunk = bucket.chunk.close();
            let _hold = hold(&routes.store, &chunk, &target.queues);
            for queue in &target.queues {
                let Enqueued { ready_bytes, epoch, refused } = queue.enqueue(&chunk, bucket.may_refuse, wakes);
                self.epoch = self.epoch.max(epoch);
                note_pressure(&mut self.pressed, self.flow_bytes, queue, ready_bytes);
                let indexes = refused.into_iter().flat_map(|(first, end)| first..end);
                self.refused.extend(indexes.filter_map(|index| bucket.origins.get(index as usize)));
            }
            bucket.origins.clear();
        }
        self.open = 0;
        self.open_to_several = 0;
        self.buckets.truncate(KEPT_BUCKETS);
    }

    /// Appends a message to the open chunk for a target.
    #[inline]
    pub fn push(
        &mut self,
        routes: &mut Routes,
        target: TargetId,
        (prefix, body): (&[u8], &[u8]),
        origin: Origin,
        wakes: &mut Wakes,
    ) {
        self.chunk(routes, target, wakes).push(prefix, body);
        if let Some(open) = routes.targets[target.0 as usize].open {
            let bucket = &mut self.buckets[open as usize];
            if bucket.may_refuse {
                bucket.origins.push(origin);
            }
        }
    }

    /// Hands over a message that has a chunk of its own, after all that were published before it.
    pub fn enqueue_alone(
        &mut self,
        routes: &mut Routes,
        target: TargetId,
        record: Vec<u8>,
        origin: Origin,
        wakes: &mut Wakes,
    ) -> Taken {
        self.flush(routes, wakes);
        self.published_bytes += record.len() as u64;
        let chunk = Chunk::of_one(record);
        let _hold = hold(&routes.store, &chunk, routes.queues(target));
        let mut taken = Taken::default();
        for queue in routes.queues(target) {
            let Enqueued { ready_bytes, epoch, refused } = queue.enqueue(&chunk, true, wakes);
            taken.epoch = taken.epoch.max(epoch);
            taken.is_some |= refused.is_empty();
            note_pressure(&mut self.pressed, self.flow_bytes, queue, ready_bytes);
            self.refused.extend((!refused.is_empty()).then_some(origin));
        }
        self.epoch = self.epoch.max(taken.epoch);
        taken
    }

    /// As [`enqueue_alone`](Self::enqueue_alone), for a message that exchanges have admitted: if some queue takes it, they
    /// remember it, in the epoch in which it is kept.
    pub fn enqueue_admitted(
        &mut self,
        routes: &mut Routes,
        target: TargetId,
        record: Vec<u8>,
        origin: Origin,
        mut admission: Admission<'_>,
        wakes: &mut Wakes,
    ) {
        let store = routes.store.clone();
        let _hold = store.as_ref().map(|store| store.log.hold());
        let taken = self.enqueue_alone(routes, target, record, origin, wakes);
        self.epoch = self.epoch.max(admission.epoch());
        if taken.is_some {
            admission.remember(taken.epoch);
        }
    }

    /// Takes the numbers of the publishes of a channel that some queue has refused, ascending.
    pub fn take_refused(&mut self, channel: u16) -> Vec<u64> {
        if self.refused.is_empty() {
            return Vec::new();
        }
        let of_channel = self.refused.extract_if(.., |origin| origin.channel == channel);
        let mut numbers: Vec<u64> = of_channel.map(|origin| origin.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Forgets what was refused and nobody asked for.
    pub fn forget_refused(&mut self) {
        self.refused.clear();
    }

    /// The epoch with which all that was flushed since it was last taken is kept; none if nothing of it is to be.
    #[inline]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes note that more than what was flushed is to be kept, or that it was flushed before.
    pub fn add_epoch(&mut self, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// The epoch with which all that was flushed since this was last asked is kept; none if nothing of it is to be.
    pub fn take_epoch(&mut self) -> Epoch {
        std::mem::take(&mut self.epoch)
    }

    /// The fullest of the queues published to since this was last asked, if it is fuller than it should be, and how many
    /// bytes were published.
    pub fn take_pressed(&mut self) -> (Option<Arc<Queue>>, u64) {
        (self.pressed.take().map(|(queue, _)| queue), std::mem::take(&mut self.published_bytes))
    }
}

/// A chunk that several queues keep is to be written once, so all of them log it in one epoch.
fn hold<'a>(store: &'a Option<Arc<Store>>, chunk: &Chunk, queues: &[Arc<Queue>]) -> Option<Hold<'a>> {
    let store = store.as_ref().filter(|_| queues.len() > 1 && chunk.persistence() != Persistence::None)?;
    let durable = queues.iter().filter(|queue| queue.definition.durable).count();
    (durable > 1).then(|| store.log.hold())
}

fn note_pressure(pressed: &mut Option<(Arc<Queue>, u64)>, flow_bytes: u64, queue: &Arc<Queue>, ready_bytes: u64) {
    let most = pressed.as_ref().map_or(flow_bytes, |(_, most)| *most);
    if ready_bytes > most {
        *pressed = Some((queue.clone(), ready_bytes));
    }
}
