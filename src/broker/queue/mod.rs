//! A queue: what waits in it, who consumes from it, and what they have not settled.
//!
//! [`Queue`] is the shell: it locks the [`QueueState`], lets it work, and asks the store and wakes tasks for it once the
//! lock is released.
//! A lock is held for a few steps per run, never across an await and never two queues' at once.

pub(in crate::broker) mod cold;
mod consumers;
mod dedup;
mod delayed;
mod disk;
mod dying;
mod effects;
mod expiry;
mod lanes;
mod leaving;
pub mod limiter;
mod listing;
#[cfg(test)]
mod model_tests;
mod overflow;
mod policies;
pub(in crate::broker) mod ready;
mod rules;
mod state;
mod timeout;

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};

use amq_protocol::types::FieldTable;

pub use self::consumers::{ConsumerKey, NewConsumer};
pub use self::leaving::Leaving;
use self::limiter::ChannelLimiter;
pub use self::listing::{ConsumerEntry, QueueFigures};
pub(in crate::broker) use self::rules::Dying;
pub use self::state::{HowReturned, HowSettled, Returned};
use self::state::{QueueState, Remains};
use crate::broker::ConnectionId;
use crate::broker::arguments::QueueType;
use crate::broker::definitions::Definition;
use crate::broker::delay::Delays;
use crate::broker::outbox::{Outbox, Wakes};
use crate::broker::policy::AppliedPolicies;
use crate::broker::policy::effective::{Effective, Redeclare, effective};
use crate::broker::vhost::VHost;
use crate::broker::worker::Worker;
use crate::error::Fault;
use crate::storage::Epoch;
pub use crate::storage::QueueId;
use crate::storage::chunk::{Chunk, Run};
use crate::storage::store::{RecoveredQueue, Store};

static NEXT_QUEUE_ID: AtomicU64 = AtomicU64::new(1);

/// What a client asked for when it declared the queue.
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
    /// As it was declared first. Its arguments may have changed: see [`Queue::arguments`].
    pub definition: QueueDefinition,
    /// In place of those, once it was declared again with others and a policy let them replace the first.
    redeclared: RwLock<Option<Arc<FieldTable>>>,
    dead: AtomicBool,
    /// Those that apply; off the hot path.
    policies: Mutex<AppliedPolicies>,
    state: Mutex<QueueState>,
    /// Whether publishes may be refused now.
    refuses: AtomicBool,
    /// See [`Queue::consumer_timeout_ms`].
    consumer_timeout_ms: AtomicU64,
    /// Whether messages with a delay are held back now.
    holds_back: AtomicBool,
    /// What is held back, if something ever was.
    delays: OnceLock<Arc<Delays>>,
    store: Option<Arc<Store>>,
    worker: Arc<Worker>,
    vhost: Weak<VHost>,
    this: Weak<Queue>,
}

/// What a queue belongs to.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// Where its messages may be kept that are durable, or too many for memory.
    pub store: Option<Arc<Store>>,
    /// Who attends to it.
    pub worker: Arc<Worker>,
    /// Where its dead letters are routed.
    pub vhost: Weak<VHost>,
}

/// What arguments and policies come to.
struct Settings {
    effective: Effective,
    /// Whether deliveries that fail are counted: where there is a limit, and in quorum queues, which tell the count.
    counts_returns: bool,
}

