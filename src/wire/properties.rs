//! Properties of a message in wire form (AMQP 0-9-1 specification, 2.3.5.2 and 4.2.6.1).
//!
//! A content header ends in *flags*, 16 bits of which the highest says that the first property is there, and then the
//! values of those that are. The broker keeps these bytes as the client sent them. [`PropertiesView`] checks them
//! once and then answers from them without copying; what the protocol changes (BCC, a reply-to, later dead-letter
//! headers) yields new bytes in which all else is the same.
//!
//! RabbitMQ does not look at the two lowest flags. By the specification the lowest one announces another word of flags.
//! Both readings are accepted: the values follow at once, or after the further words; what those announce is not
//! known and stands, unread, behind the known values. Text is bytes: RabbitMQ does not ask for UTF-8 here.

use std::ops::Range;

use amq_protocol::types::AMQPValue;

use thiserror::Error;

use super::method::{erlang_string, push_erlang_pair};
use super::table::{self, TableError, ValueView};
use crate::error::{Fault, ReplyCode};

/// The wire form of no properties at all: no flag is set.
pub const NONE: &[u8] = &[0, 0];

/// The longest `expiration`, in ms: ten years of 365 days.
pub const MAX_EXPIRATION_MS: u64 = 315_360_000_000;

/// "Another word of flags follows."
const MORE_FLAGS: u16 = 1;

/// The properties of class basic, in the order of flags and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Property {
    ContentType,
    ContentEncoding,
    Headers,
    DeliveryMode,
    Priority,
    CorrelationId,
    ReplyTo,
    Expiration,
    MessageId,
    Timestamp,
    Type,
    UserId,
    AppId,
    /// Reserved in 0-9-1, `cluster-id` in 0-8.
    ClusterId,
}

const COUNT: usize = 14;

impl Property {
    const fn flag(self) -> u16 {
        0x8000 >> self as u16
    }
}

/// Why bytes are not the properties of class basic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PropertiesError {
    #[error("properties are cut short")]
    Truncated,
    /// Bytes follow the values that the flags announce.
    #[error("properties are longer than their flags say")]
    TooLong,
    #[error("malformed headers: {0}")]
    Headers(#[from] TableError),
}

impl PropertiesError {
    /// RabbitMQ's channel process dies of this, which ends the connection with 541 INTERNAL_ERROR (0,0) and no text.
    /// It is the client's error, so it is the specification's code for malformed fields here; the scope is the same.
    pub fn fault(self) -> Fault {
        Fault::connection(ReplyCode::SyntaxError, self.to_string())
    }
}

/// Checked properties: the bytes, and where each value stands in them.
#[derive(Clone, Copy, Debug)]
pub struct PropertiesView<'a> {
    bytes: &'a [u8],
    flags: u16,
    marks: Marks,
    /// Where each property's value starts, or would if it were there; the last is where they end. So the value of
    /// `i` is `starts[i]..starts[i + 1]`. A frame's size has 32 bits.
    starts: [u32; COUNT + 1],
}

/// What may stand behind the known values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    Unknown,
}

/// Headers that make a message take another way through the broker.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    cc: bool,
    bcc: bool,
}

impl Marks {
    /// Checks the headers that begin at `at` and returns the bytes they take.
    #[inline]
    fn read_headers(&mut self, bytes: &[u8], at: usize, max_depth: u8) -> Result<usize, TableError> {
        let (entries, _rest) = table::split(bytes.get(at..).unwrap_or_default())?;
        table::walk(entries, max_depth, |key, _entry| match key {
            b"CC" => self.cc = true,
            b"BCC" => self.bcc = true,
            _ => {}
        })?;
        Ok(4 + entries.len())
    }
}

