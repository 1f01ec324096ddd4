//! Arguments of queues, exchanges and bindings as plain JSON, as RabbitMQ writes them.
//!
//! JSON has fewer types than AMQP. An integer of any width comes back as `long`, a float as `double`, bytes as text where
//! they are text: to the broker these are equal. Bytes that are no text are written as RabbitMQ does, and read again. Two
//! things RabbitMQ writes otherwise: void as `null` here and `"undefined"` there, which is a text like any other, and a
//! decimal as the number that it is.

use amq_protocol::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, LongString};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Number, Value};

use super::fields::DefinitionsError;
use crate::limits::{ARGUMENTS_MAX_BYTES, SHORT_STRING_MAX_BYTES};
use crate::wire::table;

/// What stands before bytes that are no text.
const NOT_TEXT: &str = "Not UTF-8, base64 is: ";

/// Arguments as a JSON object.
pub fn argument_values(table: &FieldTable) -> Value {
    let entry = |(name, value): (&_, &AMQPValue)| (String::from_utf8_lossy(text_bytes(name)).into_owned(), json(value));
    Value::Object(table.inner().iter().map(entry).collect())
}

fn text_bytes(name: &amq_protocol::types::ShortString) -> &[u8] {
    name.as_str().as_bytes()
}

/// The table that a JSON object stands for.
///
/// # Errors
/// If it is nested deeper than `max_depth`, or too large; the place begins with `place`.
pub fn arguments_of(place: &str, object: &Map<String, Value>, max_depth: u8) -> Result<FieldTable, DefinitionsError> {
    let arguments = table(place, object, max_depth)?;
    let mut wire = Vec::new();
    table::encode(&mut wire, &arguments);
    if wire.len() > ARGUMENTS_MAX_BYTES {
        let text = format!("arguments of {} bytes, of which there may be {ARGUMENTS_MAX_BYTES}", wire.len());
        return Err(DefinitionsError::at(place, text));
    }
    Ok(arguments)
}

/// Bytes as text that [`bytes_of`] reads.
pub(super) fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("{NOT_TEXT}{}", BASE64.encode(bytes)),
    }
}

pub(super) fn bytes_of(text: &str) -> Vec<u8> {
    let encoded = text.strip_prefix(NOT_TEXT).and_then(|encoded| BASE64.decode(encoded).ok());
    encoded.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(v) => Value::Bool(*v),
        AMQPValue::ShortShortInt(v) => (*v).into(),
        AMQPValue::ShortShortUInt(v) => (*v).into(),
        AMQPValue::ShortInt(v) => (*v).into(),
        AMQPValue::ShortUInt(v) => (*v).into(),
        AMQPValue::LongInt(v) => (*v).into(),
        AMQPValue::LongUInt(v) => (*v).into(),
        AMQPValue::LongLongInt(v) => (*v).into(),
        AMQPValue::Timestamp(v) => (*v).into(),
        AMQPValue::Float(v) => float(f64::from(*v)),
        AMQPValue::Double(v) => float(*v),
        AMQPValue::DecimalValue(DecimalValue { scale, value }) => {
            float(f64::from(*value) / 10_f64.powi(i32::from(*scale)))
        }
        AMQPValue::ShortString(v) => v.as_str().into(),
        AMQPValue::LongString(v) => text_of(v.as_bytes()).into(),
        AMQPValue::ByteArray(v) => text_of(v.as_slice()).into(),
        AMQPValue::FieldArray(v) => v.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(v) => argument_values(v),
        AMQPValue::Void => Value::Null,
    }
}

/// JSON has no infinities, and nothing that is not a number.
fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn table(place: &str, object: &Map<String, Value>, depth: u8) -> Result<FieldTable, DefinitionsError> {
    let depth = deeper(place, depth)?;
    let mut table = FieldTable::default();
    for (name, value) in object {
        let place = format!("{place}.{name}");
        if name.len() > SHORT_STRING_MAX_BYTES {
            let text = format!("a name of {} bytes, of which there may be {SHORT_STRING_MAX_BYTES}", name.len());
            return Err(DefinitionsError::at(&place, text));
        }
        table.insert(name.as_str().into(), amqp(&place, value, depth)?);
    }
    Ok(table)
}

fn amqp(place: &str, value: &Value, depth: u8) -> Result<AMQPValue, DefinitionsError> {
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(v) => AMQPValue::Boolean(*v),
        Value::Number(v) => match (v.as_i64(), v.as_u64()) {
            (Some(v), _) => AMQPValue::LongLongInt(v),
            // Nothing else holds so much.
            (None, Some(v)) => AMQPValue::Timestamp(v),
            (None, None) => AMQPValue::Double(v.as_f64().unwrap_or_default()),
        },
        Value::String(v) => AMQPValue::LongString(LongString::from(bytes_of(v))),
        Value::Array(items) => {
            let depth = deeper(place, depth)?;
            let item = |(i, item)| amqp(&format!("{place}[{i}]"), item, depth);
            let items = items.iter().enumerate().map(item).collect::<Result<Vec<_>, _>>()?;
            AMQPValue::FieldArray(FieldArray::from(items))
        }
        Value::Object(object) => AMQPValue::FieldTable(table(place, object, depth)?),
    })
}

fn deeper(place: &str, depth: u8) -> Result<u8, DefinitionsError> {
    depth.checked_sub(1).ok_or_else(|| DefinitionsError::at(place, "arguments are nested too deep"))
}
