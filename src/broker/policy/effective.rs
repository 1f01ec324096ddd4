//! What the arguments of a queue, its policy and its operator policy come to together.
//!
//! The rules are RabbitMQ's, for its own settings:
//!
//! | setting | rule |
//! | --- | --- |
//! | message TTL, expiry, maximum length | the least of the three |
//! | delivery limit | the same; below zero is unlimited; quorum queues have 20 where nothing is set |
//! | consumer timeout | the lesser of argument and policy |
//! | overflow | the operator's before the policy's; before both the argument, on a quorum queue after both |
//! | dead-letter exchange, routing key, strategy | each the argument's, else the policy's |
//! | at least once | only where overflow is `reject-publish`, else at most once |
//! | single active consumer | the argument only |
//!
//! Of Leveret's own, `max-priority` and the keys of deduplication are each the argument's, else the policy's; the others
//! are set by policies only.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};

use super::definition::{DeadLetterStrategy, PolicyDefinition};
pub use super::definition::{Overflow, Redeclare, Retry};
use super::{AppliedPolicies, Policy};
use crate::broker::arguments::{QueueType, integer};
use crate::limits::DEDUP_CACHE_SIZE_MAX;

/// Deliveries of a message in a quorum queue that may fail, where nothing else is said.
const QUORUM_DELIVERY_LIMIT: i64 = 20;

/// Messages that deduplication remembers, where nothing else is said.
const DEDUP_CACHE_SIZE: usize = 128;

/// The header that deduplication compares, where nothing else is said.
const DEDUP_HEADER: &str = "x-deduplication-header";

/// All settings of a queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    pub message_ttl_ms: Option<u64>,
    /// How long the queue lives unused.
    pub expires_ms: Option<u64>,
    /// Ready messages, and the bytes of their bodies.
    pub max_length: Option<u64>,
    pub max_length_bytes: Option<u64>,
    pub overflow: Overflow,
    pub dead_letter: Option<DeadLetter>,
    /// Deliveries that may fail: one more, and the message is dead-lettered. `None` is unlimited.
    pub delivery_limit: Option<u32>,
    pub consumer_timeout_ms: Option<u64>,
    pub single_active_consumer: bool,
    pub max_priority: Option<u8>,
    pub delayed_message: bool,
    pub retry: Option<Retry>,
    pub dedup: Option<Dedup>,
    pub redeclare: Redeclare,
}

/// Where dead letters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Empty for the default exchange.
    pub exchange: Arc<str>,
    /// In place of the keys with which a message was published.
    pub routing_key: Option<Arc<str>>,
    pub at_least_once: bool,
}

/// How duplicates are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedup {
    pub header: Arc<str>,
    /// Messages that are remembered.
    pub cache_size: usize,
    /// How long each is remembered; for as long as there is room if `None`.
    pub cache_ttl_ms: Option<u64>,
    /// What is remembered need not outlive the process.
    pub in_memory: bool,
}

impl Effective {
    /// Whether nothing is set: the queue does nothing but keep and deliver.
    pub fn is_plain(&self) -> bool {
        *self == Effective::default()
    }
}

/// The settings of a queue that was declared with these (valid) arguments, and to which these policies apply.
pub fn effective(arguments: &FieldTable, applied: &AppliedPolicies) -> Effective {
    Sources::new(arguments, applied).effective()
}

/// The settings for deduplication of an exchange or queue.
pub fn dedup(arguments: &FieldTable, applied: &AppliedPolicies) -> Option<Dedup> {
    Sources::new(arguments, applied).dedup()
}

/// The settings for deduplication of an exchange whose type is to deduplicate.
pub fn dedup_always(arguments: &FieldTable, applied: &AppliedPolicies) -> Dedup {
    Sources::new(arguments, applied).dedup_always()
}

/// An integer of any width, or text that is one.
pub fn number_or_text(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.parse().ok(),
        _ => integer(value),
    }
}

/// Where settings come from.
struct Sources<'a> {
    arguments: &'a FieldTable,
    queue_type: QueueType,
    policy: Option<&'a PolicyDefinition>,
    operator: Option<&'a PolicyDefinition>,
}