impl Settings {
    fn of(arguments: &FieldTable, policies: &AppliedPolicies) -> Settings {
        let effective = effective(arguments, policies);
        let counts_returns = effective.delivery_limit.is_some() || QueueType::of(arguments) == QueueType::Quorum;
        Settings { effective, counts_returns }
    }
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
        if let Some(queue) = self.queue.this.upgrade() {
            effects.carry_out(&queue, &self.queue.worker, self.queue.store.as_deref());
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enqueued {
    /// Bytes that are ready now.
    pub ready_bytes: u64,
    /// The epoch with which they are kept; none if none of them is to be.
    pub epoch: Epoch,
    /// Which of them were refused, by their numbers in the chunk: first and end, ascending.
    pub refused: Vec<(u32, u32)>,
}

impl Enqueued {
    fn refuse(&mut self, index: u32) {
        match self.refused.last_mut() {
            Some((_, end)) if *end == index => *end += 1,
            _ => self.refused.push((index, index + 1)),
        }
    }
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
    /// A queue of which nothing is durable, and whose dead letters go nowhere.
    pub fn new(definition: QueueDefinition) -> Arc<Queue> {
        Queue::build(definition, Queue::new_id(), Surroundings::default(), u64::MAX, [])
    }

    /// A queue that drops what comes while it has `max_ready_bytes` ready: for direct replies, which are not kept for a
    /// requester who does not read them.
    pub fn bounded(definition: QueueDefinition, max_ready_bytes: u64) -> Arc<Queue> {
        Queue::build(definition, Queue::new_id(), Surroundings::default(), max_ready_bytes, [])
    }

    /// A queue whose messages may leave memory; what happens to it is logged under this id if it is durable, and not
    /// exclusive.
    #[cfg(test)]
    pub fn with_store(definition: QueueDefinition, id: QueueId, store: &Arc<Store>) -> Arc<Queue> {
        let around = Surroundings { store: Some(store.clone()), ..Surroundings::default() };
        Queue::recovered(definition, id, around, [])
    }

    /// A queue with what waits in it on disk, level by level.
    pub fn recovered<'r>(
        definition: QueueDefinition,
        id: QueueId,
        around: Surroundings,
        recovered: impl IntoIterator<Item = (u8, &'r RecoveredQueue)>,
    ) -> Arc<Queue> {
        Queue::build(definition, id, around, u64::MAX, recovered)
    }

    fn build<'r>(
        definition: QueueDefinition,
        id: QueueId,
        around: Surroundings,
        max_ready_bytes: u64,
        recovered: impl IntoIterator<Item = (u8, &'r RecoveredQueue)>,
    ) -> Arc<Queue> {
        let Surroundings { store, worker, vhost } = around;
        let is_durable = definition.durable && definition.exclusive_owner.is_none();
        let settings = Settings::of(&definition.arguments, &AppliedPolicies::default());
        Arc::new_cyclic(|this| {
            let name_bytes = definition.name.len();
            let mut state = QueueState::new(this.clone(), id, name_bytes, worker.clone(), max_ready_bytes);
            if let Some(store) = &store {
                state = state.with_store(store.clone(), is_durable);
            }
            for (level, found) in recovered {
                state.recover(level, found);
            }
            let consumer_timeout_ms = AtomicU64::new(timeout::encoded(settings.effective.consumer_timeout_ms));
            state.set_effective(settings.effective, settings.counts_returns);
            Queue {
                id,
                definition,
                redeclared: RwLock::default(),
                dead: AtomicBool::new(false),
                policies: Mutex::default(),
                refuses: AtomicBool::new(state.refuses()),
                consumer_timeout_ms,
                state: Mutex::new(state),
                // By policies only, which are applied later.
                holds_back: AtomicBool::new(false),
                delays: OnceLock::new(),
                store,
                worker,
                vhost,
                this: this.clone(),
            }
        })
    }

    /// Does as arguments and policies now say.
    fn follow_settings(&self) {
        let Settings { effective, counts_returns } = Settings::of(&self.arguments(), &self.applied_policies());
        self.consumer_timeout_ms.store(timeout::encoded(effective.consumer_timeout_ms), Ordering::Relaxed);
        self.holds_back.store(effective.delayed_message, Ordering::Release);
        let mut state = self.lock();
        state.set_effective(effective, counts_returns);
        self.refuses.store(state.refuses(), Ordering::Release);
        let mut wakes = Wakes::default();
        state.look_at_limits(&mut wakes);
        state.assign(&mut wakes);
    }

    /// Does what is due for what was found at start, once everything else is there: what expires and what is too many would
    /// wait for somebody to use the queue.
    pub(in crate::broker) fn resume(&self) {
        let mut state = self.lock();
        if state.rules.is_some() {
            let mut wakes = Wakes::default();
            state.look_at_limits(&mut wakes);
            state.assign(&mut wakes);
        }
    }

    /// The arguments that hold now.
    pub fn arguments(&self) -> Arc<FieldTable> {
        let redeclared = self.redeclared.read().unwrap_or_else(PoisonError::into_inner);
        redeclared.clone().unwrap_or_else(|| Arc::new(self.definition.arguments.clone()))
    }

    /// What the queue is now.
    pub fn definition_now(&self) -> QueueDefinition {
        QueueDefinition { arguments: FieldTable::clone(&self.arguments()), ..self.definition.clone() }
    }

    /// Replaces the arguments, which have been validated. Nothing that waits is lost: what is in levels of priority that the
    /// queue does not have any more stays there until it is consumed.
    pub(in crate::broker) fn replace_arguments(&self, arguments: FieldTable) {
        *self.redeclared.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(arguments));
        let state = self.lock();
        // Under the lock, since its row goes with the queue.
        if let Some(log) = state.log() {
            log.define(vec![Definition::queue(self).put()]);
        }
        drop(state);
        self.follow_settings();
    }

    /// What a declaration with other arguments comes to.
    pub fn redeclare(&self) -> Redeclare {
        self.applied_policies().policy.and_then(|policy| policy.settings.redeclare).unwrap_or_default()
    }

    /// Whether publishes may be refused, so that who publishes should know which was which.
    #[inline]
    pub fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Acquire)
    }

    /// Where its dead letters are routed, if that is still there.
    pub fn vhost(&self) -> Option<Arc<VHost>> {
        self.vhost.upgrade()
    }

    pub fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
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

    /// Ready messages and consumers, as `queue.declare-ok` reports them. To be asked is to be used.
    pub fn counts(&self) -> (u32, u32) {
        let mut state = self.lock();
        state.note_use();
        (u32::try_from(state.lanes().messages()).unwrap_or(u32::MAX), state.consumers().count())
    }

    /// Messages delivered (or on their way) and not settled.
    pub fn unacked(&self) -> u64 {
        self.lock().unacked()
    }

    /// Takes all messages of a chunk in, at the tail. A dead queue drops them: it was deleted after they were routed. With
    /// `may_refuse` some may be refused, where the queue's overflow behaviour says so; without, none is.
    pub fn enqueue(&self, chunk: &Arc<Chunk>, may_refuse: bool, wakes: &mut Wakes) -> Enqueued {
        if self.holds_back.load(Ordering::Relaxed) && chunk.has_headers() {
            return self.enqueue_delayed(chunk, may_refuse, wakes);
        }
        self.lock().enqueue(chunk, may_refuse, wakes)
    }

    /// Takes the message at the front for `basic.get`. If it is on disk, `outbox` is notified when to ask again.
    pub fn get(&self, no_ack: bool, outbox: &Arc<Outbox>, wakes: &mut Wakes) -> Got {
        let mut state = self.lock();
        state.note_use();
        match state.get(no_ack, wakes) {
            Some(run) => Got::Message(run, u32::try_from(state.lanes().messages()).unwrap_or(u32::MAX)),
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
        let is_shared = state.consumers().count() > 0 || state.consumers().is_single_active();
        if exclusive_now || (new.exclusive && is_shared) {
            return Err(Fault::access_refused(format!("{} in exclusive use", self.described())));
        }
        state.note_use();
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
        let ends = state.release(removed, returned, self.definition.auto_delete, wakes);
        if !removed.is_empty() {
            state.note_use();
        }
        if !ends {
            return false;
        }
        let remains = state.kill(wakes);
        self.dead.store(true, Ordering::Release);
        drop(state);
        drop(remains);
        self.end_delays();
        true
    }

    /// A consumer's connection has written `bytes` of records that were assigned to it. `settled` are the positions,
    /// as level, first and end, of durable ones among them that thereby are settled, because they need no
    /// acknowledgement.
    pub fn sent(&self, consumer: ConsumerKey, bytes: usize, settled: &[(u8, u64, u64)], wakes: &mut Wakes) {
        self.lock().sent(consumer, bytes, settled, wakes);
    }

    /// Deliveries were acknowledged, or rejected for good; the consumer is `None` for `basic.get`. Returns the epoch
    /// after which none of them comes back; none for what goes to the dead-letter exchange first.
    pub fn settle(
        &self,
        settled: impl IntoIterator<Item = (Option<ConsumerKey>, Run)>,
        how: HowSettled,
        wakes: &mut Wakes,
    ) -> Epoch {
        self.lock().settle(settled, how, wakes)
    }

    /// Lets consumers that a channel's limit held back go on.
    pub fn limit_lifted(&self, limiter: &Arc<ChannelLimiter>, wakes: &mut Wakes) {
        self.lock().limit_lifted(limiter, wakes);
    }

    /// Drops all ready messages and returns how many they were, and the epoch after which none of them comes back.
    /// Unsettled deliveries are left alone.
    pub fn purge(&self, wakes: &mut Wakes) -> (u32, Epoch) {
        let (purged, epoch) = self.lock().purge(wakes);
        (u32::try_from(Remains::messages(&purged)).unwrap_or(u32::MAX), epoch)
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
        if if_empty && !state.lanes().is_empty() {
            return Err(Fault::precondition_failed(format!("{} not empty", self.described())));
        }
        if if_unused && state.consumers().count() > 0 {
            return Err(Fault::precondition_failed(format!("{} in use", self.described())));
        }
        let remains = state.kill(&mut wakes);
        self.dead.store(true, Ordering::Release);
        drop(state);
        self.end_delays();
        Ok(Some(u32::try_from(remains.messages()).unwrap_or(u32::MAX)))
    }

    /// Bytes of ready messages that are in memory.
    pub fn resident_bytes(&self) -> u64 {
        self.lock().lanes().head_bytes()
    }

    /// How much the queue should hold back a publisher on connection `publisher`.
    pub fn pressure(&self, publisher: ConnectionId) -> Pressure {
        let state = self.lock();
        let consumers = || state.consumers().iter();
        Pressure {
            ready_bytes: state.lanes().bytes(),
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
