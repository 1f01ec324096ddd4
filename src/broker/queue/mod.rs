//! A queue: what waits in it, who consumes from it, and what they have not settled.
//!
//! [`Queue`] is the shell: it locks the [`QueueState`], lets it work, and asks the store and wakes tasks for it once the
//! lock is released.
//! A lock is held for a few steps per run, never across an await and never two queues' at once.

mod cold;
mod consumers;
mod disk;
mod effects;
mod leaving;
pub mod limiter;
mod listing;
#[cfg(test)]
mod model_tests;
mod policies;
mod ready;
mod state;
mod timeout;

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use amq_protocol::types::FieldTable;

pub use self::consumers::{ConsumerKey, NewConsumer};
pub use self::leaving::Leaving;
use self::limiter::ChannelLimiter;
pub use self::listing::{ConsumerEntry, QueueFigures};
use self::state::QueueState;
pub use self::state::{HowReturned, Returned};
use crate::broker::ConnectionId;
use crate::broker::outbox::{Outbox, Wakes};
use crate::broker::policy::AppliedPolicies;
use crate::error::Fault;
use crate::storage::Epoch;
pub use crate::storage::QueueId;
use crate::storage::chunk::{Chunk, Run};
use crate::storage::store::{RecoveredQueue, Store};

static NEXT_QUEUE_ID: AtomicU64 = AtomicU64::new(1);

/// What a client asked for when it declared the queue; does not change while the queue lives.
#[derive(Clone, Debug)]
pub struct QueueDefinition {
    pub vhost: Arc<str>,
    pub name: Arc<str>,
    pub durable: bool,
    pub auto_delete: bool,
    /// The connection that alone may use the queue and with which it ends.
    pub exclusive_owner: Option<ConnectionId>,
    pub arguments: FieldTable,
}

pub struct Queue {
    pub id: QueueId,
    pub definition: QueueDefinition,
    dead: AtomicBool,
    /// Those that apply; off the hot path.
    policies: Mutex<AppliedPolicies>,
    state: Mutex<QueueState>,
    store: Option<Arc<Store>>,
    this: Weak<Queue>,
}

/// The state, locked. What it wants of the store is asked for when it is unlocked.
struct Locked<'a> {
    queue: &'a Queue,
    /// There until dropped.
    state: Option<MutexGuard<'a, QueueState>>,
}

impl Deref for Locked<'_> {
    type Target = QueueState;

    fn deref(&self) -> &QueueState {
        self.state.as_ref().expect("locked until dropped")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut QueueState {
        self.state.as_mut().expect("locked until dropped")
    }
}

impl Locked<'_> {
    fn unlock(&mut self) {
        let Some(mut state) = self.state.take().filter(|state| !state.effects.is_empty()) else { return };
        let effects = std::mem::take(&mut state.effects);
        drop(state);
        if let (Some(queue), Some(store)) = (self.queue.this.upgrade(), &self.queue.store) {
            effects.carry_out(&queue, store);
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.unlock();
        #[cfg(test)]
        crate::storage::stepped::unlocked();
    }
}

/// How much a queue holds back its publishers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes of ready messages.
    pub ready_bytes: u64,
    /// Bytes that ever left the queue.
    pub drained_bytes: u64,
    /// Whether it has a consumer that would take more if its socket did, and none on the publisher's own connection,
    /// which perhaps writes all before it reads.
    pub held_by_socket: bool,
}

/// What became of messages that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// Bytes that are ready now.
    pub ready_bytes: u64,
    /// The epoch with which they are kept; none if none of them is to be.
    pub epoch: Epoch,
}

/// The answer to `basic.get`.
#[derive(Debug)]
pub enum Got {
    /// A message, and how many remain ready.
    Message(Run, u32),
    Empty,
    /// The message at the front has to be read from disk first.
    Loading,
}

/// What a paused publisher waits for: either of these, or that the queue is dead or without consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relief {
    /// At most so many bytes are ready.
    pub ready_bytes: u64,
    /// So many bytes have left the queue since it was declared.
    pub drained_bytes: u64,
}

impl Queue {
    pub fn new(definition: QueueDefinition) -> Arc<Queue> {
        Queue::bounded(definition, u64::MAX)
    }

