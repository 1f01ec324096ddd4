//! The definition of a policy, as far as this broker acts on it.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::limits::EXPIRY_MAX_MS;

/// What a queue does with what comes over its maximum length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Drops, or dead-letters, from the head.
    #[default]
    DropHead,
    /// Refuses what is published: confirmed with `basic.nack`.
    RejectPublish,
    /// The same, and what is refused is dead-lettered.
    RejectPublishDlx,
}

impl Overflow {
    pub fn parse(name: &str) -> Option<Overflow> {
        match name {
            "drop-head" => Some(Overflow::DropHead),
            "reject-publish" => Some(Overflow::RejectPublish),
            "reject-publish-dlx" => Some(Overflow::RejectPublishDlx),
            _ => None,
        }
    }
}

/// Whether a dead letter may be lost between its queue and the queues that it goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterStrategy {
    #[default]
    AtMostOnce,
    AtLeastOnce,
}

impl DeadLetterStrategy {
    pub fn parse(name: &str) -> Option<DeadLetterStrategy> {
        match name {
            "at-most-once" => Some(DeadLetterStrategy::AtMostOnce),
            "at-least-once" => Some(DeadLetterStrategy::AtLeastOnce),
            _ => None,
        }
    }
}

/// What becomes of a declaration of a queue that exists and differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redeclare {
    /// It is refused, 406.
    #[default]
    Strict,
    /// It succeeds, and the queue stays as it is.
    Keep,
    /// It succeeds, and the queue becomes what is declared.
    Update,
}

impl Redeclare {
    pub fn parse(name: &str) -> Option<Redeclare> {
        match name {
            "strict" => Some(Redeclare::Strict),
            "keep" => Some(Redeclare::Keep),
            "update" => Some(Redeclare::Update),
            _ => None,
        }
    }
}

/// How often a rejected message is tried again, and how long it is held back each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    pub attempts: u32,
    /// Milliseconds before each further attempt; the last one counts for all that follow. None are without delay.
    pub backoff_ms: Vec<u64>,
}

/// What of a policy's definition this broker acts on; what is not set is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyDefinition {
    pub message_ttl_ms: Option<u64>,
    pub expires_ms: Option<u64>,
    pub max_length: Option<u64>,
    pub max_length_bytes: Option<u64>,
    pub overflow: Option<Overflow>,
    pub dead_letter_exchange: Option<Arc<str>>,
    pub dead_letter_routing_key: Option<Arc<str>>,
    pub dead_letter_strategy: Option<DeadLetterStrategy>,
    /// Unlimited if negative.
    pub delivery_limit: Option<i64>,
    pub consumer_timeout_ms: Option<u64>,
    pub max_priority: Option<u8>,
    pub delayed_message: Option<bool>,
    pub retry: Option<Retry>,
    pub redeclare: Option<Redeclare>,
    pub message_deduplication: Option<bool>,
    pub cache_size: Option<usize>,
    pub cache_ttl_ms: Option<u64>,
    pub deduplication_header: Option<Arc<str>>,
    /// For exchanges.
    pub alternate_exchange: Option<Arc<str>>,
}

impl PolicyDefinition {
    /// Reads a definition that has been validated; what is not as it has to be counts as not set.
    pub fn of(definition: &Map<String, Value>) -> PolicyDefinition {
        let number = |key| definition.get(key).and_then(Value::as_u64);
        let time = |key| number(key).map(|ms| ms.min(EXPIRY_MAX_MS));
        let flag = |key| definition.get(key).and_then(Value::as_bool);
        let text = |key| definition.get(key).and_then(Value::as_str);
        let name = |key| text(key).map(Arc::from);
        PolicyDefinition {
            message_ttl_ms: time("message-ttl"),
            expires_ms: time("expires"),
            max_length: number("max-length"),
            max_length_bytes: number("max-length-bytes"),
            overflow: text("overflow").and_then(Overflow::parse),
            dead_letter_exchange: name("dead-letter-exchange"),
            dead_letter_routing_key: name("dead-letter-routing-key"),
            dead_letter_strategy: text("dead-letter-strategy").and_then(DeadLetterStrategy::parse),
            delivery_limit: definition.get("delivery-limit").and_then(Value::as_i64),
            consumer_timeout_ms: time("consumer-timeout"),
            max_priority: number("max-priority").and_then(|priority| priority.try_into().ok()),
            delayed_message: flag("delayed-message"),
            retry: definition.get("retry").and_then(retry),
            redeclare: text("redeclare").and_then(Redeclare::parse),
            message_deduplication: flag("message-deduplication"),
            cache_size: number("cache-size").and_then(|size| size.try_into().ok()),
            cache_ttl_ms: number("cache-ttl"),
            deduplication_header: name("deduplication-header"),
            alternate_exchange: name("alternate-exchange"),
        }
    }
}

fn retry(value: &Value) -> Option<Retry> {
    let attempts = value.get("attempts")?.as_u64()?.try_into().ok()?;
    let backoff_ms = value.get("backoff")?.as_array()?.iter().map(Value::as_u64).collect::<Option<_>>()?;
    Some(Retry { attempts, backoff_ms })
}
