//! Arguments of queues, exchanges and consumers: which values are refused, and which declarations are the same.
//!
//! Checks, their order and their texts are those of RabbitMQ 4; see also the AMQP 0-9-1 specification,
//! `queue.declare` and `exchange.declare`. Each type also takes what only the other has in RabbitMQ where it makes sense:
//! classic queues delivery limits and dead-letter strategies, quorum queues priorities. An argument that no queue type knows is accepted, kept, and not
//! compared when the queue is declared again.

mod equivalence;
mod term;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use amq_protocol::types::{AMQPValue, FieldTable};

pub use self::equivalence::{assert_equivalent_exchange, assert_equivalent_queue, assert_same_properties, same_value};
pub use self::term::{Term, type_name};
use crate::broker::exchange::{ExchangeDefinition, ExchangeKind};
use crate::error::Fault;
use crate::limits::{DEDUP_CACHE_SIZE_MAX, SHORT_STRING_MAX_BYTES};

/// The thing that an error is about, as RabbitMQ names it: `queue 'q' in vhost '/'`.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    kind: &'static str,
    name: &'a str,
    vhost: &'a str,
}

impl<'a> Resource<'a> {
    pub fn queue(name: &'a str, vhost: &'a str) -> Resource<'a> {
        Resource { kind: "queue", name, vhost }
    }

    pub fn exchange(name: &'a str, vhost: &'a str) -> Resource<'a> {
        Resource { kind: "exchange", name, vhost }
    }

    /// 404, `no queue 'q' in vhost '/'`.
    pub fn not_found(&self) -> Fault {
        Fault::not_found(format!("no {self}"))
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}' in vhost '{}'", self.kind, self.name, self.vhost)
    }
}

/// The argument `x-queue-type`. Quorum queues are queues with stricter rules on what one may declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueType {
    Classic,
    Quorum,
}

impl QueueType {
    /// The type that valid arguments ask for; anything else counts as classic.
    pub fn of(arguments: &FieldTable) -> QueueType {
        match arguments.inner().get("x-queue-type") {
            Some(AMQPValue::LongString(name)) if name.as_bytes() == b"quorum" => QueueType::Quorum,
            _ => QueueType::Classic,
        }
    }

    /// As `x-queue-type` has it.
    pub fn name(self) -> &'static str {
        match self {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        }
    }

    /// The type that goes by this name, or by RabbitMQ's inner one.
    pub fn named(name: &str) -> Option<QueueType> {
        [QueueType::Classic, QueueType::Quorum]
            .into_iter()
            .find(|kind| [kind.name(), kind.rabbit_name()].contains(&name))
    }

    /// What RabbitMQ calls the type in texts.
    pub fn rabbit_name(self) -> &'static str {
        match self {
            QueueType::Classic => "rabbit_classic_queue",
            QueueType::Quorum => "rabbit_quorum_queue",
        }
    }

    /// The arguments that queues of this type know, in the order in which they are compared.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            QueueType::Classic => &CLASSIC_ARGUMENTS,
            QueueType::Quorum => &QUORUM_ARGUMENTS,
        }
    }
}

/// Those of any queue, and of any exchange, that deduplicates.
const DEDUP_ARGUMENTS: [&str; 5] =
    ["x-message-deduplication", "x-cache-size", "x-cache-ttl", "x-cache-persistence", "x-deduplication-header"];

const CLASSIC_ARGUMENTS: [&str; 17] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
    "x-consumer-timeout",
    "x-delivery-limit",
    "x-dead-letter-strategy",
];

const QUORUM_ARGUMENTS: [&str; 18] = [
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
    "x-quorum-target-group-size",
    "x-consumer-timeout",
    "x-max-priority",
];

const STREAM_ARGUMENTS: [&str; 4] =
    ["x-max-age", "x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes", "x-initial-cluster-size"];

/// Milliseconds, as RabbitMQ limits times to live and to expiry: ten years.
const MAX_EXPIRY_MS: i64 = 315_360_000_000;

/// The most levels of priority that a queue can have.
const MAX_PRIORITY: i64 = 255;

/// What `queue.declare` asks for besides the name.
#[derive(Clone, Copy, Debug)]
pub struct QueueProperties<'a> {
    /// As it takes effect: an exclusive queue is never durable.
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub arguments: &'a FieldTable,
}

