//! Which keys a policy may have and what each takes, with RabbitMQ's texts.

#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::{Map, Value};

use super::PolicyKind;
use crate::broker::arguments::{QueueType, Term};
use crate::limits::{DEDUP_CACHE_SIZE_MAX, EXPIRY_MAX_MS, RETRY_ATTEMPTS_MAX, RETRY_BACKOFFS_MAX};
use amq_protocol::types::AMQPValue;

/// What a key takes.
#[derive(Clone, Copy)]
enum Takes {
    Text,
    Flag,
    /// An integer in this range.
    Integer(i64, i64),
    OneOf(&'static [&'static str]),
    MaxAge,
    Retry,
}

struct Key {
    name: &'static str,
    takes: Takes,
    /// What a value is not, if it is refused.
    refusal: &'static str,
    /// Whether operator policies may have it.
    operator: bool,
}

const fn key(name: &'static str, takes: Takes, refusal: &'static str) -> Key {
    Key { name, takes, refusal, operator: false }
}

const fn operator_key(name: &'static str, takes: Takes, refusal: &'static str) -> Key {
    Key { name, takes, refusal, operator: true }
}

const NOT_NEGATIVE: Takes = Takes::Integer(0, i64::MAX);
const DURATION_MS: Takes = Takes::Integer(0, EXPIRY_MAX_MS as i64);
const LEADER_LOCATORS: Takes = Takes::OneOf(&["client-local", "balanced", "random", "least-leaders"]);
const MASTER_LOCATORS: Takes = Takes::OneOf(&["min-masters", "client-local", "random"]);
const OVERFLOWS: Takes = Takes::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"]);
const RETRY_TYPES: Takes = Takes::OneOf(&["disabled", "all", "failed", "returned"]);
const CACHE_SIZE: Takes = Takes::Integer(1, DEDUP_CACHE_SIZE_MAX as i64);

/// RabbitMQ's keys, then Leveret's own.
const KEYS: &[Key] = &[
    key("alternate-exchange", Takes::Text, "is not a valid alternate exchange name"),
    key("consumer-disconnected-timeout", NOT_NEGATIVE, "is not a valid consumer disconnected timeout"),
    key("consumer-timeout", NOT_NEGATIVE, "is not a valid consumer timeout"),
    key("dead-letter-exchange", Takes::Text, "is not a valid dead letter exchange name"),
    key("dead-letter-routing-key", Takes::Text, "is not a valid dead letter routing key"),
    key(
        "dead-letter-strategy",
        Takes::OneOf(&["at-most-once", "at-least-once"]),
        "is not a valid dead letter strategy",
    ),
    operator_key("delayed-retry-max", NOT_NEGATIVE, "is not a valid delayed retry maximum"),
    operator_key("delayed-retry-min", NOT_NEGATIVE, "is not a valid delayed retry minimum"),
    operator_key("delayed-retry-type", RETRY_TYPES, "is not a valid delayed retry type"),
    operator_key("delivery-limit", Takes::Integer(i64::MIN, i64::MAX), "is not a valid delivery limit"),
    operator_key("expires", Takes::Integer(1, i64::MAX), "is not a valid queue expiry"),
    key("federation-upstream", Takes::Text, "is not a valid federation upstream name"),
    key("federation-upstream-pattern", Takes::Text, "is not a valid federation upstream pattern"),
    key("federation-upstream-set", Takes::Text, "is not a valid federation upstream set name"),
    key("initial-cluster-size", NOT_NEGATIVE, "is not a valid cluster size"),
    key("max-age", Takes::MaxAge, "is not a valid max age"),
    operator_key("max-in-memory-bytes", NOT_NEGATIVE, "is not a valid maximum memory in bytes"),
    operator_key("max-in-memory-length", NOT_NEGATIVE, "is not a valid maximum memory in bytes"),
    operator_key("max-length", NOT_NEGATIVE, "is not a valid maximum length"),
    operator_key("max-length-bytes", NOT_NEGATIVE, "is not a valid maximum length in bytes"),
    operator_key("member-placement-tag", Takes::Text, "is not a valid member placement tag"),
    operator_key("message-ttl", NOT_NEGATIVE, "is not a valid message TTL"),
    operator_key("overflow", OVERFLOWS, "is not a valid overflow value"),
    key("queue-leader-locator", LEADER_LOCATORS, "is not a valid queue leader locator value"),
    key("queue-master-locator", MASTER_LOCATORS, "invalid queue-master-locator value"),
    key("queue-mode", Takes::OneOf(&["default", "lazy"]), "is not a valid queue-mode value"),
    operator_key("queue-version", Takes::Integer(1, 2), "is not a valid queue-version value"),
    key("stream-filter-size-bytes", Takes::Integer(16, 255), "is not a valid filter size"),
    key("stream-max-segment-size-bytes", NOT_NEGATIVE, "is not a valid segment size"),
    operator_key("target-group-size", NOT_NEGATIVE, "is not a valid target group size"),
    key("cache-size", CACHE_SIZE, "is not a valid size of a deduplication cache"),
    key("cache-ttl", Takes::Integer(1, EXPIRY_MAX_MS as i64), "is not a valid deduplication cache TTL"),
    key("deduplication-header", Takes::Text, "is not a valid deduplication header name"),
    key("delayed-message", Takes::Flag, "is not a valid delayed-message value"),
    key("max-priority", Takes::Integer(0, 255), "is not a valid maximum priority"),
    key("message-deduplication", Takes::Flag, "is not a valid message-deduplication value"),
    key("redeclare", Takes::OneOf(&["strict", "keep", "update"]), "is not a valid redeclare value"),
    key("retry", Takes::Retry, "is not a valid retry value"),
];

