//! The bindings of an exchange as its type matches them.

use std::sync::Arc;

use amq_protocol::types::FieldTable;

use super::ExchangeKind;
use super::consistent_hash::ConsistentHash;
use super::direct::Direct;
use super::fanout::Fanout;
use super::headers::Headers;
use super::modulus_hash::ModulusHash;
use super::random::{Draws, Random};
use super::recent_history::{RecentHistory, Remembered};
use super::topic::Topic;
use crate::broker::binding::Binding;
use crate::broker::router::Asked;

pub enum Index {
    Direct(Direct),
    Fanout(Fanout),
    Topic(Topic),
    Headers(Headers),
    ConsistentHash(ConsistentHash),
    ModulusHash(ModulusHash),
    Random(Random),
    RecentHistory(Box<RecentHistory>),
}

impl Index {
    /// `arguments` have been validated.
    pub fn new(kind: ExchangeKind, arguments: &FieldTable) -> Index {
        match kind.routes_as(arguments) {
            ExchangeKind::Direct | ExchangeKind::Delayed => Index::Direct(Direct::default()),
            ExchangeKind::Fanout | ExchangeKind::MessageDeduplication => Index::Fanout(Fanout::default()),
            ExchangeKind::Topic => Index::Topic(Topic::default()),
            ExchangeKind::Headers => Index::Headers(Headers::default()),
            ExchangeKind::ConsistentHash => Index::ConsistentHash(ConsistentHash::new(arguments)),
            ExchangeKind::ModulusHash => Index::ModulusHash(ModulusHash::default()),
            ExchangeKind::Random | ExchangeKind::LocalRandom => Index::Random(Random::default()),
            ExchangeKind::RecentHistory => Index::RecentHistory(Box::new(RecentHistory::new(arguments))),
        }
    }

    pub fn insert(&mut self, binding: Arc<Binding>) {
        match self {
            Index::Direct(direct) => direct.insert(binding),
            Index::Fanout(fanout) => fanout.insert(binding),
            Index::Topic(topic) => topic.insert(binding),
            Index::Headers(headers) => headers.insert(binding),
            Index::ConsistentHash(hash) => hash.insert(binding),
            Index::ModulusHash(hash) => hash.insert(binding),
            Index::Random(random) => random.insert(binding),
            Index::RecentHistory(history) => history.insert(binding),
        }
    }

    pub fn remove(&mut self, binding: &Binding) {
        match self {
            Index::Direct(direct) => direct.remove(binding),
            Index::Fanout(fanout) => fanout.remove(binding),
            Index::Topic(topic) => topic.remove(binding),
            Index::Headers(headers) => headers.remove(binding),
            Index::ConsistentHash(hash) => hash.remove(binding),
            Index::ModulusHash(hash) => hash.remove(binding),
            Index::Random(random) => random.remove(binding),
            Index::RecentHistory(history) => history.remove(binding),
        }
    }

    /// The last binding is gone: gives back the memory of what may have been many.
    pub fn emptied(&mut self) {
        match self {
            Index::Direct(direct) => *direct = Direct::default(),
            Index::Fanout(fanout) => *fanout = Fanout::default(),
            Index::Topic(topic) => *topic = Topic::default(),
            Index::Headers(headers) => *headers = Headers::default(),
            Index::ConsistentHash(hash) => hash.shrink(),
            Index::ModulusHash(hash) => *hash = ModulusHash::default(),
            Index::Random(random) => *random = Random::default(),
            // Its list shrinks by itself, and what it remembers is for bindings to come.
            Index::RecentHistory(_) => {}
        }
    }

    /// Calls `found` with groups of bindings that match.
    pub fn matches(
        &self,
        routing_keys: &[&[u8]],
        message: &mut Asked<'_>,
        draws: &Draws,
        found: &mut dyn FnMut(&[Arc<Binding>]),
    ) {
        match self {
            Index::Direct(direct) => routing_keys.iter().for_each(|key| found(direct.matches(key))),
            Index::Fanout(fanout) => found(fanout.matches()),
            Index::Topic(topic) => routing_keys.iter().for_each(|key| topic.for_each_match(key, &mut *found)),
            Index::Headers(headers) if headers.is_empty() => {}
            Index::Headers(headers) => {
                headers.matches(message.headers()).for_each(|binding| found(std::slice::from_ref(binding)));
            }
            Index::ConsistentHash(hash) => found(hash.matches(routing_keys, message.properties())),
            Index::ModulusHash(hash) => found(hash.matches(routing_keys)),
            Index::Random(random) => found(random.one(draws)),
            Index::RecentHistory(history) => found(history.matches(routing_keys, message.message())),
        }
    }

    /// Whether the routing key alone decides which bindings match, and nothing is kept of the message.
    pub fn routes_by_key(&self) -> bool {
        match self {
            Index::Direct(_) | Index::Fanout(_) | Index::Topic(_) | Index::ModulusHash(_) => true,
            Index::ConsistentHash(hash) => hash.is_by_key(),
            Index::Headers(_) | Index::Random(_) | Index::RecentHistory(_) => false,
        }
    }

    /// The messages that a new binding gets, the oldest first.
    pub fn history(&self) -> Vec<Remembered> {
        match self {
            Index::RecentHistory(history) => history.history(),
            _ => Vec::new(),
        }
    }
}
