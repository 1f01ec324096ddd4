//! Field tables in wire form (AMQP 0-9-1 specification, 4.2.5.5, with the type tags that RabbitMQ gives them).
//!
//! A table on the wire is `length: u32`, then *entries*: `key: shortstr, tag: u8, value`, one after another. An
//! array is `length: u32`, then values of `tag: u8, value`. Functions here say whether they take the prefixed form
//! or the entries alone.
//!
//! Bytes from a peer go through [`validate`] (or [`validate_entries`]) once. What has passed can be walked as
//! often as wanted with [`entries`] and [`values`], which borrow and never allocate. Nothing here recurses deeper
//! than the depth it is given, an `u8`, so no input can exhaust the stack.
//!
//! Accepted are exactly the tags that RabbitMQ accepts: `S T b B s u I i l L d f t D F A x V`. Like RabbitMQ this
//! refuses `U`, which the specification names for 16-bit integers (RabbitMQ and all clients write `s`). Keys are bytes here, whatever they say: RabbitMQ does not look into them.

use std::str;

use amq_protocol::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString};
use thiserror::Error;

use crate::error::{Fault, ReplyCode};

/// What a table from a peer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// Levels of tables and arrays in one another; a table of plain values has one.
    pub max_depth: u8,
}

impl TableLimits {
    /// Limits from a configured depth; more than 255 levels are never allowed, so that the stack is safe.
    pub fn new(max_depth: u32) -> TableLimits {
        TableLimits { max_depth: u8::try_from(max_depth).unwrap_or(u8::MAX) }
    }
}

/// Why bytes are not a field table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// A key or a value, or the table itself, runs past the end of what holds it.
    #[error("field table is cut short")]
    Truncated,
    #[error("unknown field type {0} in table")]
    UnknownTag(u8),
    #[error("field table is nested deeper than {max_depth} levels")]
    TooDeep { max_depth: u8 },
}

impl TableError {
    /// RabbitMQ has no code for this: its connection process dies, and with it the socket. The code is the
    /// specification's for "illegal values for one or more fields", and it ends the connection.
    pub fn fault(self) -> Fault {
        Fault::connection(ReplyCode::SyntaxError, self.to_string())
    }
}

/// Checks the table that `bytes` begin with, length prefix and all, and returns the bytes it takes.
/// What follows the table is not looked at.
pub fn validate(bytes: &[u8], max_depth: u8) -> Result<usize, TableError> {
    let (table, _rest) = split(bytes)?;
    validate_entries(table, max_depth)?;
    Ok(4 + table.len())
}

/// Checks the entries of a table without its length prefix, as AMQPLAIN sends them.
pub fn validate_entries(entries: &[u8], max_depth: u8) -> Result<(), TableError> {
    walk(entries, max_depth, |_key, _entry| {})
}

/// Splits prefixed bytes (a table, an array or a long string) into what the length covers and what follows.
/// Only the length is checked.
pub fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), TableError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(TableError::Truncated)?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or(TableError::Truncated)
}

/// Checks `entries` and on the way shows each entry of the outermost table to `see`: its key and its whole bytes,
/// key and tag included. One pass; for those who look for a header while they validate.
#[inline]
pub fn walk<'a>(entries: &'a [u8], max_depth: u8, mut see: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), TableError> {
    let depth = Depth::enter_first(max_depth)?;
    let mut rest = entries;
    while let [key_length, after @ ..] = rest {
        let key_length = *key_length as usize;
        let (key, after) = after.split_at_checked(key_length).ok_or(TableError::Truncated)?;
        let (tag, value) = after.split_first().ok_or(TableError::Truncated)?;
        let size = value_size(*tag, value, depth)?;
        let (entry, next) = rest.split_at_checked(2 + key_length + size).ok_or(TableError::Truncated)?;
        see(key, entry);
        rest = next;
    }
    Ok(())
}

/// How many levels may still be entered, and how many there were at first.
#[derive(Clone, Copy)]
struct Depth {
    left: u8,
    max: u8,
}