/// Checks what a queue that does not exist yet is declared with.
///
/// # Errors
/// 406 for a dead-letter exchange that is no name, an unsupported queue type, a value that an argument cannot
/// have, an argument of another queue type, and properties that a quorum queue cannot have; in this order.
pub fn validate_queue(queue: Resource<'_>, properties: QueueProperties<'_>) -> Result<(), Fault> {
    let arguments = properties.arguments;
    validate_exchange_name(queue, arguments, "x-dead-letter-exchange")?;
    check(queue, arguments, "x-queue-type", Check::QueueType)?;
    let queue_type = QueueType::of(arguments);
    for (name, kind) in CHECKS {
        if queue_type.arguments().contains(&name) {
            check(queue, arguments, name, kind)?;
        }
    }
    validate_dedup(queue, arguments)?;
    refuse_foreign_arguments(queue, queue_type, arguments)?;
    match queue_type {
        QueueType::Classic => Ok(()),
        QueueType::Quorum => validate_quorum_properties(queue, properties),
    }
}

/// Checks what an exchange that does not exist yet is declared with.
///
/// # Errors
/// 406 for an alternate exchange that is no name, and for what deduplication cannot have; an exchange that does nothing else
/// has [rules of its own](ExchangeKind::validate_arguments).
pub fn validate_exchange(exchange: Resource<'_>, declared: &ExchangeDefinition) -> Result<(), Fault> {
    validate_exchange_name(exchange, &declared.arguments, "alternate-exchange")?;
    match declared.kind {
        ExchangeKind::MessageDeduplication => Ok(()),
        _ => validate_dedup(exchange, &declared.arguments),
    }
}

/// 406 for values that the arguments of deduplication cannot have, whether it is asked for or not.
fn validate_dedup(resource: Resource<'_>, arguments: &FieldTable) -> Result<(), Fault> {
    DEDUP_CHECKS.into_iter().try_for_each(|(name, kind)| check(resource, arguments, name, kind))
}

/// The exchange that an argument names, such as `x-dead-letter-exchange`.
///
/// # Errors
/// 406 if the value is no name.
pub fn exchange_named_by<'a>(
    resource: Resource<'_>,
    arguments: &'a FieldTable,
    argument: &str,
) -> Result<Option<Cow<'a, str>>, Fault> {
    validate_exchange_name(resource, arguments, argument)?;
    let value = arguments.inner().get(argument).and_then(AMQPValue::as_long_string);
    Ok(value.map(|name| String::from_utf8_lossy(name.as_bytes())))
}

/// The arguments of a queue that names no type, with the one that its virtual host has for such queues; `None` if it names
/// one, or cannot be of that type.
pub fn with_default_queue_type(default: QueueType, properties: QueueProperties<'_>) -> Option<FieldTable> {
    let QueueProperties { durable, exclusive, auto_delete, arguments } = properties;
    let can_be = default == QueueType::Classic || (durable && !exclusive && !auto_delete);
    if !can_be || arguments.contains_key("x-queue-type") {
        return None;
    }
    let mut arguments = arguments.clone();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(default.name().into()));
    Some(arguments)
}

/// Checks whether the server may choose the name.
///
/// # Errors
/// 406 for a quorum queue.
pub fn validate_server_named(arguments: &FieldTable) -> Result<(), Fault> {
    match QueueType::of(arguments) {
        QueueType::Classic => Ok(()),
        QueueType::Quorum => {
            let name = QueueType::Quorum.rabbit_name();
            Err(Fault::precondition_failed(format!("Cannot declare a server-named queue for type {name}")))
        }
    }
}

/// What the arguments of a consumer ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerArguments {
    /// `x-priority`.
    pub priority: i64,
    /// `x-consumer-timeout`, in ms; 0 is no timeout.
    pub timeout_ms: Option<u64>,
}

impl ConsumerArguments {
    /// Reads the arguments of `basic.consume`. `x-cancel-on-ha-failover` is checked and means nothing: the queue is where
    /// it is.
    ///
    /// # Errors
    /// 406 for a value of another type, or a negative timeout.
    pub fn of(queue: Resource<'_>, arguments: &FieldTable) -> Result<ConsumerArguments, Fault> {
        check(queue, arguments, "x-priority", Check::Integer)?;
        check(queue, arguments, "x-cancel-on-ha-failover", Check::Boolean)?;
        check(queue, arguments, "x-consumer-timeout", Check::NotNegative)?;
        let value = |name| arguments.inner().get(name).and_then(integer);
        Ok(ConsumerArguments {
            priority: value("x-priority").unwrap_or(0),
            timeout_ms: value("x-consumer-timeout").and_then(|ms| u64::try_from(ms).ok()),
        })
    }
}