impl<'a> PropertiesView<'a> {
    /// Checks all of a content header behind its body size, in one pass and without allocation.
    /// `max_depth` is that of the headers ([`table::TableLimits`]).
    #[inline]
    pub fn parse(bytes: &'a [u8], max_depth: u8) -> Result<PropertiesView<'a>, PropertiesError> {
        let first = bytes.first_chunk().ok_or(PropertiesError::Truncated)?;
        let flags = u16::from_be_bytes(*first);
        let read = PropertiesView::read(bytes, flags, 2, Rest::Nothing, max_depth);
        if read.is_err() && flags & MORE_FLAGS != 0 {
            return PropertiesView::read_behind_more_flags(bytes, flags, max_depth);
        }
        read
    }

    /// As the specification has it: further words of flags, and values that only who set them can tell apart.
    #[cold]
    fn read_behind_more_flags(bytes: &'a [u8], flags: u16, max_depth: u8) -> Result<Self, PropertiesError> {
        let (mut word, mut rest, mut values_at) = (flags, Rest::Nothing, 2);
        while word & MORE_FLAGS != 0 {
            word = match bytes.get(values_at..values_at + 2) {
                Some(&[high, low]) => u16::from_be_bytes([high, low]),
                _ => return Err(PropertiesError::Truncated),
            };
            if word & !MORE_FLAGS != 0 {
                rest = Rest::Unknown;
            }
            values_at += 2;
        }
        PropertiesView::read(bytes, flags, values_at, rest, max_depth)
    }

    /// Finds and checks the values that `flags` announce, which begin at `values_at`.
    ///
    /// Written out for each property, not as a loop, so that `starts` is filled from registers: this runs for
    /// every message.
    #[inline]
    fn read(bytes: &'a [u8], flags: u16, values_at: usize, rest: Rest, max_depth: u8) -> Result<Self, PropertiesError> {
        let mut at = values_at;
        let mut marks = Marks::default();
        macro_rules! start_of {
            ($property:ident, $size:expr) => {{
                let start = at as u32;
                if flags & Property::$property.flag() != 0 {
                    at += $size;
                }
                start
            }};
        }
        macro_rules! short_string {
            () => {
                1 + *bytes.get(at).ok_or(PropertiesError::Truncated)? as usize
            };
        }
        let starts = [
            start_of!(ContentType, short_string!()),
            start_of!(ContentEncoding, short_string!()),
            start_of!(Headers, marks.read_headers(bytes, at, max_depth)?),
            start_of!(DeliveryMode, 1),
            start_of!(Priority, 1),
            start_of!(CorrelationId, short_string!()),
            start_of!(ReplyTo, short_string!()),
            start_of!(Expiration, short_string!()),
            start_of!(MessageId, short_string!()),
            start_of!(Timestamp, 8),
            start_of!(Type, short_string!()),
            start_of!(UserId, short_string!()),
            start_of!(AppId, short_string!()),
            start_of!(ClusterId, short_string!()),
            at as u32,
        ];
        if at > bytes.len() {
            return Err(PropertiesError::Truncated);
        }
        if at < bytes.len() && rest == Rest::Nothing {
            return Err(PropertiesError::TooLong);
        }
        Ok(PropertiesView { bytes, flags, marks, starts })
    }

    /// The bytes as they came: flags and values.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn has(&self, property: Property) -> bool {
        self.flags & property.flag() != 0
    }

    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.short_string(Property::ContentType)
    }

    pub fn content_encoding(&self) -> Option<&'a [u8]> {
        self.short_string(Property::ContentEncoding)
    }

    /// The entries of the headers table without its length prefix: for [`table::entries`] and [`table::lookup`].
    pub fn headers_bytes(&self) -> Option<&'a [u8]> {
        self.wire_value(Property::Headers).map(|table| &table[4..])
    }

    /// 1 or 2 from clients that follow the specification.
    pub fn delivery_mode(&self) -> Option<u8> {
        self.wire_value(Property::DeliveryMode).map(|value| value[0])
    }

    /// Whether the message survives a restart: delivery-mode is 2. Other modes than 1 and 2 count as transient, as in
    /// RabbitMQ 4; 3.10 refused them with 406 `invalid message: {delivery_mode_unknown,3}`.
    pub fn is_persistent(&self) -> bool {
        self.delivery_mode() == Some(2)
    }

    pub fn priority(&self) -> Option<u8> {
        self.wire_value(Property::Priority).map(|value| value[0])
    }

    pub fn correlation_id(&self) -> Option<&'a [u8]> {
        self.short_string(Property::CorrelationId)
    }

    pub fn reply_to(&self) -> Option<&'a [u8]> {
        self.short_string(Property::ReplyTo)
    }

    /// As sent; for its meaning see [`PropertiesView::expiration_ms`].
    pub fn expiration(&self) -> Option<&'a [u8]> {
        self.short_string(Property::Expiration)
    }

    pub fn message_id(&self) -> Option<&'a [u8]> {
        self.short_string(Property::MessageId)
    }

    /// Seconds since 1970.
    pub fn timestamp(&self) -> Option<u64> {
        let value = self.wire_value(Property::Timestamp)?;
        value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    pub fn message_type(&self) -> Option<&'a [u8]> {
        self.short_string(Property::Type)
    }

    pub fn user_id(&self) -> Option<&'a [u8]> {
        self.short_string(Property::UserId)
    }

    pub fn app_id(&self) -> Option<&'a [u8]> {
        self.short_string(Property::AppId)
    }

    pub fn cluster_id(&self) -> Option<&'a [u8]> {
        self.short_string(Property::ClusterId)
    }

    /// Whether the headers have a `CC` or a `BCC`, of whatever type.
    pub fn has_cc_or_bcc(&self) -> bool {
        self.marks.cc || self.marks.bcc
    }

    /// Whether the headers have a `BCC`, so that [`PropertiesView::without_bcc`] would change anything.
    pub fn has_bcc(&self) -> bool {
        self.marks.bcc
    }

    fn short_string(&self, property: Property) -> Option<&'a [u8]> {
        self.wire_value(property).map(|value| &value[1..])
    }

    /// The value with its length prefix, if the property is there.
    fn wire_value(&self, property: Property) -> Option<&'a [u8]> {
        self.has(property).then(|| &self.bytes[self.range(property)])
    }

    fn range(&self, property: Property) -> Range<usize> {
        let i = property as usize;
        self.starts[i] as usize..self.starts[i + 1] as usize
    }

    /// The additional routing keys: those in `CC`, then those in `BCC`. Elements that are not long strings are left
    /// out; of several headers of one name the first counts.
    ///
    /// 406 if one of the two is not an array.
    pub fn cc_and_bcc(&self) -> Result<Vec<&'a [u8]>, Fault> {
        let mut keys = Vec::new();
        if !self.has_cc_or_bcc() {
            return Ok(keys);
        }
        let headers = self.headers_bytes().unwrap_or_default();
        for name in ["CC", "BCC"] {
            match table::lookup(headers, name.as_bytes()) {
                None => {}
                Some(ValueView::Array(array)) => keys.extend(table::values(array).filter_map(|value| match value {
                    ValueView::LongString(key) => Some(key),
                    _ => None,
                })),
                Some(other) => {
                    let kind = other.type_name();
                    let text = format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}");
                    return Err(Fault::precondition_failed(text));
                }
            }
        }
        Ok(keys)
    }

    /// The expiration in ms. 406 if it is not an integer from 0 to [`MAX_EXPIRATION_MS`] in decimal digits; like
    /// Erlang's, it may have a sign and leading zeros, but nothing before or behind.
    pub fn expiration_ms(&self) -> Result<Option<u64>, Fault> {
        match self.expiration() {
            None => Ok(None),
            Some(text) => match parse_expiration(text) {
                Ok(ms) => Ok(Some(ms)),
                Err(reason) => Err(invalid_expiration(text, &reason)),
            },
        }
    }

    /// New bytes with another reply-to, at most 255 bytes long, whether there was one or not.
    pub fn with_reply_to(&self, reply_to: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(1 + reply_to.len());
        table::push_short_string(&mut value, reply_to);
        self.with(Property::ReplyTo, Some(&value))
    }

    /// New bytes without an expiration, as a dead letter gets them.
    pub fn without_expiration(&self) -> Vec<u8> {
        self.with(Property::Expiration, None)
    }

    /// New bytes with other headers, given as entries in wire form, whether there were any or not.
    pub fn with_headers(&self, entries: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(4 + entries.len());
        value.extend((entries.len() as u32).to_be_bytes());
        value.extend(entries);
        self.with(Property::Headers, Some(&value))
    }

    /// New bytes with this header, in place of any of that name, the others as they are.
    pub fn with_header(&self, name: &[u8], value: &AMQPValue) -> Vec<u8> {
        let mut entries = self.headers_without(name);
        table::push_entry(&mut entries, name, value);
        self.with_headers(&entries)
    }

    /// The entries of all headers that do not have this name.
    fn headers_without(&self, name: &[u8]) -> Vec<u8> {
        let headers = self.headers_bytes().unwrap_or_default();
        let mut kept = Vec::with_capacity(headers.len());
        let walked = table::walk(headers, u8::MAX, |key, entry| {
            if key != name {
                kept.extend(entry);
            }
        });
        debug_assert_eq!(walked, Ok(()), "headers were checked when the view was made");
        kept
    }

    /// New bytes without any header `BCC`, the others as they are. Headers that become empty stay, as an empty table.
    /// RabbitMQ takes away the first `BCC` only and so shows a second one to all who receive the message.
    pub fn without_bcc(&self) -> Vec<u8> {
        if !self.has(Property::Headers) {
            return self.bytes.to_vec();
        }
        self.with_headers(&self.headers_without(b"BCC"))
    }

    /// New bytes with this value, in wire form, in place of the property's, or without the property.
    fn with(&self, property: Property, value: Option<&[u8]>) -> Vec<u8> {
        let value_length = value.map_or(0, <[u8]>::len);
        let flags = match value {
            Some(_) => self.flags | property.flag(),
            None => self.flags & !property.flag(),
        };
        let old = self.range(property);
        let mut bytes = Vec::with_capacity(self.bytes.len() - old.len() + value_length);
        bytes.extend(flags.to_be_bytes());
        bytes.extend(&self.bytes[2..old.start]);
        bytes.extend(value.unwrap_or_default());
        bytes.extend(&self.bytes[old.end..]);
        bytes
    }
}