impl Depth {
    fn enter_first(max: u8) -> Result<Depth, TableError> {
        Depth { left: max, max }.enter()
    }

    fn enter(self) -> Result<Depth, TableError> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Depth { left, max: self.max }),
            None => Err(TableError::TooDeep { max_depth: self.max }),
        }
    }
}

/// The bytes of the value that `bytes` begin with, its tag not counted; nested values are checked.
/// May be more than `bytes` has for values of fixed size: the caller splits with a check.
#[inline]
fn value_size(tag: u8, bytes: &[u8], depth: Depth) -> Result<usize, TableError> {
    match tag {
        b'S' | b'x' => {
            let length = bytes.first_chunk::<4>().ok_or(TableError::Truncated)?;
            Ok(4 + u32::from_be_bytes(*length) as usize)
        }
        b't' | b'b' | b'B' => Ok(1),
        b's' | b'u' => Ok(2),
        b'I' | b'i' => Ok(4),
        b'l' | b'L' | b'T' => Ok(8),
        b'D' => Ok(5),
        b'V' => Ok(0),
        b'f' => Ok(4),
        b'd' => Ok(8),
        b'F' | b'A' => nested_size(tag, bytes, depth),
        unknown => Err(TableError::UnknownTag(unknown)),
    }
}

/// As [`value_size`], of a table or an array. Recurses at most `depth` times.
#[inline(never)]
fn nested_size(tag: u8, bytes: &[u8], depth: Depth) -> Result<usize, TableError> {
    let depth = depth.enter()?;
    let (inner, _) = split(bytes)?;
    let mut rest = inner;
    while !rest.is_empty() {
        let key_size = if tag == b'F' { 1 + rest[0] as usize } else { 0 };
        let (tag, value) = rest.get(key_size..).and_then(<[u8]>::split_first).ok_or(TableError::Truncated)?;
        let size = value_size(*tag, value, depth)?;
        rest = value.get(size..).ok_or(TableError::Truncated)?;
    }
    Ok(4 + inner.len())
}

