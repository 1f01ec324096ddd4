//! What a virtual host is besides its name.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::VHost;
use crate::broker::arguments::QueueType;
use crate::broker::definitions::Definition;

/// Kept with the virtual host. Definitions have it as `metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VHostMetadata {
    pub description: Arc<str>,
    pub tags: Vec<Arc<str>>,
    /// The type of queues that are declared without one, where they can be of it.
    pub default_queue_type: Option<QueueType>,
    pub protected_from_deletion: bool,
}

impl VHost {
    pub fn metadata(&self) -> VHostMetadata {
        self.metadata.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The row is written by whoever calls this.
    pub fn set_metadata(&self, metadata: VHostMetadata) {
        *self.metadata.write().unwrap_or_else(PoisonError::into_inner) = metadata;
    }

    pub fn default_queue_type(&self) -> Option<QueueType> {
        self.metadata.read().unwrap_or_else(PoisonError::into_inner).default_queue_type
    }

    /// Its own row.
    pub fn definition(&self) -> Definition {
        Definition::VHost { name: self.name.clone(), metadata: self.metadata() }
    }

    /// Whether messages are copied to the trace exchange (`rabbitmqctl trace_on`).
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.traced.load(Ordering::Relaxed)
    }

    pub fn set_traced(&self, traced: bool) {
        self.traced.store(traced, Ordering::Relaxed);
    }
}
