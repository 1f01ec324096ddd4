//! What a queue says of itself to who lists it.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use super::Queue;
use crate::broker::ConnectionId;

/// The figures of a queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFigures {
    pub ready: u64,
    /// Delivered, or on their way, and not settled.
    pub unacknowledged: u64,
    /// Bytes of ready messages with their properties.
    pub ready_bytes: u64,
    /// Bytes of those that are in memory.
    pub resident_bytes: u64,
    pub consumers: u32,
    /// The tag of the consumer that is served, where only one is.
    pub single_active_consumer_tag: Option<Arc<str>>,
    /// The tag of the consumer that has the queue for itself.
    pub exclusive_consumer_tag: Option<Arc<str>>,
}

/// A consumer of a queue.
#[derive(Clone, Debug)]
pub struct ConsumerEntry {
    pub connection: ConnectionId,
    pub channel: u16,
    pub tag: Arc<str>,
    pub no_ack: bool,
    pub exclusive: bool,
    /// 0 is unlimited.
    pub prefetch: u32,
    pub arguments: Option<Arc<FieldTable>>,
    /// Whether it is served: all are, but where there is a single active consumer.
    pub active: bool,
    /// `up`, or of a queue with a single active consumer `single_active` or `waiting`.
    pub activity_status: &'static str,
}

impl Queue {
    pub fn figures(&self) -> QueueFigures {
        let state = self.lock();
        QueueFigures {
            ready: state.lanes().messages(),
            unacknowledged: state.unacked(),
            ready_bytes: state.lanes().bytes(),
            resident_bytes: state.lanes().head_bytes(),
            consumers: state.consumers().count(),
            single_active_consumer_tag: state.consumers().single_active().map(|consumer| consumer.new.tag.clone()),
            exclusive_consumer_tag: state.consumers().iter().find(|c| c.new.exclusive).map(|c| c.new.tag.clone()),
        }
    }

    /// The consumers of this moment, in the order of their places at the queue.
    pub fn consumer_entries(&self) -> Vec<ConsumerEntry> {
        let state = self.lock();
        let entries = state.consumers().iter().map(|consumer| ConsumerEntry {
            connection: consumer.new.connection,
            channel: consumer.new.channel,
            tag: consumer.new.tag.clone(),
            no_ack: consumer.new.no_ack,
            exclusive: consumer.new.exclusive,
            prefetch: consumer.new.prefetch,
            arguments: consumer.new.arguments.clone(),
            active: state.consumers().is_active(consumer),
            activity_status: match (state.consumers().is_single_active(), state.consumers().is_active(consumer)) {
                (false, _) => "up",
                (true, true) => "single_active",
                (true, false) => "waiting",
            },
        });
        entries.collect()
    }
}