/// A policy with one of these is for other queues than classic ones.
const NOT_FOR_CLASSIC: [&str; 4] =
    ["max-age", "stream-max-segment-size-bytes", "stream-filter-size-bytes", "initial-cluster-size"];

/// A policy with one of these is for other queues than quorum queues.
const NOT_FOR_QUORUM: [&str; 6] = [
    "queue-mode",
    "queue-master-locator",
    "max-age",
    "stream-max-segment-size-bytes",
    "stream-filter-size-bytes",
    "initial-cluster-size",
];

/// Checks a definition.
///
/// # Errors
/// If it is empty; for the first key in alphabetical order whose value is not what it has to be; for keys that are not
/// known, all of them.
pub fn validate(kind: PolicyKind, definition: &Map<String, Value>) -> Result<(), String> {
    if definition.is_empty() {
        return Err("no policy provided".into());
    }
    let known = |name: &str| find(kind, name);
    if let Some((key, value)) = definition.iter().find_map(|(name, value)| {
        let key = known(name)?;
        (!key.takes.allows(value)).then_some((key, value))
    }) {
        return Err(format!("{} {}", JsonTerm(value), key.refusal));
    }
    let unknown: Vec<_> = definition.iter().filter(|(name, _)| known(name).is_none()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let is_mirroring = unknown.iter().any(|(name, _)| is_of_mirroring(name));
    let why = if is_mirroring { ": classic queue mirroring was removed in RabbitMQ 4.0" } else { "" };
    Err(format!("{} are not recognised policy settings{why}", Terms(unknown)))
}

/// Whether policies of this kind have such a key.
pub fn is_known(kind: PolicyKind, name: &str) -> bool {
    find(kind, name).is_some()
}

/// Keys of mirrored queues, which there are no more.
pub fn is_of_mirroring(name: &str) -> bool {
    name.starts_with("ha-")
}

/// Whether a policy may apply to queues of this type: not if it sets what is for other types alone.
pub fn suits(definition: &Map<String, Value>, queue_type: QueueType) -> bool {
    let foreign: &[&str] = match queue_type {
        QueueType::Classic => &NOT_FOR_CLASSIC,
        QueueType::Quorum => &NOT_FOR_QUORUM,
    };
    !foreign.iter().any(|key| definition.contains_key(*key))
}

fn find(kind: PolicyKind, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name && (kind == PolicyKind::User || key.operator))
}

impl Takes {
    fn allows(self, value: &Value) -> bool {
        match self {
            Takes::Text => value.is_string(),
            Takes::Flag => value.is_boolean(),
            Takes::Integer(min, max) => value.as_i64().is_some_and(|n| (min..=max).contains(&n)),
            Takes::OneOf(texts) => value.as_str().is_some_and(|text| texts.contains(&text)),
            Takes::MaxAge => value.as_str().is_some_and(is_max_age),
            Takes::Retry => is_retry(value),
        }
    }
}

/// `7D`, `36h`: a number and a unit.
fn is_max_age(text: &str) -> bool {
    let Some((unit, digits)) = text.as_bytes().split_last() else { return false };
    b"YMDhms".contains(unit) && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// `{"attempts": 3, "backoff": [1000, 5000]}`
fn is_retry(value: &Value) -> bool {
    let Some(retry) = value.as_object().filter(|retry| retry.len() == 2) else { return false };
    let attempts = retry.get("attempts").is_some_and(|n| Takes::Integer(1, RETRY_ATTEMPTS_MAX).allows(n));
    let backoffs = retry.get("backoff").and_then(Value::as_array);
    attempts
        && backoffs.is_some_and(|list| list.len() <= RETRY_BACKOFFS_MAX && list.iter().all(|ms| DURATION_MS.allows(ms)))
}

/// A JSON value as RabbitMQ prints it: `<<"text">>`, `#{<<"a">> => 1}`.
pub struct JsonTerm<'a>(pub &'a Value);

impl fmt::Display for JsonTerm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(flag) => write!(f, "{flag}"),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => write!(f, "{}", Term(&AMQPValue::Double(float))),
                None => write!(f, "{number}"),
            },
            Value::String(text) => write_text(f, text),
            Value::Array(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { "," }, JsonTerm(item))?;
                }
                f.write_str("]")
            }
            Value::Object(entries) => {
                f.write_str("#{")?;
                for (i, (name, value)) in entries.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "," })?;
                    write_text(f, name)?;
                    write!(f, " => {}", JsonTerm(value))?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "{}", Term(&AMQPValue::LongString(text.into())))
}

/// Entries of an object as RabbitMQ prints them in texts: `[{<<"name">>,value}]`.
pub struct Terms<'a>(pub Vec<(&'a String, &'a Value)>);

impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, (name, value)) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "{" } else { ",{" })?;
            write_text(f, name)?;
            write!(f, ",{}}}", JsonTerm(value))?;
        }
        f.write_str("]")
    }
}