/// A field value that borrows from the wire. Tables are their entries and arrays their values, without the
/// length prefix: for [`entries`] and [`values`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueView<'a> {
    Bool(bool),
    Byte(i8),
    UnsignedByte(u8),
    Short(i16),
    UnsignedShort(u16),
    Int(i32),
    UnsignedInt(u32),
    /// Tags `l` and `L`: RabbitMQ reads both as signed.
    Long(i64),
    Float(f32),
    Double(f64),
    Decimal {
        scale: u8,
        value: u32,
    },
    LongString(&'a [u8]),
    Array(&'a [u8]),
    /// Seconds since 1970.
    Timestamp(u64),
    Table(&'a [u8]),
    Binary(&'a [u8]),
    Void,
}

impl<'a> ValueView<'a> {
    /// RabbitMQ's name of the type, as its error texts print it: `longstr`, `signedint`, `unsignedbyte`, …
    pub fn type_name(&self) -> &'static str {
        match self {
            ValueView::Bool(_) => "bool",
            ValueView::Byte(_) => "byte",
            ValueView::UnsignedByte(_) => "unsignedbyte",
            ValueView::Short(_) => "short",
            ValueView::UnsignedShort(_) => "unsignedshort",
            ValueView::Int(_) => "signedint",
            ValueView::UnsignedInt(_) => "unsignedint",
            ValueView::Long(_) => "long",
            ValueView::Float(_) => "float",
            ValueView::Double(_) => "double",
            ValueView::Decimal { .. } => "decimal",
            ValueView::LongString(_) => "longstr",
            ValueView::Array(_) => "array",
            ValueView::Timestamp(_) => "timestamp",
            ValueView::Table(_) => "table",
            ValueView::Binary(_) => "binary",
            ValueView::Void => "void",
        }
    }

    /// The number in any of the eight integer types, which RabbitMQ compares by value; not a timestamp.
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            ValueView::Byte(n) => Some(n.into()),
            ValueView::UnsignedByte(n) => Some(n.into()),
            ValueView::Short(n) => Some(n.into()),
            ValueView::UnsignedShort(n) => Some(n.into()),
            ValueView::Int(n) => Some(n.into()),
            ValueView::UnsignedInt(n) => Some(n.into()),
            ValueView::Long(n) => Some(n),
            _ => None,
        }
    }

    /// Reads `tag` and the value after it off the front of `bytes`.
    fn take(bytes: &mut &'a [u8]) -> Option<ValueView<'a>> {
        let [tag] = *take_chunk(bytes)?;
        Some(match tag {
            b't' => ValueView::Bool(take_chunk::<1>(bytes)?[0] != 0),
            b'b' => ValueView::Byte(i8::from_be_bytes(*take_chunk(bytes)?)),
            b'B' => ValueView::UnsignedByte(u8::from_be_bytes(*take_chunk(bytes)?)),
            b's' => ValueView::Short(i16::from_be_bytes(*take_chunk(bytes)?)),
            b'u' => ValueView::UnsignedShort(u16::from_be_bytes(*take_chunk(bytes)?)),
            b'I' => ValueView::Int(i32::from_be_bytes(*take_chunk(bytes)?)),
            b'i' => ValueView::UnsignedInt(u32::from_be_bytes(*take_chunk(bytes)?)),
            b'l' | b'L' => ValueView::Long(i64::from_be_bytes(*take_chunk(bytes)?)),
            b'f' => ValueView::Float(f32::from_be_bytes(*take_chunk(bytes)?)),
            b'd' => ValueView::Double(f64::from_be_bytes(*take_chunk(bytes)?)),
            b'T' => ValueView::Timestamp(u64::from_be_bytes(*take_chunk(bytes)?)),
            b'D' => {
                let [scale] = *take_chunk(bytes)?;
                ValueView::Decimal { scale, value: u32::from_be_bytes(*take_chunk(bytes)?) }
            }
            b'S' => ValueView::LongString(take_prefixed(bytes)?),
            b'x' => ValueView::Binary(take_prefixed(bytes)?),
            b'A' => ValueView::Array(take_prefixed(bytes)?),
            b'F' => ValueView::Table(take_prefixed(bytes)?),
            b'V' => ValueView::Void,
            _ => return None,
        })
    }
}

fn take_chunk<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (chunk, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(chunk)
}

fn take_prefixed<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (value, rest) = split(bytes).ok()?;
    *bytes = rest;
    Some(value)
}

/// The entries of a table given without its length prefix, in wire order, duplicate keys included.
/// Ends early at bytes that [`validate_entries`] would refuse.
pub fn entries(entries: &[u8]) -> Entries<'_> {
    Entries { rest: entries }
}

/// The iterator of [`entries`]: key and value.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], ValueView<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key_length, after) = self.rest.split_first()?;
        let (key, mut after) = after.split_at_checked(*key_length as usize)?;
        let value = ValueView::take(&mut after)?;
        self.rest = after;
        Some((key, value))
    }
}

/// The values of an array given without its length prefix, in wire order.
/// Ends early at bytes that [`validate`] would refuse.
pub fn values(array: &[u8]) -> Values<'_> {
    Values { rest: array }
}

/// The iterator of [`values`].
#[derive(Clone, Debug)]
pub struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = ValueView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        ValueView::take(&mut self.rest)
    }
}

/// The value of `key` in a table given without its length prefix. Of duplicates the first counts, as in RabbitMQ.
pub fn lookup<'a>(table: &'a [u8], key: &[u8]) -> Option<ValueView<'a>> {
    entries(table).find_map(|(k, value)| (k == key).then_some(value))
}

/// Checks the prefixed table that `bytes` begin with and copies it into amq-protocol's form.
///
/// Of duplicate keys the first counts. A key is text there: bytes that are not UTF-8 become U+FFFD, and a key that
/// grows beyond 255 bytes thereby is cut. That is harmless where this form is used (arguments and client
/// properties, which are looked up by names known to be ASCII); what must keep its bytes is kept as bytes.
pub fn decode(bytes: &[u8], max_depth: u8) -> Result<FieldTable, TableError> {
    let (table, _rest) = split(bytes)?;
    decode_entries(table, max_depth)
}

