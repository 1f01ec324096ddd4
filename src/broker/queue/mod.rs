//! A queue: what waits in it, who consumes from it, and what they have not settled.
//!
//! [`Queue`] is the shell: it locks the [`QueueState`], lets it work, and wakes tasks once the lock is released.
//! A lock is held for a few steps per run, never across an await and never two queues' at once.

mod consumers;
pub mod limiter;
#[cfg(test)]
mod model_tests;
mod ready;
mod state;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use amq_protocol::types::FieldTable;

pub use self::consumers::{ConsumerKey, NewConsumer};
use self::limiter::ChannelLimiter;
use self::state::QueueState;
pub use self::state::{HowReturned, Returned};
pub use crate::storage::QueueId;
use crate::broker::ConnectionId;
use crate::broker::outbox::{Outbox, Wakes};
use crate::error::Fault;
use crate::storage::chunk::{Chunk, Run};

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
    state: Mutex<QueueState>,
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
        Arc::new_cyclic(|queue| Queue {
            id: QueueId(NEXT_QUEUE_ID.fetch_add(1, Ordering::Relaxed)),
            definition,
            dead: AtomicBool::new(false),
            state: Mutex::new(QueueState::new(queue.clone(), max_ready_bytes)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().expect("a queue in an impossible state is not used any further")
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
    /// Returns how many bytes are ready then.
    pub fn enqueue(&self, chunk: &Arc<Chunk>, wakes: &mut Wakes) -> u64 {
        let mut state = self.lock();
        state.enqueue(chunk, wakes);
        state.ready().bytes()
    }

    /// Takes the message at the front for `basic.get`; with it the number that remain ready.
    pub fn get(&self, no_ack: bool, wakes: &mut Wakes) -> Option<(Run, u32)> {
        let mut state = self.lock();
        let run = state.get(no_ack, wakes)?;
        Some((run, u32::try_from(state.ready().messages()).unwrap_or(u32::MAX)))
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

    /// A consumer's connection has written `bytes` of records that were assigned to it.
    pub fn sent(&self, consumer: ConsumerKey, bytes: usize, wakes: &mut Wakes) {
        self.lock().sent(consumer, bytes, wakes);
    }

    /// Deliveries were acknowledged, or rejected for good: so many of each consumer, `None` for `basic.get`.
    pub fn settle(&self, settled: impl IntoIterator<Item = (Option<ConsumerKey>, u32)>, wakes: &mut Wakes) {
        self.lock().settle(settled, wakes);
    }

    /// Lets consumers that a channel's limit held back go on.
    pub fn limit_lifted(&self, limiter: &Arc<ChannelLimiter>, wakes: &mut Wakes) {
        self.lock().limit_lifted(limiter, wakes);
    }

    /// Drops all ready messages and returns how many they were. Unsettled deliveries are left alone.
    pub fn purge(&self, wakes: &mut Wakes) -> u32 {
        let purged = self.lock().purge(wakes);
        u32::try_from(purged.messages()).unwrap_or(u32::MAX)
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
