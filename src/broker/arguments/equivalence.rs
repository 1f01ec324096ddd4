//! Whether a thing that exists is what a client now declares.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::{DEDUP_ARGUMENTS, QueueProperties, QueueType, Resource, Term, integer, type_name};
use crate::broker::exchange::{Exchange, ExchangeDefinition};
use crate::broker::queue::QueueDefinition;
use crate::error::Fault;

/// Checks that an existing queue is what is declared. Whether the queue is another connection's has been checked.
///
/// # Errors
/// 406 `inequivalent arg '…' for queue …` for the first difference in: durable, auto-delete, the arguments that
/// the type of the existing queue knows.
pub fn assert_equivalent_queue(
    queue: Resource<'_>,
    current: &QueueDefinition,
    declared: QueueProperties<'_>,
) -> Result<(), Fault> {
    assert_same_properties(queue, current, declared)?;
    QueueType::of(&current.arguments)
        .arguments()
        .iter()
        .chain(&DEDUP_ARGUMENTS)
        .try_for_each(|name| assert_equal_argument(queue, name, &current.arguments, declared.arguments))
}

/// As [`assert_equivalent_queue`], whatever the arguments.
pub fn assert_same_properties(
    queue: Resource<'_>,
    current: &QueueDefinition,
    declared: QueueProperties<'_>,
) -> Result<(), Fault> {
    assert_equal(queue, "durable", current.durable, declared.durable)?;
    assert_equal(queue, "auto_delete", current.auto_delete, declared.auto_delete)
}

/// Checks that an existing exchange is what is declared.
///
/// # Errors
/// 406 `inequivalent arg '…' for exchange …` for the first difference in: type, durable, auto-delete, internal,
/// alternate exchange.
pub fn assert_equivalent_exchange(
    exchange: Resource<'_>,
    current: &Exchange,
    declared: &ExchangeDefinition,
) -> Result<(), Fault> {
    assert_equal(exchange, "type", Atom(current.kind.name()), Atom(declared.kind.name()))?;
    assert_equal(exchange, "durable", current.durable, declared.durable)?;
    assert_equal(exchange, "auto_delete", current.auto_delete, declared.auto_delete)?;
    assert_equal(exchange, "internal", current.internal, declared.internal)?;
    std::iter::once(&"alternate-exchange")
        .chain(&DEDUP_ARGUMENTS)
        .try_for_each(|name| assert_equal_argument(exchange, name, &current.arguments, &declared.arguments))
}

/// Whether two field values are the same once decoded, whatever the types they came in: integers by value,
/// floats by value, text equal to bytes; but 1 is not 1.0. Within tables and arrays types count.
pub fn same_value(a: &AMQPValue, b: &AMQPValue) -> bool {
    match (a, b) {
        (AMQPValue::FieldArray(array), AMQPValue::FieldTable(table))
        | (AMQPValue::FieldTable(table), AMQPValue::FieldArray(array)) => {
            // Both are empty lists to RabbitMQ.
            array.as_slice().is_empty() && table.inner().is_empty()
        }
        _ => match (whole(a), whole(b), float(a), float(b), bytes(a), bytes(b)) {
            (Some(a), Some(b), ..) => a == b,
            (_, _, Some(a), Some(b), ..) => a == b,
            (.., Some(a), Some(b)) => a == b,
            _ => a == b,
        },
    }
}

fn whole(value: &AMQPValue) -> Option<i128> {
    match value {
        AMQPValue::Timestamp(seconds) => Some(i128::from(*seconds)),
        _ => integer(value).map(i128::from),
    }
}

fn float(value: &AMQPValue) -> Option<f64> {
    match value {
        AMQPValue::Float(v) => Some(f64::from(*v)),
        AMQPValue::Double(v) => Some(*v),
        _ => None,
    }
}

fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::ShortString(v) => Some(v.as_str().as_bytes()),
        AMQPValue::LongString(v) => Some(v.as_bytes()),
        AMQPValue::ByteArray(v) => Some(v.as_slice()),
        _ => None,
    }
}

/// As Erlang prints an atom: in quotes if there is a dash in it.
#[derive(PartialEq)]
struct Atom(&'static str);

impl std::fmt::Display for Atom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.contains('-') { write!(f, "'{}'", self.0) } else { f.write_str(self.0) }
    }
}

fn assert_equal<T>(resource: Resource<'_>, name: &str, current: T, declared: T) -> Result<(), Fault>
where
    T: PartialEq + std::fmt::Display,
{
    if current == declared {
        return Ok(());
    }
    Err(inequivalent(resource, name, format!("'{declared}'"), format!("'{current}'")))
}

fn assert_equal_argument(
    resource: Resource<'_>,
    name: &str,
    current: &FieldTable,
    declared: &FieldTable,
) -> Result<(), Fault> {
    match (current.inner().get(name), declared.inner().get(name)) {
        (None, None) => Ok(()),
        (Some(current), Some(declared)) if same_value(current, declared) => Ok(()),
        (None, Some(classic)) | (Some(classic), None) if name == "x-queue-type" && is_classic(classic) => Ok(()),
        (Some(current), Some(AMQPValue::Void)) => {
            Err(inequivalent(resource, name, "none".to_owned(), format!("'{}'", plain(current))))
        }
        (Some(current), Some(declared)) => {
            let quoted = |value| format!("'{}'", plain(value));
            Err(inequivalent(resource, name, quoted(declared), quoted(current)))
        }
        (current, declared) => Err(inequivalent(resource, name, described(declared), described(current))),
    }
}

fn is_classic(value: &AMQPValue) -> bool {
    matches!(value, AMQPValue::LongString(name) if name.as_bytes() == b"classic")
}

fn described(value: Option<&AMQPValue>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!("the value '{}' of type '{}'", plain(value), type_name(value)),
    }
}

/// Text as it is, other values as terms.
fn plain(value: &AMQPValue) -> String {
    match bytes(value) {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => Term(value).to_string(),
    }
}

fn inequivalent(resource: Resource<'_>, name: &str, received: String, current: String) -> Fault {
    Fault::precondition_failed(format!(
        "inequivalent arg '{name}' for {resource}: received {received} but current is {current}"
    ))
}