/// As [`decode`], for entries without a length prefix, as AMQPLAIN sends them.
pub fn decode_entries(table: &[u8], max_depth: u8) -> Result<FieldTable, TableError> {
    validate_entries(table, max_depth)?;
    Ok(table_of(table))
}

/// The recursion is as deep as the table, which has been validated.
fn table_of(table: &[u8]) -> FieldTable {
    let mut decoded = FieldTable::default();
    for (key, value) in entries(table) {
        let key = short_string_of(key);
        if !decoded.contains_key(key.as_str()) {
            decoded.insert(key, value_of(value));
        }
    }
    decoded
}

fn short_string_of(bytes: &[u8]) -> ShortString {
    let text = String::from_utf8_lossy(bytes);
    ShortString::from(&text[..floor_char_boundary(&text, 255)])
}

/// The greatest character boundary of `text` that is not beyond `index`.
fn floor_char_boundary(text: &str, index: usize) -> usize {
    if index >= text.len() {
        return text.len();
    }
    (0..=index).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

fn value_of(value: ValueView<'_>) -> AMQPValue {
    match value {
        ValueView::Bool(b) => AMQPValue::Boolean(b),
        ValueView::Byte(n) => AMQPValue::ShortShortInt(n),
        ValueView::UnsignedByte(n) => AMQPValue::ShortShortUInt(n),
        ValueView::Short(n) => AMQPValue::ShortInt(n),
        ValueView::UnsignedShort(n) => AMQPValue::ShortUInt(n),
        ValueView::Int(n) => AMQPValue::LongInt(n),
        ValueView::UnsignedInt(n) => AMQPValue::LongUInt(n),
        ValueView::Long(n) => AMQPValue::LongLongInt(n),
        ValueView::Float(x) => AMQPValue::Float(x),
        ValueView::Double(x) => AMQPValue::Double(x),
        ValueView::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue { scale, value }),
        ValueView::LongString(bytes) => AMQPValue::LongString(LongString::from(bytes)),
        ValueView::Array(array) => {
            AMQPValue::FieldArray(FieldArray::from(values(array).map(value_of).collect::<Vec<_>>()))
        }
        ValueView::Timestamp(seconds) => AMQPValue::Timestamp(seconds),
        ValueView::Table(table) => AMQPValue::FieldTable(table_of(table)),
        ValueView::Binary(bytes) => AMQPValue::ByteArray(ByteArray::from(bytes)),
        ValueView::Void => AMQPValue::Void,
    }
}

/// Appends `table` with its length prefix. 64-bit integers are written as `l`, as RabbitMQ does; entries come in
/// the order of their keys.
pub fn encode(out: &mut Vec<u8>, table: &FieldTable) {
    with_length(out, |out| {
        for (key, value) in table {
            push_entry(out, key.as_str().as_bytes(), value);
        }
    });
}

/// Appends one entry of a table: key, tag, value. For building or extending tables in wire form.
/// `key` is at most 255 bytes long.
pub fn push_entry(out: &mut Vec<u8>, key: &[u8], value: &AMQPValue) {
    push_short_string(out, key);
    push_value(out, value);
}

/// Appends a short string: its length in one byte, then the bytes. `bytes` are at most 255.
pub fn push_short_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u8::try_from(bytes.len()).expect("a short string has at most 255 bytes");
    out.push(length);
    out.extend_from_slice(bytes);
}