    /// A queue that drops what comes while it has `max_ready_bytes` ready: for direct replies, which are not kept for a
    /// requester who does not read them.
    pub fn bounded(definition: QueueDefinition, max_ready_bytes: u64) -> Arc<Queue> {
        let id = Queue::new_id();
        Arc::new_cyclic(|this| Queue {
            id,
            definition,
            dead: AtomicBool::new(false),
            policies: Mutex::default(),
            state: Mutex::new(QueueState::new(this.clone(), id, max_ready_bytes)),
            store: None,
            this: this.clone(),
        })
    }

    /// A queue whose messages may leave memory; what happens to it is logged under this id if it is durable, and not
    /// exclusive.
    pub fn with_store(definition: QueueDefinition, id: QueueId, store: &Arc<Store>) -> Arc<Queue> {
        Queue::recovered(definition, id, store, &RecoveredQueue::default())
    }

    /// As [`with_store`](Queue::with_store), with what waits in it on disk.
    pub fn recovered(
        definition: QueueDefinition,
        id: QueueId,
        store: &Arc<Store>,
        recovered: &RecoveredQueue,
    ) -> Arc<Queue> {
        let is_durable = definition.durable && definition.exclusive_owner.is_none();
        Arc::new_cyclic(|this| {
            let mut state = QueueState::new(this.clone(), id, u64::MAX).with_store(store.clone(), is_durable);
            state.recover(recovered);
            Queue {
                id,
                definition,
                dead: AtomicBool::new(false),
                policies: Mutex::default(),
                state: Mutex::new(state),
                store: Some(store.clone()),
                this: this.clone(),
            }
        })
    }

    /// An id that no queue has.
    pub fn new_id() -> QueueId {
        QueueId(NEXT_QUEUE_ID.fetch_add(1, Ordering::Relaxed))
    }

    /// From now on every [new id](Queue::new_id) is at least this one: those below may be known on disk.
    pub fn raise_ids(next: u64) {
        NEXT_QUEUE_ID.fetch_max(next, Ordering::Relaxed);
    }

