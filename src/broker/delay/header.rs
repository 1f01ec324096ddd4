//! The headers of what is delayed: `x-delay`, as the well-known plugin reads and writes it, and `x-retry-count`.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::wire::properties::PropertiesView;
use crate::wire::table::{self, ValueView};

/// How long a message is to be held back, in milliseconds.
pub const X_DELAY: &str = "x-delay";
/// How often a message has been held back after it was rejected.
pub const X_RETRY_COUNT: &str = "x-retry-count";

/// How long a message with these properties is to be held back, in milliseconds; `None` if it is not.
///
/// A number of any type, or text that is an integer, counts; what follows the point does not. Nothing else does, and what
/// is not above 0 is no delay.
pub fn delay_ms(properties: &PropertiesView<'_>) -> Option<u64> {
    let headers = properties.headers_bytes()?;
    let value = table::lookup(headers, X_DELAY.as_bytes())?;
    value_of(&value).and_then(|delay| u64::try_from(delay).ok()).filter(|delay| *delay > 0)
}

/// As [`delay_ms`], of decoded headers.
pub fn delay_in(headers: &FieldTable) -> Option<u64> {
    let value = headers.inner().get(X_DELAY)?;
    let mut bytes = Vec::new();
    table::push_entry(&mut bytes, b"", value);
    let (_, view) = table::entries(&bytes).next()?;
    value_of(&view).and_then(|delay| u64::try_from(delay).ok()).filter(|delay| *delay > 0)
}

fn value_of(value: &ValueView<'_>) -> Option<i64> {
    match *value {
        ValueView::LongString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        // A float beyond the range becomes the nearest that is in it.
        ValueView::Float(number) => Some(number as i64),
        ValueView::Double(number) => Some(number as i64),
        ValueView::Decimal { scale, value } => Some(decimal(scale, value)),
        _ => value.as_integer(),
    }
}

fn decimal(scale: u8, value: u32) -> i64 {
    10i64.checked_pow(scale.into()).map_or(0, |divisor| i64::from(value) / divisor)
}

/// The properties with the delay negated: it has passed, is no delay any more, and the consumer sees that there was one.
pub fn with_delay_passed(properties: &PropertiesView<'_>) -> Vec<u8> {
    match delay_ms(properties) {
        Some(delay_ms) => {
            let negated = -i64::try_from(delay_ms).unwrap_or(i64::MAX);
            properties.with_header(X_DELAY.as_bytes(), &integer(negated))
        }
        None => properties.as_bytes().to_vec(),
    }
}

/// How often a message has been held back after it was rejected.
pub fn retry_count(properties: &PropertiesView<'_>) -> u32 {
    let count = properties.headers_bytes().and_then(|headers| table::lookup(headers, X_RETRY_COUNT.as_bytes()));
    count.and_then(|count| count.as_integer()).map_or(0, |count| count.clamp(0, u32::MAX.into()) as u32)
}

pub fn with_retry_count(properties: &PropertiesView<'_>, count: u32) -> Vec<u8> {
    properties.with_header(X_RETRY_COUNT.as_bytes(), &integer(count.into()))
}

/// In the narrower of the two types that clients read everywhere.
fn integer(number: i64) -> AMQPValue {
    i32::try_from(number).map_or(AMQPValue::LongLongInt(number), AMQPValue::LongInt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(value: &AMQPValue) -> Vec<u8> {
        PropertiesView::parse(&[0, 0], 8).unwrap().with_header(X_DELAY.as_bytes(), value)
    }

    fn delay(value: AMQPValue) -> Option<u64> {
        let bytes = properties(&value);
        let mut headers = FieldTable::default();
        headers.insert(X_DELAY.into(), value);
        let delay = delay_ms(&PropertiesView::parse(&bytes, 8).unwrap());
        assert_eq!(delay_in(&headers), delay);
        delay
    }

    #[test]
    fn numbers_of_every_type_are_delays_and_nothing_else_is() {
        for value in [
            AMQPValue::ShortShortInt(7),
            AMQPValue::ShortShortUInt(7),
            AMQPValue::ShortInt(7),
            AMQPValue::ShortUInt(7),
            AMQPValue::LongInt(7),
            AMQPValue::LongUInt(7),
            AMQPValue::LongLongInt(7),
            AMQPValue::Float(7.9),
            AMQPValue::Double(7.9),
            AMQPValue::LongString("7".into()),
        ] {
            assert_eq!(delay(value.clone()), Some(7), "{value:?}");
        }
        for value in [
            AMQPValue::LongInt(0),
            AMQPValue::LongInt(-7),
            AMQPValue::Double(0.9),
            AMQPValue::Double(f64::NAN),
            AMQPValue::LongString("soon".into()),
            AMQPValue::LongString("7.5".into()),
            AMQPValue::LongString("".into()),
            AMQPValue::Boolean(true),
            AMQPValue::Timestamp(7),
            AMQPValue::Void,
        ] {
            assert_eq!(delay(value.clone()), None, "{value:?}");
        }
        assert_eq!(delay(AMQPValue::LongLongInt(i64::MAX)), Some(i64::MAX as u64), "64 bits");
        assert_eq!(delay(AMQPValue::LongString((1u64 << 40).to_string().into())), Some(1 << 40));
    }

    #[test]
    fn a_delay_that_has_passed_is_negated() {
        for (given, negated) in [
            (AMQPValue::ShortShortUInt(200), AMQPValue::LongInt(-200)),
            (AMQPValue::LongString("1500".into()), AMQPValue::LongInt(-1500)),
            (AMQPValue::LongLongInt(1 << 40), AMQPValue::LongLongInt(-(1 << 40))),
            (AMQPValue::LongInt(-5), AMQPValue::LongInt(-5)),
        ] {
            let bytes = properties(&given);
            let passed = with_delay_passed(&PropertiesView::parse(&bytes, 8).unwrap());
            let view = PropertiesView::parse(&passed, 8).unwrap();
            let headers = table::decode_entries(view.headers_bytes().unwrap(), 8).unwrap();
            assert_eq!(headers.inner().get(X_DELAY), Some(&negated));
            assert_eq!(delay_ms(&view), None);
        }
    }
}