/// Appends a value with its tag.
pub fn push_value(out: &mut Vec<u8>, value: &AMQPValue) {
    match value {
        AMQPValue::Boolean(b) => push_fixed(out, b't', [u8::from(*b)]),
        AMQPValue::ShortShortInt(n) => push_fixed(out, b'b', n.to_be_bytes()),
        AMQPValue::ShortShortUInt(n) => push_fixed(out, b'B', n.to_be_bytes()),
        AMQPValue::ShortInt(n) => push_fixed(out, b's', n.to_be_bytes()),
        AMQPValue::ShortUInt(n) => push_fixed(out, b'u', n.to_be_bytes()),
        AMQPValue::LongInt(n) => push_fixed(out, b'I', n.to_be_bytes()),
        AMQPValue::LongUInt(n) => push_fixed(out, b'i', n.to_be_bytes()),
        AMQPValue::LongLongInt(n) => push_fixed(out, b'l', n.to_be_bytes()),
        AMQPValue::Float(x) => push_fixed(out, b'f', x.to_be_bytes()),
        AMQPValue::Double(x) => push_fixed(out, b'd', x.to_be_bytes()),
        AMQPValue::Timestamp(seconds) => push_fixed(out, b'T', seconds.to_be_bytes()),
        AMQPValue::DecimalValue(DecimalValue { scale, value }) => {
            push_fixed(out, b'D', [*scale]);
            out.extend_from_slice(&value.to_be_bytes());
        }
        // Short strings have no tag on the wire; a long string says the same.
        AMQPValue::ShortString(text) => push_bytes(out, b'S', text.as_str().as_bytes()),
        AMQPValue::LongString(bytes) => push_bytes(out, b'S', bytes.as_bytes()),
        AMQPValue::ByteArray(bytes) => push_bytes(out, b'x', bytes.as_slice()),
        AMQPValue::FieldArray(array) => {
            out.push(b'A');
            with_length(out, |out| array.as_slice().iter().for_each(|value| push_value(out, value)));
        }
        AMQPValue::FieldTable(table) => {
            out.push(b'F');
            encode(out, table);
        }
        AMQPValue::Void => out.push(b'V'),
    }
}

fn push_fixed<const N: usize>(out: &mut Vec<u8>, tag: u8, value: [u8; N]) {
    out.push(tag);
    out.extend_from_slice(&value);
}

fn push_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    with_length(out, |out| out.extend_from_slice(bytes));
}