    fn lock(&self) -> Locked<'_> {
        let state = self.state.lock().expect("a queue in an impossible state is not used any further");
        Locked { queue: self, state: Some(state) }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.definition.name
    }

    /// `queue 'q' in vhost '/'`, as texts name it.
    fn described(&self) -> String {
        format!("queue '{}' in vhost '{}'", self.definition.name, self.definition.vhost)
    }

    /// Whether the queue has been deleted. Once true it stays true, and nothing more is taken in.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Ready messages and consumers, as `queue.declare-ok` reports them.
    pub fn counts(&self) -> (u32, u32) {
        let state = self.lock();
        (u32::try_from(state.ready().messages()).unwrap_or(u32::MAX), state.consumers().count())
    }

    /// Messages delivered (or on their way) and not settled.
    pub fn unacked(&self) -> u64 {
        self.lock().unacked()
    }

    /// Takes all messages of a chunk in, at the tail. A dead queue drops them: it was deleted after they were routed.
    pub fn enqueue(&self, chunk: &Arc<Chunk>, wakes: &mut Wakes) -> Enqueued {
        let mut state = self.lock();
        let epoch = state.enqueue(chunk, wakes);
        Enqueued { ready_bytes: state.ready().bytes(), epoch }
    }

    /// Takes the message at the front for `basic.get`. If it is on disk, `outbox` is notified when to ask again.
    pub fn get(&self, no_ack: bool, outbox: &Arc<Outbox>, wakes: &mut Wakes) -> Got {
        let mut state = self.lock();
        match state.get(no_ack, wakes) {
            Some(run) => Got::Message(run, u32::try_from(state.ready().messages()).unwrap_or(u32::MAX)),
            None => state.got_none(outbox),
        }
    }

    /// Starts a consumer, or refuses: 403 if the queue has an exclusive one, or has any and this is to be exclusive;
    /// 404 if the queue has been deleted meanwhile.
    pub fn consume(&self, new: NewConsumer, wakes: &mut Wakes) -> Result<ConsumerKey, Fault> {
        let mut state = self.lock();
        if state.is_dead() {
            return Err(Fault::not_found(format!("no {}", self.described())));
        }
        let exclusive_now = state.consumers().iter().any(|c| c.new.exclusive);
        if exclusive_now || (new.exclusive && state.consumers().count() > 0) {
            return Err(Fault::access_refused(format!("{} in exclusive use", self.described())));
        }
        Ok(state.add_consumer(new, wakes))
    }

    /// Removes consumers and takes back messages, each to its original position, in one step. `returned` is called
    /// when the consumers have been removed, so that it can gather what was assigned to them up to the last moment.
    /// Returns whether the queue has thereby ended (auto-delete): the caller takes it out of its virtual host.
    #[must_use]
    pub fn release(
        &self,
        removed: &[ConsumerKey],
        returned: impl FnOnce() -> Vec<Returned>,
        wakes: &mut Wakes,
    ) -> bool {
        let mut state = self.lock();
        state.release(removed, returned, wakes);
        if removed.is_empty() || !self.definition.auto_delete || !state.is_deserted() || state.is_dead() {
            return false;
        }
        let remains = state.kill(wakes);
        self.dead.store(true, Ordering::Release);
        drop(state);
        drop(remains);
        true
    }

    /// A consumer's connection has written `bytes` of records that were assigned to it. `settled` are the positions,
    /// as first and end, of durable ones among them that thereby are settled, because they need no acknowledgement.
    pub fn sent(&self, consumer: ConsumerKey, bytes: usize, settled: &[(u64, u64)], wakes: &mut Wakes) {
        self.lock().sent(consumer, bytes, settled, wakes);
    }

    /// Deliveries were acknowledged, or rejected for good; the consumer is `None` for `basic.get`. Returns the epoch
    /// after which none of them comes back.
    pub fn settle(&self, settled: impl IntoIterator<Item = (Option<ConsumerKey>, Run)>, wakes: &mut Wakes) -> Epoch {
        self.lock().settle(settled, wakes)
    }

    /// Lets consumers that a channel's limit held back go on.
    pub fn limit_lifted(&self, limiter: &Arc<ChannelLimiter>, wakes: &mut Wakes) {
        self.lock().limit_lifted(limiter, wakes);
    }

    /// Drops all ready messages and returns how many they were, and the epoch after which none of them comes back.
    /// Unsettled deliveries are left alone.
    pub fn purge(&self, wakes: &mut Wakes) -> (u32, Epoch) {
        let (purged, epoch) = self.lock().purge(wakes);
        (u32::try_from(purged.messages()).unwrap_or(u32::MAX), epoch)
    }

    /// Marks the queue dead under its lock, cancels its consumers and drops its messages.
    /// `if_empty` is checked before `if_unused`. Returns how many messages were ready, or `None` if the queue
    /// was dead already. The caller takes it out of the virtual host afterwards.
    pub fn kill(&self, if_unused: bool, if_empty: bool) -> Result<Option<u32>, Fault> {
        let mut wakes = Wakes::default();
        let mut state = self.lock();
        if state.is_dead() {
            return Ok(None);
        }
        if if_empty && !state.ready().is_empty() {
            return Err(Fault::precondition_failed(format!("{} not empty", self.described())));
        }
        if if_unused && state.consumers().count() > 0 {
            return Err(Fault::precondition_failed(format!("{} in use", self.described())));
        }
        let remains = state.kill(&mut wakes);
        self.dead.store(true, Ordering::Release);
        drop(state);
        Ok(Some(u32::try_from(remains.messages()).unwrap_or(u32::MAX)))
    }

    /// Bytes of ready messages that are in memory.
    pub fn resident_bytes(&self) -> u64 {
        self.lock().ready().head_bytes()
    }

    /// How much the queue should hold back a publisher on connection `publisher`.
    pub fn pressure(&self, publisher: ConnectionId) -> Pressure {
        let state = self.lock();
        let consumers = || state.consumers().iter();
        Pressure {
            ready_bytes: state.ready().bytes(),
            drained_bytes: state.drained_bytes(),
            held_by_socket: consumers().any(|c| c.is_held_by_socket())
                && consumers().all(|c| c.new.connection != publisher),
        }
    }

    /// Whether a publisher that waits for relief has waited long enough.
    pub fn is_relieved(&self, until: Relief) -> bool {
        self.lock().is_relieved(until)
    }

    /// Has `outbox` notified once the queue is relieved. Returns false if it is so already.
    pub fn pause_publisher(&self, outbox: &Arc<Outbox>, until: Relief) -> bool {
        let mut state = self.lock();
        let pauses = !state.is_relieved(until);
        if pauses {
            state.pause_publisher(outbox, until);
        }
        pauses
    }
}
