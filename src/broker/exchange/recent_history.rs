//! Recent history exchanges: fanout exchanges that keep the last messages, and give them to each new binding.
//!
//! Messages come into the history when they are routed, under the lock under which bindings change: a new binding gets
//! every message either from the history or by itself, never both ways. The history lives in memory; like RabbitMQ's it
//! is empty after a restart, and what was published in a transaction stays in it when that is rolled back.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::arguments::{Term, integer};
use crate::broker::binding::{Binding, FromSource};
use crate::broker::message::Message;
use crate::error::Fault;
use crate::limits::RECENT_HISTORY_MAX_BYTES;
use crate::storage::chunk::Chunk;
use crate::wire::properties::PropertiesView;
use crate::wire::table::{self, ValueView};

/// How many messages are kept if nothing else is asked for.
const DEFAULT_LENGTH: usize = 20;

/// A message that is kept for later bindings.
#[derive(Clone)]
pub struct Remembered {
    /// One record.
    pub chunk: Arc<Chunk>,
    /// The message's routing key, and those of its CC and BCC headers.
    pub routing_keys: Arc<[Box<[u8]>]>,
}

pub struct RecentHistory {
    bindings: FromSource,
    history: Mutex<History>,
}

struct History {
    length: usize,
    max_bytes: usize,
    /// The oldest first.
    messages: VecDeque<Remembered>,
    bytes: usize,
}

impl RecentHistory {
    /// `arguments` have been validated.
    pub fn new(arguments: &FieldTable) -> RecentHistory {
        let length = length(arguments).unwrap_or(DEFAULT_LENGTH);
        let history = History { length, max_bytes: RECENT_HISTORY_MAX_BYTES, messages: VecDeque::new(), bytes: 0 };
        RecentHistory { bindings: FromSource::default(), history: Mutex::new(history) }
    }

    pub fn insert(&mut self, binding: Arc<Binding>) {
        self.bindings.push(binding);
    }

    pub fn remove(&mut self, binding: &Binding) {
        self.bindings.remove(binding);
    }

    /// All bindings. The message is kept.
    pub fn matches(&self, routing_keys: &[&[u8]], message: &dyn Message) -> &[Arc<Binding>] {
        self.remember(routing_keys, message);
        self.bindings.as_slice()
    }

    fn remember(&self, routing_keys: &[&[u8]], message: &dyn Message) {
        if message.properties().is_some_and(is_not_to_be_stored) {
            return;
        }
        if let Some(record) = message.record() {
            let routing_keys = routing_keys.iter().map(|key| Box::from(*key)).collect();
            self.lock().push(Remembered { chunk: Chunk::of_one(record), routing_keys });
        }
    }

    /// What is kept now, the oldest first.
    pub fn history(&self) -> Vec<Remembered> {
        self.lock().messages.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no code panics while it holds the history")
    }
}

impl History {
    fn push(&mut self, message: Remembered) {
        self.bytes += message.chunk.bytes();
        self.messages.push_back(message);
        while self.messages.len() > self.length || self.bytes > self.max_bytes {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.chunk.bytes();
        }
    }
}

/// The header that keeps a message out of the history, if it is true.
fn is_not_to_be_stored(properties: &PropertiesView<'_>) -> bool {
    let headers = properties.headers_bytes().unwrap_or_default();
    table::lookup(headers, b"x-recent-history-no-store") == Some(ValueView::Bool(true))
}

/// The argument `x-recent-history-length`.
///
/// # Errors
/// 406 if it is not an integer greater than 0.
pub fn length(arguments: &FieldTable) -> Result<usize, Fault> {
    let Some(value) = arguments.inner().get("x-recent-history-length") else { return Ok(DEFAULT_LENGTH) };
    match integer(value) {
        Some(length) if length > 0 => Ok(usize::try_from(length).unwrap_or(usize::MAX)),
        _ => Err(invalid_length(value)),
    }
}

fn invalid_length(value: &AMQPValue) -> Fault {
    let text = format!("Invalid argument {}, 'x-recent-history-length' must be a positive integer", Term(value));
    Fault::precondition_failed(text)
}