impl<'a> Sources<'a> {
    fn new(arguments: &'a FieldTable, applied: &'a AppliedPolicies) -> Sources<'a> {
        fn settings(policy: &Option<Arc<Policy>>) -> Option<&PolicyDefinition> {
            policy.as_deref().map(|policy| &policy.settings)
        }
        Sources {
            arguments,
            queue_type: QueueType::of(arguments),
            policy: settings(&applied.policy),
            operator: settings(&applied.operator),
        }
    }

    fn effective(&self) -> Effective {
        let overflow = self.overflow();
        Effective {
            message_ttl_ms: self.least("x-message-ttl", |policy| policy.message_ttl_ms),
            expires_ms: self.least("x-expires", |policy| policy.expires_ms),
            max_length: self.least("x-max-length", |policy| policy.max_length),
            max_length_bytes: self.least("x-max-length-bytes", |policy| policy.max_length_bytes),
            overflow,
            dead_letter: self.dead_letter(overflow),
            delivery_limit: self.delivery_limit(),
            consumer_timeout_ms: self.least("x-consumer-timeout", |policy| policy.consumer_timeout_ms),
            single_active_consumer: self.flag("x-single-active-consumer").unwrap_or(false),
            max_priority: self.max_priority(),
            delayed_message: self.policy(|policy| policy.delayed_message).unwrap_or(false),
            retry: self.policy(|policy| policy.retry.clone()),
            dedup: self.dedup(),
            redeclare: self.policy(|policy| policy.redeclare).unwrap_or_default(),
        }
    }

    fn least(&self, argument: &str, key: impl Fn(&PolicyDefinition) -> Option<u64>) -> Option<u64> {
        let argument = self.number(argument).and_then(|n| u64::try_from(n).ok());
        [argument, self.policy(&key), self.operator(&key)].into_iter().flatten().min()
    }

    fn overflow(&self) -> Overflow {
        let argument = || self.text("x-overflow").and_then(Overflow::parse);
        let policies = || self.operator(|policy| policy.overflow).or(self.policy(|policy| policy.overflow));
        let overflow = match self.queue_type {
            QueueType::Quorum => policies().or_else(argument),
            _ => argument().or_else(policies),
        };
        overflow.unwrap_or_default()
    }

    /// Names and keys that are not UTF-8 lead nowhere: no exchange has one, no binding matches the other.
    fn dead_letter(&self, overflow: Overflow) -> Option<DeadLetter> {
        let exchange = self.name("x-dead-letter-exchange", |policy| policy.dead_letter_exchange.clone())?;
        let routing_key = self.name("x-dead-letter-routing-key", |policy| policy.dead_letter_routing_key.clone());
        let argument = self.text("x-dead-letter-strategy").and_then(DeadLetterStrategy::parse);
        let strategy = argument.or(self.policy(|policy| policy.dead_letter_strategy)).unwrap_or_default();
        let at_least_once = strategy == DeadLetterStrategy::AtLeastOnce && overflow == Overflow::RejectPublish;
        Some(DeadLetter { exchange, routing_key, at_least_once })
    }

    fn delivery_limit(&self) -> Option<u32> {
        let key = |policy: &PolicyDefinition| policy.delivery_limit;
        let set = [self.number("x-delivery-limit"), self.policy(key), self.operator(key)];
        let is_set = set.iter().any(Option::is_some);
        let least = set.into_iter().flatten().filter(|limit| *limit >= 0).min();
        let default = || (!is_set && self.queue_type == QueueType::Quorum).then_some(QUORUM_DELIVERY_LIMIT);
        // More than fits is no limit in anybody's lifetime.
        least.or_else(default).and_then(|limit| u32::try_from(limit).ok())
    }

    fn max_priority(&self) -> Option<u8> {
        let argument = self.number("x-max-priority").and_then(|priority| u8::try_from(priority).ok());
        argument.or(self.policy(|policy| policy.max_priority))
    }

    fn dedup(&self) -> Option<Dedup> {
        let argument = self.flag("x-message-deduplication");
        if !argument.or(self.policy(|policy| policy.message_deduplication)).unwrap_or(false) {
            return None;
        }
        Some(self.dedup_always())
    }

    fn dedup_always(&self) -> Dedup {
        let number = |argument| self.arguments.inner().get(argument).and_then(number_or_text);
        let size = number("x-cache-size").and_then(|size| usize::try_from(size).ok());
        let size = size.or(self.policy(|policy| policy.cache_size)).unwrap_or(DEDUP_CACHE_SIZE);
        let ttl_ms = number("x-cache-ttl").and_then(|ttl| u64::try_from(ttl).ok());
        let header = self.name("x-deduplication-header", |policy| policy.deduplication_header.clone());
        Dedup {
            header: header.unwrap_or_else(|| DEDUP_HEADER.into()),
            cache_size: size.clamp(1, DEDUP_CACHE_SIZE_MAX),
            cache_ttl_ms: ttl_ms.or(self.policy(|policy| policy.cache_ttl_ms)),
            in_memory: self.text("x-cache-persistence") == Some("memory"),
        }
    }

    fn policy<T>(&self, key: impl Fn(&PolicyDefinition) -> Option<T>) -> Option<T> {
        self.policy.and_then(key)
    }

    fn operator<T>(&self, key: impl Fn(&PolicyDefinition) -> Option<T>) -> Option<T> {
        self.operator.and_then(key)
    }

    fn number(&self, argument: &str) -> Option<i64> {
        self.arguments.inner().get(argument).and_then(integer)
    }

    fn flag(&self, argument: &str) -> Option<bool> {
        match self.arguments.inner().get(argument) {
            Some(AMQPValue::Boolean(flag)) => Some(*flag),
            _ => None,
        }
    }

    fn text(&self, argument: &str) -> Option<&'a str> {
        match self.arguments.inner().get(argument) {
            Some(AMQPValue::LongString(text)) => std::str::from_utf8(text.as_bytes()).ok(),
            _ => None,
        }
    }

    /// The argument if there is one, even if it is not UTF-8; else the policy's.
    fn name(&self, argument: &str, key: impl Fn(&PolicyDefinition) -> Option<Arc<str>>) -> Option<Arc<str>> {
        match self.arguments.inner().get(argument) {
            Some(AMQPValue::LongString(_)) => self.text(argument).map(Arc::from),
            _ => self.policy(key),
        }
    }
}
