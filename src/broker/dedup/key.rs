//! What tells a duplicate: the value of a header.

use sha2::{Digest, Sha256};

use crate::storage::record::{Record, flags};
use crate::wire::properties::PropertiesView;
use crate::wire::table::{self, ValueView};

/// How long a message wants its key to be remembered, in place of what the queue or exchange says.
const TTL_HEADER: &[u8] = b"x-cache-ttl";

/// A header's value, by the first 128 bits of its SHA-256: two values that differ have the same key only if somebody has
/// tried 2^64 of them.
///
/// Values are the same that RabbitMQ takes for the same once they are decoded: integers of any width by value, text and
/// binary by their bytes, floats by value; all others by type and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u64; 2]);

impl Key {
    pub const BYTES: usize = 16;

    pub fn of(value: ValueView<'_>) -> Key {
        match value {
            ValueView::Bool(flag) => Key::digest(b't', &[u8::from(flag)]),
            ValueView::LongString(bytes) | ValueView::Binary(bytes) => Key::digest(b'S', bytes),
            ValueView::Float(float) => Key::digest(b'd', &f64::from(float).to_be_bytes()),
            ValueView::Double(float) => Key::digest(b'd', &float.to_be_bytes()),
            ValueView::Decimal { scale, value } => Key::digest(b'D', &[&[scale][..], &value.to_be_bytes()].concat()),
            ValueView::Timestamp(seconds) => Key::of_integer(seconds.into()),
            ValueView::Array(bytes) => Key::digest(b'A', bytes),
            ValueView::Table(bytes) => Key::digest(b'F', bytes),
            ValueView::Void => Key::digest(b'V', &[]),
            integer => Key::of_integer(integer.as_integer().unwrap_or_default().into()),
        }
    }

    fn of_integer(integer: i128) -> Key {
        Key::digest(b'l', &integer.to_be_bytes())
    }

    fn digest(tag: u8, bytes: &[u8]) -> Key {
        let digest = Sha256::new().chain_update([tag]).chain_update(bytes).finalize();
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| digest[at + i]));
        Key([word(0), word(8)])
    }

    /// For tables: the key is a hash already.
    pub fn hash(self) -> u64 {
        self.0[0]
    }

    pub fn to_bytes(self) -> [u8; Key::BYTES] {
        let [low, high] = self.0.map(u64::to_le_bytes);
        std::array::from_fn(|i| if i < 8 { low[i] } else { high[i - 8] })
    }

    pub fn from_bytes(bytes: &[u8; Key::BYTES]) -> Key {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Key([word(0), word(8)])
    }
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub key: Key,
    /// How long it wants to be remembered, if it says so.
    pub ttl_ms: Option<u64>,
}

impl Mark {
    /// What the entries of a table of headers say, if they have the header that is compared.
    pub fn of_headers(headers: &[u8], header: &str) -> Option<Mark> {
        let key = Key::of(table::lookup(headers, header.as_bytes())?);
        let ttl = table::lookup(headers, TTL_HEADER).and_then(|ttl| ttl.as_integer());
        Some(Mark { key, ttl_ms: ttl.and_then(|ms| u64::try_from(ms).ok()) })
    }

    pub fn of_record(record: &Record<'_>, header: &str) -> Option<Mark> {
        if record.flags() & flags::HEADERS == 0 {
            return None;
        }
        let properties = PropertiesView::parse(record.properties(), u8::MAX).ok()?;
        Mark::of_headers(properties.headers_bytes()?, header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_same_whatever_type_they_came_in() {
        let integers = [ValueView::Byte(7), ValueView::UnsignedShort(7), ValueView::Long(7), ValueView::Timestamp(7)];
        assert!(integers.iter().all(|value| Key::of(*value) == Key::of(ValueView::Int(7))));
        assert_eq!(Key::of(ValueView::LongString(b"7")), Key::of(ValueView::Binary(b"7")));
        assert_eq!(Key::of(ValueView::Float(0.5)), Key::of(ValueView::Double(0.5)));
    }

    #[test]
    fn values_that_differ_have_different_keys() {
        let values = [
            ValueView::Int(7),
            ValueView::Int(-7),
            ValueView::LongString(b"7"),
            ValueView::LongString(b""),
            ValueView::Double(7.0),
            ValueView::Bool(true),
            ValueView::Bool(false),
            ValueView::Void,
            ValueView::Table(b""),
            ValueView::Array(b""),
        ];
        for (i, a) in values.iter().enumerate() {
            for b in &values[i + 1..] {
                assert_ne!(Key::of(*a), Key::of(*b), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn a_key_comes_back_from_its_bytes() {
        let key = Key::of(ValueView::LongString(b"some"));
        assert_eq!(Key::from_bytes(&key.to_bytes()), key);
    }
}