/// The value of an argument if it is an integer of any width.
pub fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(v) => Some(i64::from(*v)),
        AMQPValue::ShortShortUInt(v) => Some(i64::from(*v)),
        AMQPValue::ShortInt(v) => Some(i64::from(*v)),
        AMQPValue::ShortUInt(v) => Some(i64::from(*v)),
        AMQPValue::LongInt(v) => Some(i64::from(*v)),
        AMQPValue::LongUInt(v) => Some(i64::from(*v)),
        AMQPValue::LongLongInt(v) => Some(*v),
        _ => None,
    }
}

/// What an argument's value has to be.
#[derive(Clone, Copy)]
enum Check {
    Integer,
    NotNegative,
    Positive,
    MessageTtl,
    Expires,
    Priority,
    Boolean,
    CacheSize,
    HeaderName,
    Text,
    OneOf(&'static [&'static str], &'static str),
    DeadLetterRoutingKey,
    QueueMode,
    QueueVersion,
    QueueType,
}

/// In RabbitMQ's order, which decides between several errors.
const CHECKS: [(&str, Check); 19] = [
    ("x-expires", Check::Expires),
    ("x-message-ttl", Check::MessageTtl),
    ("x-dead-letter-exchange", Check::Text),
    ("x-dead-letter-routing-key", Check::DeadLetterRoutingKey),
    ("x-dead-letter-strategy", Check::OneOf(&["at-most-once", "at-least-once"], "invalid_dlx_strategy")),
    ("x-max-length", Check::NotNegative),
    ("x-max-length-bytes", Check::NotNegative),
    ("x-max-in-memory-length", Check::NotNegative),
    ("x-max-in-memory-bytes", Check::NotNegative),
    ("x-max-priority", Check::Priority),
    ("x-overflow", Check::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow")),
    ("x-queue-mode", Check::QueueMode),
    ("x-queue-version", Check::QueueVersion),
    ("x-single-active-consumer", Check::Boolean),
    ("x-quorum-initial-group-size", Check::Positive),
    ("x-quorum-target-group-size", Check::Positive),
    ("x-queue-leader-locator", Check::OneOf(&LEADER_LOCATORS, "invalid_queue_locator_arg")),
    ("x-delivery-limit", Check::Integer),
    ("x-consumer-timeout", Check::NotNegative),
];

const DEDUP_CHECKS: [(&str, Check); 5] = [
    ("x-message-deduplication", Check::Boolean),
    ("x-cache-size", Check::CacheSize),
    ("x-cache-ttl", Check::Positive),
    ("x-cache-persistence", Check::OneOf(&["disk", "memory"], "invalid_cache_persistence")),
    ("x-deduplication-header", Check::HeaderName),
];

const LEADER_LOCATORS: [&str; 5] = ["client-local", "balanced", "random", "least-leaders", "min-masters"];

/// 406 `invalid arg 'NAME' for RESOURCE: REASON` if the argument is there and not what it has to be.
fn check(resource: Resource<'_>, arguments: &FieldTable, name: &str, check: Check) -> Result<(), Fault> {
    let Some(value) = arguments.inner().get(name) else { return Ok(()) };
    check
        .apply(value, arguments)
        .map_err(|reason| Fault::precondition_failed(format!("invalid arg '{name}' for {resource}: {reason}")))
}

impl Check {
    /// On failure the reason, printed as an Erlang term.
    fn apply(self, value: &AMQPValue, arguments: &FieldTable) -> Result<(), String> {
        match self {
            Check::Integer => expect_integer(value).map(|_| ()),
            Check::NotNegative => expect_not_negative(value).map(|_| ()),
            Check::Positive => expect_not_negative(value).and_then(expect_not_zero).map(|_| ()),
            Check::MessageTtl => expect_integer(value).and_then(expect_expiry),
            Check::Expires => expect_integer(value).and_then(expect_not_zero).and_then(expect_expiry),
            Check::Priority => match expect_not_negative(value)? {
                n if n > MAX_PRIORITY => Err(format!("{{max_value_exceeded,{n}}}")),
                _ => Ok(()),
            },
            Check::CacheSize => match expect_not_negative(value)? {
                n if usize::try_from(n).is_ok_and(|n| n > DEDUP_CACHE_SIZE_MAX) => {
                    Err(format!("{{max_value_exceeded,{n}}}"))
                }
                n => expect_not_zero(n).map(|_| ()),
            },
            Check::HeaderName => match expect_text(value)? {
                name if name.is_empty() || name.len() > SHORT_STRING_MAX_BYTES || str::from_utf8(name).is_err() => {
                    Err("invalid_header_name".to_owned())
                }
                _ => Ok(()),
            },
            Check::Boolean => match value {
                AMQPValue::Boolean(_) => Ok(()),
                _ => Err(unacceptable_type(value)),
            },
            Check::Text => expect_text(value).map(|_| ()),
            Check::OneOf(texts, error) => one_of(value, texts, || error.to_owned()),
            Check::DeadLetterRoutingKey => match expect_text(value)? {
                _ if arguments.contains_key("x-dead-letter-exchange") => Ok(()),
                _ => Err("routing_key_but_no_dlx_defined".to_owned()),
            },
            Check::QueueMode => one_of(value, &["default", "lazy"], || unsupported("mode", value)),
            Check::QueueVersion => match expect_not_negative(value)? {
                2 => Ok(()),
                n => Err(format!("\"unsupported queue version '{n}'\"")),
            },
            Check::QueueType => one_of(value, &["classic", "quorum"], || unsupported("type", value)),
        }
    }
}

fn expect_integer(value: &AMQPValue) -> Result<i64, String> {
    integer(value).ok_or_else(|| format!("\"expected integer, got {}\"", type_name(value)))
}

fn expect_not_negative(value: &AMQPValue) -> Result<i64, String> {
    match expect_integer(value)? {
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        n => Ok(n),
    }
}

fn expect_not_zero(n: i64) -> Result<i64, String> {
    if n == 0 { Err("{value_zero,0}".to_owned()) } else { Ok(n) }
}

fn expect_expiry(n: i64) -> Result<(), String> {
    match n {
        ..0 => Err(format!("{{value_negative,{n}}}")),
        0..=MAX_EXPIRY_MS => Ok(()),
        _ => Err(format!("{{value_too_large,{n}}}")),
    }
}

fn expect_text(value: &AMQPValue) -> Result<&[u8], String> {
    match value {
        AMQPValue::LongString(text) => Ok(text.as_bytes()),
        _ => Err(unacceptable_type(value)),
    }
}

fn one_of(value: &AMQPValue, texts: &[&str], error: impl FnOnce() -> String) -> Result<(), String> {
    let text = expect_text(value)?;
    if texts.iter().any(|known| known.as_bytes() == text) { Ok(()) } else { Err(error()) }
}

fn unacceptable_type(value: &AMQPValue) -> String {
    format!("{{unacceptable_type,{}}}", type_name(value))
}

fn unsupported(what: &str, value: &AMQPValue) -> String {
    let text = value.as_long_string().map(ToString::to_string).unwrap_or_default();
    format!("\"unsupported queue {what} '{text}'\"")
}

fn validate_exchange_name(resource: Resource<'_>, arguments: &FieldTable, name: &str) -> Result<(), Fault> {
    match arguments.inner().get(name) {
        None | Some(AMQPValue::LongString(_)) => Ok(()),
        Some(value) => {
            let value_type = type_name(value);
            let text = format!("invalid type '{value_type}' for arg '{name}' in {resource}");
            Err(Fault::precondition_failed(text))
        }
    }
}

fn refuse_foreign_arguments(queue: Resource<'_>, own: QueueType, arguments: &FieldTable) -> Result<(), Fault> {
    let known = [CLASSIC_ARGUMENTS.as_slice(), &QUORUM_ARGUMENTS, &STREAM_ARGUMENTS];
    let is_foreign =
        |name: &str| !own.arguments().contains(&name) && known.iter().any(|arguments| arguments.contains(&name));
    match arguments.inner().keys().find(|name| is_foreign(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let own = own.rabbit_name();
            Err(Fault::precondition_failed(format!("invalid arg '{name}' for {queue} of queue type {own}")))
        }
    }
}

fn validate_quorum_properties(queue: Resource<'_>, properties: QueueProperties<'_>) -> Result<(), Fault> {
    let invalid = match properties {
        QueueProperties { auto_delete: true, .. } => "auto-delete",
        QueueProperties { exclusive: true, .. } => "exclusive-owner",
        QueueProperties { durable: false, .. } => "non-durable",
        _ => return Ok(()),
    };
    Err(Fault::precondition_failed(format!("invalid property '{invalid}' for {queue}")))
}