/// Appends what `fill` appends, after its length as an u32.
fn with_length(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let length = u32::try_from(out.len() - start - 4).expect("a table of less than 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// One entry of each tag, in wire form, with the value it has.
    fn samples() -> Vec<(&'static [u8], ValueView<'static>)> {
        vec![
            (b"\x01aS\0\0\0\x02hi", ValueView::LongString(b"hi")),
            (b"\x01aS\0\0\0\x00", ValueView::LongString(b"")),
            (b"\x01ax\0\0\0\x02\xff\0", ValueView::Binary(b"\xff\0")),
            (b"\x01aT\0\0\0\0\x5f\x00\x00\x00", ValueView::Timestamp(0x5f00_0000)),
            (b"\x01ab\xff", ValueView::Byte(-1)),
            (b"\x01aB\xff", ValueView::UnsignedByte(255)),
            (b"\x01as\xff\xfe", ValueView::Short(-2)),
            (b"\x01au\xff\xfe", ValueView::UnsignedShort(0xfffe)),
            (b"\x01aI\xff\xff\xff\xfd", ValueView::Int(-3)),
            (b"\x01ai\xff\xff\xff\xfd", ValueView::UnsignedInt(0xffff_fffd)),
            (b"\x01al\x80\0\0\0\0\0\0\0", ValueView::Long(i64::MIN)),
            (b"\x01aL\xff\xff\xff\xff\xff\xff\xff\xff", ValueView::Long(-1)),
            (b"\x01af\x3f\xc0\0\0", ValueView::Float(1.5)),
            (b"\x01ad\xbf\xf8\0\0\0\0\0\0", ValueView::Double(-1.5)),
            (b"\x01at\0", ValueView::Bool(false)),
            (b"\x01at\x07", ValueView::Bool(true)),
            (b"\x01aD\x02\0\0\x01\x00", ValueView::Decimal { scale: 2, value: 256 }),
            (b"\x01aF\0\0\0\x04\x01bt\x01", ValueView::Table(b"\x01bt\x01")),
            (b"\x01aA\0\0\0\x03Vt\x01", ValueView::Array(b"Vt\x01")),
            (b"\x01aV", ValueView::Void),
        ]
    }

    fn prefixed(entries: &[u8]) -> Vec<u8> {
        [&(entries.len() as u32).to_be_bytes(), entries].concat()
    }

    #[test]
    fn every_tag_is_read() {
        for (entry, value) in samples() {
            assert_eq!(validate_entries(entry, 2), Ok(()), "{entry:?}");
            assert_eq!(entries(entry).collect::<Vec<_>>(), [(&b"a"[..], value)]);
            assert_eq!(lookup(entry, b"a"), Some(value));
            assert_eq!(lookup(entry, b"b"), None);
        }
    }

    #[test]
    fn every_tag_comes_back_from_amq_protocols_form() {
        for (entry, _) in samples() {
            let table = prefixed(entry);
            let mut encoded = Vec::new();
            encode(&mut encoded, &decode(&table, 2).unwrap());
            let mut expected = table.clone();
            match expected[6] {
                b'L' => expected[6] = b'l',
                b't' => expected[7] = expected[7].min(1),
                _ => {}
            }
            assert_eq!(encoded, expected);
        }
    }

    #[test]
    fn every_cut_of_every_tag_is_refused() {
        for (entry, _) in samples() {
            for end in 1..entry.len() {
                assert_eq!(validate_entries(&entry[..end], 2), Err(TableError::Truncated), "{:?}", &entry[..end]);
            }
            let table = prefixed(entry);
            for end in 0..table.len() {
                assert_eq!(validate(&table[..end], 2), Err(TableError::Truncated));
            }
            assert_eq!(validate(&[&table[..], b"more"].concat(), 2), Ok(table.len()));
        }
    }

    #[test]
    fn only_rabbitmqs_tags_are_accepted() {
        let known = b"STbBsuIilLdftDFAxV";
        for tag in (0..=255).filter(|tag| !known.contains(tag)) {
            let entry = [&[1, b'k', tag][..], &[0; 16]].concat();
            assert_eq!(validate_entries(&entry, 4), Err(TableError::UnknownTag(tag)));
            let nested = [&b"\x01kA\0\0\0\x09"[..], &[tag], &[0; 8]].concat();
            assert_eq!(validate_entries(&nested, 4), Err(TableError::UnknownTag(tag)));
        }
        assert_eq!(
            TableError::UnknownTag(b'U').fault().to_string(),
            "502 SYNTAX_ERROR - unknown field type 85 in table"
        );
    }

    #[test]
    fn numbers_that_are_not_finite_are_accepted() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let double = [&b"\x01kd"[..], &x.to_be_bytes()].concat();
            assert_eq!(validate_entries(&double, 1), Ok(()));
            let float = [&b"\x01kf"[..], &(x as f32).to_be_bytes()].concat();
            assert_eq!(validate_entries(&float, 1), Ok(()));
        }
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        // The inner table says 5 of 4 bytes; a string, 4 GiB; a key, 255 bytes.
        for entry in [&b"\x01aF\0\0\0\x05\x01bt\x01"[..], b"\x01aS\xff\xff\xff\xffx", b"\xffkey", b"\x01aA\0\0\0\x02t"]
        {
            assert_eq!(validate_entries(entry, 4), Err(TableError::Truncated));
        }
        // A value must end where its table ends, although bytes follow it.
        assert_eq!(validate_entries(b"\x01aF\0\0\0\x03\x01bt\x01at\x01", 4), Err(TableError::Truncated));
    }

    /// `levels` tables or arrays in one another.
    fn nested(tag: u8, levels: usize) -> Vec<u8> {
        let overhead = if tag == b'F' { 6 } else { 5 };
        let mut bytes = Vec::new();
        for level in (0..levels).rev() {
            if tag == b'F' || level + 1 == levels {
                bytes.push(0);
            }
            bytes.push(tag);
            bytes.extend(((level * overhead) as u32).to_be_bytes());
        }
        bytes
    }

    #[test]
    fn depth_is_bounded_and_a_million_bytes_of_nesting_do_not_overflow_the_stack() {
        for tag in [b'F', b'A'] {
            assert_eq!(validate_entries(&nested(tag, 3), 4), Ok(()), "the outermost table is a level, too");
            assert_eq!(validate_entries(&nested(tag, 3), 3), Err(TableError::TooDeep { max_depth: 3 }));
            let deepest = nested(tag, 254);
            assert_eq!(validate_entries(&deepest, 255), Ok(()));
            let mut encoded = Vec::new();
            encode(&mut encoded, &decode_entries(&deepest, 255).unwrap());
            assert_eq!(encoded, prefixed(&deepest));
            let deep = nested(tag, 200_000);
            assert!(deep.len() >= 1_000_000);
            assert_eq!(validate_entries(&deep, 255), Err(TableError::TooDeep { max_depth: 255 }));
        }
        assert_eq!(validate_entries(b"", 0), Err(TableError::TooDeep { max_depth: 0 }));
        assert_eq!(TableLimits::new(64).max_depth, 64);
        assert_eq!(TableLimits::new(256).max_depth, 255);
    }

    #[test]
    fn of_duplicate_keys_the_first_counts() {
        let table = b"\x01at\x01\x01aB\x02";
        assert_eq!(lookup(table, b"a"), Some(ValueView::Bool(true)));
        let decoded = decode_entries(table, 1).unwrap();
        assert_eq!(decoded.inner().get("a"), Some(&AMQPValue::Boolean(true)));
        assert_eq!(entries(table).count(), 2);
    }

    #[test]
    fn keys_are_bytes_and_become_text_only_in_amq_protocols_form() {
        let key = [0xff; 255];
        let table = [&[255][..], &key, b"V\x02\xc3\xa9t\x01"].concat();
        assert_eq!(lookup(&table, &key), Some(ValueView::Void));
        let decoded = decode_entries(&table, 1).unwrap();
        assert_eq!(decoded.inner().get("\u{fffd}".repeat(85).as_str()), Some(&AMQPValue::Void));
        assert_eq!(decoded.inner().get("é"), Some(&AMQPValue::Boolean(true)));
    }

    #[test]
    fn walk_shows_the_outermost_entries_whole() {
        let table: Vec<u8> = samples().iter().flat_map(|(entry, _)| entry.iter().copied()).collect();
        let mut seen = Vec::new();
        walk(&table, 2, |key, entry| {
            assert_eq!(key, b"a");
            seen.push(entry);
        })
        .unwrap();
        let whole: Vec<&[u8]> = samples().into_iter().map(|(entry, _)| entry).collect();
        assert_eq!(seen, whole);
    }

    #[test]
    fn random_bytes_are_judged_the_same_by_all_and_never_panic() {
        let mut rng = StdRng::seed_from_u64(0x7ab1e);
        let alphabet = b"STbBsuIilLdftDFAxVU\0\0\0\0\0\x01\x02\x03\x09";
        let mut valid = 0;
        for _ in 0..200_000 {
            let bytes: Vec<u8> =
                (0..rng.random_range(0..40)).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect();
            let checked = validate_entries(&bytes, 3);
            let read = entries(&bytes).count();
            if checked.is_ok() {
                valid += 1;
                let mut size = 0;
                walk(&bytes, 3, |_, entry| size += entry.len()).unwrap();
                assert_eq!(size, bytes.len());
                assert_eq!(decode_entries(&bytes, 3).unwrap().inner().len().min(1), read.min(1));
                let mut encoded = Vec::new();
                encode(&mut encoded, &decode_entries(&bytes, 3).unwrap());
                assert_eq!(validate(&encoded, 3), Ok(encoded.len()));
            } else {
                assert_eq!(decode_entries(&bytes, 3).err(), checked.err());
            }
            let _ = validate(&bytes, 3);
            values(&bytes).for_each(drop);
        }
        assert!(valid > 1_000, "{valid} of the random tables were valid");
    }
}