/// The milliseconds, or the reason why not as an Erlang term.
fn parse_expiration(text: &[u8]) -> Result<u64, Vec<u8>> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let digits_end = unsigned.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(unsigned.len());
    let (digits, leftover) = unsigned.split_at(digits_end);
    if digits.is_empty() {
        return Err(b"no_integer".to_vec());
    }
    if !leftover.is_empty() {
        let leftover = erlang_string(leftover).unwrap_or_else(|| number_list(leftover));
        return Err([b"{leftover_string,", leftover.as_slice(), b"}"].concat());
    }
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    let significant = &digits[zeros..];
    match integer(significant) {
        Some(ms) if ms == 0 || (!negative && ms <= MAX_EXPIRATION_MS) => Ok(ms),
        _ if negative => Err([b"{value_negative,-", significant, b"}"].concat()),
        _ => Err([b"{value_too_large,", significant, b"}"].concat()),
    }
}

/// The value of ASCII digits, none if it exceeds 64 bits; of no digits it is 0.
fn integer(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// A list of bytes as Erlang prints it if it is not text.
fn number_list(bytes: &[u8]) -> Vec<u8> {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("[{}]", numbers.join(",")).into_bytes()
}

/// Not only the text, but where Erlang breaks the line is RabbitMQ's.
fn invalid_expiration(expiration: &[u8], reason: &[u8]) -> Fault {
    let mut text = [b"invalid expiration '", expiration, b"': "].concat();
    push_erlang_pair(&mut text, reason);
    Fault::precondition_failed(String::from_utf8_lossy(&text))
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// A value in wire form for each property, in order.
    const VALUES: [&[u8]; COUNT] = [
        b"\x0atext/plain",
        b"\x04gzip",
        b"\0\0\0\x0a\x01kt\x01\x01nV\x01mV",
        b"\x02",
        b"\x05",
        b"\x02c1",
        b"\x05reply",
        b"\x0460 0",
        b"\x02m1",
        b"\0\0\0\0\x5f\0\0\x01",
        b"\x04type",
        b"\x05guest",
        b"\x03app",
        b"\0",
    ];

    /// Properties with the values that `flags` name, without further words of flags.
    fn wire(flags: u16) -> Vec<u8> {
        let mut bytes = flags.to_be_bytes().to_vec();
        for (i, value) in VALUES.iter().enumerate() {
            if flags & (0x8000 >> i) != 0 {
                bytes.extend(*value);
            }
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<PropertiesView<'_>, PropertiesError> {
        PropertiesView::parse(bytes, 4)
    }

    /// Only these headers, given as entries.
    fn headers(entries: &[u8]) -> Vec<u8> {
        [&b"\x20\0"[..], &(entries.len() as u32).to_be_bytes(), entries].concat()
    }

    fn expiration(text: &[u8]) -> Vec<u8> {
        [&b"\x01\0"[..], &[text.len() as u8], text].concat()
    }

    #[test]
    fn every_combination_of_flags_is_read() {
        for flags in (0..=0xffffu32).step_by(4) {
            let flags = flags as u16;
            let bytes = wire(flags);
            let view = parse(&bytes).unwrap();
            assert_eq!(view.as_bytes(), bytes);
            for (i, value) in VALUES.iter().enumerate() {
                let expected = (flags & (0x8000 >> i) != 0).then_some(*value);
                let property = PROPERTIES[i];
                assert_eq!((view.has(property), view.wire_value(property)), (expected.is_some(), expected));
            }
        }
    }

    const PROPERTIES: [Property; COUNT] = [
        Property::ContentType,
        Property::ContentEncoding,
        Property::Headers,
        Property::DeliveryMode,
        Property::Priority,
        Property::CorrelationId,
        Property::ReplyTo,
        Property::Expiration,
        Property::MessageId,
        Property::Timestamp,
        Property::Type,
        Property::UserId,
        Property::AppId,
        Property::ClusterId,
    ];

    #[test]
    fn every_property_has_its_value() {
        let bytes = wire(0xfffc);
        let view = parse(&bytes).unwrap();
        assert_eq!(view.content_type(), Some(&b"text/plain"[..]));
        assert_eq!(view.content_encoding(), Some(&b"gzip"[..]));
        assert_eq!(view.headers_bytes(), Some(&b"\x01kt\x01\x01nV\x01mV"[..]));
        assert_eq!(view.delivery_mode(), Some(2));
        assert!(view.is_persistent());
        assert_eq!(view.priority(), Some(5));
        assert_eq!(view.correlation_id(), Some(&b"c1"[..]));
        assert_eq!(view.reply_to(), Some(&b"reply"[..]));
        assert_eq!(view.expiration(), Some(&b"60 0"[..]));
        assert_eq!(view.message_id(), Some(&b"m1"[..]));
        assert_eq!(view.timestamp(), Some(0x5f00_0001));
        assert_eq!(view.message_type(), Some(&b"type"[..]));
        assert_eq!(view.user_id(), Some(&b"guest"[..]));
        assert_eq!(view.app_id(), Some(&b"app"[..]));
        assert_eq!(view.cluster_id(), Some(&b""[..]));
        assert!(!view.has_cc_or_bcc());

        let view = parse(NONE).unwrap();
        assert!(PROPERTIES.iter().all(|&property| !view.has(property)));
        assert_eq!((view.timestamp(), view.headers_bytes(), view.is_persistent()), (None, None, false));
        assert_eq!(view.expiration_ms(), Ok(None));
        assert_eq!(view.cc_and_bcc(), Ok(Vec::new()));
    }

    #[test]
    fn every_cut_and_every_surplus_is_refused() {
        for flags in [0x8000, 0x2000, 0x1000, 0x0040, 0x0004, 0xfffc] {
            let bytes = wire(flags);
            for end in 0..bytes.len() {
                let error = parse(&bytes[..end]).unwrap_err();
                let cut = [PropertiesError::Truncated, PropertiesError::Headers(TableError::Truncated)];
                assert!(cut.contains(&error), "{error}");
            }
            assert_eq!(parse(&[&bytes[..], b"\0"].concat()).unwrap_err(), PropertiesError::TooLong);
        }
        assert_eq!(parse(b"\0\0\0").unwrap_err(), PropertiesError::TooLong);
        let unknown_tag = headers(b"\x01kU\0\0");
        let error = parse(&unknown_tag).unwrap_err();
        assert_eq!(error, PropertiesError::Headers(TableError::UnknownTag(b'U')));
        assert_eq!(error.fault().to_string(), "502 SYNTAX_ERROR - malformed headers: unknown field type 85 in table");
    }

    #[test]
    fn the_two_low_flags_are_kept_and_mean_nothing_to_rabbitmq() {
        for low in 1..4 {
            let bytes = wire(0x9000 | low);
            let view = parse(&bytes).unwrap();
            assert_eq!(view.content_type(), Some(&b"text/plain"[..]));
            assert_eq!(view.delivery_mode(), Some(2));
            assert_eq!(view.with_reply_to(b"r")[..2], (0x9200 | low).to_be_bytes());
        }
    }

    #[test]
    fn further_words_of_flags_are_skipped_and_their_values_kept() {
        // No further flag is set: the values must end the bytes.
        let bytes = b"\x90\x01\0\x01\0\0\x01a\x02";
        let view = parse(bytes).unwrap();
        assert_eq!((view.content_type(), view.delivery_mode()), (Some(&b"a"[..]), Some(2)));
        assert_eq!(view.with_reply_to(b"r"), b"\x92\x01\0\x01\0\0\x01a\x02\x01r");
        assert!(parse(&[&bytes[..], b"x"].concat()).is_err());
        // Some are: what they announce stands behind.
        let bytes = b"\x90\x01\x80\0\x01a\x02unknown";
        let view = parse(bytes).unwrap();
        assert_eq!((view.content_type(), view.delivery_mode()), (Some(&b"a"[..]), Some(2)));
        assert_eq!(view.with_reply_to(b"r"), b"\x92\x01\x80\0\x01a\x02\x01runknown");
        assert_eq!(parse(b"\x90\x01\0\x01\x01").unwrap_err(), PropertiesError::Truncated);
    }

    #[test]
    fn an_edit_changes_one_value_and_nothing_else() {
        for flags in (0..=0xffffu32).step_by(4) {
            let flags = flags as u16;
            let bytes = wire(flags);
            let view = parse(&bytes).unwrap();
            for (property, new) in
                [(Property::ReplyTo, view.with_reply_to(b"other")), (Property::Headers, view.with_headers(b"\x01xV"))]
            {
                let edited = parse(&new).unwrap();
                let expected = if property == Property::Headers { &b"\0\0\0\x03\x01xV"[..] } else { b"\x05other" };
                for other in PROPERTIES {
                    let value = if other == property { Some(expected) } else { view.wire_value(other) };
                    assert_eq!(edited.wire_value(other), value);
                }
            }
            let new = view.without_expiration();
            assert_eq!(new, wire(flags & !Property::Expiration.flag()));
            assert_eq!(view.without_bcc(), bytes);
        }
    }

    #[test]
    fn bcc_is_removed_and_the_others_stay_in_order() {
        let array = b"A\0\0\0\x06S\0\0\0\x01k";
        let bcc = [b"\x03BCC", &array[..]].concat();
        let cc = [b"\x02CC", &array[..]].concat();
        let other = b"\x01zL\0\0\0\0\0\0\0\x01\x01at\x09\x01zV\x03bccV";
        let bytes = headers(&[&other[..], &bcc, &cc, &bcc].concat());
        let view = parse(&bytes).unwrap();
        assert!(view.has_bcc() && view.has_cc_or_bcc());
        assert_eq!(view.without_bcc(), headers(&[&other[..], &cc].concat()));
        assert_eq!(view.cc_and_bcc(), Ok(vec![&b"k"[..], b"k"]), "of two BCC the first counts");
        // Alone: an empty table stays.
        let bytes = headers(&bcc);
        let view = parse(&bytes).unwrap();
        assert_eq!(view.without_bcc(), headers(b""));
        assert!(!parse(&headers(b"\x02ccV\x03BCDV")).unwrap().has_cc_or_bcc());
    }

    #[test]
    fn cc_comes_before_bcc_and_only_long_strings_count() {
        let bytes =
            headers(b"\x03BCCA\0\0\0\x0cS\0\0\0\x02b1S\0\0\0\0\x02CCA\0\0\0\x10t\x01S\0\0\0\x02c1VS\0\0\0\x01d");
        let view = parse(&bytes).unwrap();
        assert_eq!(view.cc_and_bcc(), Ok(vec![&b"c1"[..], b"d", b"b1", b""]));
    }

    #[test]
    fn cc_and_bcc_that_are_not_arrays_are_406() {
        for (entries, name, kind) in [
            (&b"\x02CCS\0\0\0\x01k"[..], "CC", "longstr"),
            (b"\x03BCCV", "BCC", "void"),
            (b"\x03BCCI\0\0\0\x01\x02CCt\x01", "CC", "bool"),
            (b"\x02CCA\0\0\0\0\x03BCCu\0\0", "BCC", "unsignedshort"),
        ] {
            let bytes = headers(entries);
            let fault = parse(&bytes).unwrap().cc_and_bcc().unwrap_err();
            let text = format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}");
            assert_eq!(fault, Fault::precondition_failed(text));
        }
    }

    #[test]
    fn expirations_that_rabbitmq_takes() {
        for (text, ms) in [
            (&b"0"[..], 0),
            (b"-0", 0),
            (b"+5", 5),
            (b"60000", 60_000),
            (b"000000000000000000000000000000012", 12),
            (b"315360000000", MAX_EXPIRATION_MS),
        ] {
            assert_eq!(parse(&expiration(text)).unwrap().expiration_ms(), Ok(Some(ms)));
        }
    }

    #[test]
    fn expirations_that_it_refuses() {
        for (text, reason) in [
            ("", "no_integer"),
            ("abc", "no_integer"),
            ("-", "no_integer"),
            ("--5", "no_integer"),
            (" 5", "no_integer"),
            ("5 ", "{leftover_string,\" \"}"),
            ("1.5", "{leftover_string,\".5\"}"),
            ("60s", "{leftover_string,\"s\"}"),
            ("5\"\n", "{leftover_string,\"\\\"\\n\"}"),
            ("5\0\x01", "{leftover_string,[0,1]}"),
            ("5é", "{leftover_string,\"é\"}"),
            ("-1", "{value_negative,-1}"),
            ("-007", "{value_negative,-7}"),
            ("315360000001", "{value_too_large,315360000001}"),
            ("+0315360000001", "{value_too_large,315360000001}"),
            ("99999999999999", "{value_too_large,99999999999999}"),
            (
                "99999999999999999999999999999",
                "{value_too_large,\n                                                     99999999999999999999999999999}",
            ),
        ] {
            let fault = parse(&expiration(text.as_bytes())).unwrap().expiration_ms().unwrap_err();
            assert_eq!(fault, Fault::precondition_failed(format!("invalid expiration '{text}': {reason}")));
        }
    }

    #[test]
    fn random_bytes_never_panic_and_edits_of_valid_ones_are_valid() {
        let mut rng = StdRng::seed_from_u64(0x9409);
        let mut valid = 0;
        for _ in 0..200_000 {
            let mut bytes = wire(rng.random::<u16>() & rng.random::<u16>());
            for _ in 0..rng.random_range(0..3) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[at] = rng.random(),
                    1 => bytes.insert(at, rng.random_range(0..4)),
                    _ => {
                        bytes.remove(at);
                    }
                }
            }
            let Ok(view) = parse(&bytes) else { continue };
            valid += 1;
            assert_eq!(view.as_bytes(), bytes);
            let _ = (view.cc_and_bcc(), view.expiration_ms(), view.timestamp());
            if view.flags & MORE_FLAGS == 0 {
                for edited in [view.with_reply_to(b"r"), view.without_bcc(), view.without_expiration()] {
                    assert!(parse(&edited).is_ok());
                }
            }
        }
        assert!(valid > 50_000, "{valid} were valid");
    }
}
