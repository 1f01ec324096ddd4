//! Field tables as JSON.

use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value};

pub fn table(table: &FieldTable) -> Value {
    let entries = table.inner().iter().map(|(key, value)| (key.to_string(), of(value)));
    Value::Object(entries.collect::<Map<String, Value>>())
}

fn of(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(truth) => (*truth).into(),
        AMQPValue::ShortShortInt(n) => (*n).into(),
        AMQPValue::ShortShortUInt(n) => (*n).into(),
        AMQPValue::ShortInt(n) => (*n).into(),
        AMQPValue::ShortUInt(n) => (*n).into(),
        AMQPValue::LongInt(n) => (*n).into(),
        AMQPValue::LongUInt(n) => (*n).into(),
        AMQPValue::LongLongInt(n) => (*n).into(),
        AMQPValue::Float(x) => f64::from(*x).into(),
        AMQPValue::Double(x) => (*x).into(),
        AMQPValue::Timestamp(seconds) => (*seconds).into(),
        AMQPValue::DecimalValue(decimal) => (f64::from(decimal.value) / 10_f64.powi(i32::from(decimal.scale))).into(),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(bytes) => String::from_utf8_lossy(bytes.as_bytes()).into(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into(),
        AMQPValue::FieldArray(array) => array.as_slice().iter().map(of).collect(),
        AMQPValue::FieldTable(inner) => table(inner),
        AMQPValue::Void => Value::Null,
    }
}
