//! Method frames that are not on the hot path, decoded and encoded by amq-protocol.
//!
//! Arguments are checked against the layout of their method (specification, 4.2 and the `field`s of its XML)
//! before amq-protocol sees them, in the order in which RabbitMQ checks: first that the lengths fit exactly, then
//! each field in turn. So each way to be wrong gets RabbitMQ's code and text. Tables are decoded by [`table`],
//! which bounds their depth; amq-protocol's recursive parser is given empty ones only.

use std::str;

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame};
use amq_protocol::protocol::{AMQPClass, basic, connection, exchange, parse_class, queue};
use amq_protocol::types::FieldTable;
use thiserror::Error;

use super::table::{self, TableError, TableLimits};
use crate::error::{Close, Fault, ReplyCode};

/// Why the payload of a method frame cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MethodError {
    /// Less than the four bytes of class and method id. Holds the payload.
    #[error("a method frame of {} bytes", .payload.len())]
    NoMethod { payload: Vec<u8> },
    #[error("unknown method {class},{method}")]
    UnknownMethod { class: u16, method: u16 },
    /// The arguments do not fit the layout of their method, or bytes follow them. Holds the arguments' first bytes,
    /// as many as can show in a reply text.
    #[error("malformed arguments of method {class},{method}")]
    Malformed { class: u16, method: u16, arguments: Vec<u8> },
    /// A short string is not UTF-8. RabbitMQ also lets surrogates and code points above U+10FFFF pass; no client
    /// library can send those.
    #[error("a short string of method {class},{method} is not UTF-8")]
    MalformedUtf8 { class: u16, method: u16 },
    #[error("method {class},{method}: {error}")]
    Table { class: u16, method: u16, error: TableError },
}

/// A byte takes two characters at least, and a reply text has 255 bytes.
const ARGUMENTS_SHOWN: usize = 128;

impl MethodError {
    /// The error with RabbitMQ's code and text. Each ends the connection.
    ///
    /// In two cases RabbitMQ has none, since its connection process dies and closes the socket without a word: an
    /// unknown method is 503 here, as a known one is that no client may send, and a malformed table 502. And on
    /// channel 0 RabbitMQ turns malformed arguments into 541, by a slip of its error handling; here they are 501 there,
    /// too.
    pub fn fault(&self) -> Fault {
        match self {
            MethodError::NoMethod { payload } => {
                Fault::connection(ReplyCode::FrameError, frame_text(1, payload, "unknown_frame"))
            }
            MethodError::UnknownMethod { .. } => Fault::connection(ReplyCode::CommandInvalid, "unimplemented method"),
            MethodError::Malformed { arguments, .. } => {
                Fault::connection(ReplyCode::FrameError, format!("cannot decode {}", numbers(arguments)))
            }
            MethodError::MalformedUtf8 { .. } => {
                Fault::connection(ReplyCode::FrameError, "Malformed UTF-8 in shortstr")
            }
            MethodError::Table { error, .. } => error.fault(),
        }
    }

    /// The close with the class and method that RabbitMQ puts there: none for what is not a method, nor for a
    /// short string that is not UTF-8 unless on channel 0.
    pub fn close(&self, channel: u16) -> Close {
        let (class_id, method_id) = match *self {
            MethodError::NoMethod { .. } => (0, 0),
            MethodError::MalformedUtf8 { .. } if channel != 0 => (0, 0),
            MethodError::UnknownMethod { class, method }
            | MethodError::Malformed { class, method, .. }
            | MethodError::MalformedUtf8 { class, method }
            | MethodError::Table { class, method, .. } => (class, method),
        };
        self.fault().caused_by(class_id, method_id)
    }
}

/// Decodes the payload of a method frame: class id, method id, arguments.
///
/// Reserved fields may hold anything of their type. `basic.publish` and what a server sends with content come out
/// only if their short strings are UTF-8, which RabbitMQ does not ask of those; the hot path does not come here.
pub fn decode(payload: &[u8], limits: TableLimits) -> Result<AMQPClass, MethodError> {
    let Some((&[c0, c1, m0, m1], arguments)) = payload.split_first_chunk() else {
        return Err(MethodError::NoMethod { payload: payload.to_vec() });
    };
    let (class, method) = (u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1]));
    let layout = layout(class, method).ok_or(MethodError::UnknownMethod { class, method })?;
    if !fits(layout, arguments) {
        let arguments = arguments[..arguments.len().min(ARGUMENTS_SHOWN)].to_vec();
        return Err(MethodError::Malformed { class, method, arguments });
    }
    let checked = check(layout, arguments, limits).map_err(|error| match error {
        FieldError::Utf8 => MethodError::MalformedUtf8 { class, method },
        FieldError::Table(error) => MethodError::Table { class, method, error },
    })?;
    let (head, tail) = arguments.split_at(checked.table_start);
    let without_table = match checked.table {
        None => payload.to_vec(),
        Some(_) => [&payload[..4], head, &[0; 4], &tail[checked.table_size..]].concat(),
    };
    match parse_class(without_table.as_slice()) {
        Ok(([], mut decoded)) => {
            if let (Some(table), Some(slot)) = (checked.table, table_slot(&mut decoded)) {
                *slot = table;
            }
            Ok(decoded)
        }
        // The layout fits, so only a short string that RabbitMQ takes as bytes can have been refused.
        _ => Err(MethodError::MalformedUtf8 { class, method }),
    }
}

/// Appends the method as one whole frame. Short strings in it are at most 255 bytes long.
///
/// The frame is not split, so it must fit the peer's frame-max; of the replies only `connection.start` could be
/// too large, and it comes before frame-max is agreed.
pub fn encode(out: &mut Vec<u8>, channel: u16, method: AMQPClass) {
    let frame = AMQPFrame::Method(channel, method);
    let context = WriteContext { write: std::mem::take(out), position: 0 };
    let written = gen_frame(&frame)(context).expect("writing to memory cannot fail");
    *out = written.write;
}

/// Class and method id.
pub fn ids(method: &AMQPClass) -> (u16, u16) {
    (method.get_amqp_class_id(), method.get_amqp_method_id())
}

/// The name of a method, as logs tell it: `queue.declare`; `none` for (0, 0), which stands for no method.
pub fn name(class_id: u16, method_id: u16) -> &'static str {
    match (class_id, method_id) {
        (10, 10) => "connection.start",
        (10, 11) => "connection.start-ok",
        (10, 20) => "connection.secure",
        (10, 21) => "connection.secure-ok",
        (10, 30) => "connection.tune",
        (10, 31) => "connection.tune-ok",
        (10, 40) => "connection.open",
        (10, 41) => "connection.open-ok",
        (10, 50) => "connection.close",
        (10, 51) => "connection.close-ok",
        (10, 60) => "connection.blocked",
        (10, 61) => "connection.unblocked",
        (10, 70) => "connection.update-secret",
        (10, 71) => "connection.update-secret-ok",
        (20, 10) => "channel.open",
        (20, 11) => "channel.open-ok",
        (20, 20) => "channel.flow",
        (20, 21) => "channel.flow-ok",
        (20, 40) => "channel.close",
        (20, 41) => "channel.close-ok",
        (30, 10) => "access.request",
        (30, 11) => "access.request-ok",
        (40, 10) => "exchange.declare",
        (40, 11) => "exchange.declare-ok",
        (40, 20) => "exchange.delete",
        (40, 21) => "exchange.delete-ok",
        (40, 30) => "exchange.bind",
        (40, 31) => "exchange.bind-ok",
        (40, 40) => "exchange.unbind",
        (40, 51) => "exchange.unbind-ok",
        (50, 10) => "queue.declare",
        (50, 11) => "queue.declare-ok",
        (50, 20) => "queue.bind",
        (50, 21) => "queue.bind-ok",
        (50, 30) => "queue.purge",
        (50, 31) => "queue.purge-ok",
        (50, 40) => "queue.delete",
        (50, 41) => "queue.delete-ok",
        (50, 50) => "queue.unbind",
        (50, 51) => "queue.unbind-ok",
        (60, 10) => "basic.qos",
        (60, 11) => "basic.qos-ok",
        (60, 20) => "basic.consume",
        (60, 21) => "basic.consume-ok",
        (60, 30) => "basic.cancel",
        (60, 31) => "basic.cancel-ok",
        (60, 40) => "basic.publish",
        (60, 50) => "basic.return",
        (60, 60) => "basic.deliver",
        (60, 70) => "basic.get",
        (60, 71) => "basic.get-ok",
        (60, 72) => "basic.get-empty",
        (60, 80) => "basic.ack",
        (60, 90) => "basic.reject",
        (60, 100) => "basic.recover-async",
        (60, 110) => "basic.recover",
        (60, 111) => "basic.recover-ok",
        (60, 120) => "basic.nack",
        (85, 10) => "confirm.select",
        (85, 11) => "confirm.select-ok",
        (90, 10) => "tx.select",
        (90, 11) => "tx.select-ok",
        (90, 20) => "tx.commit",
        (90, 21) => "tx.commit-ok",
        (90, 30) => "tx.rollback",
        (90, 31) => "tx.rollback-ok",
        _ => "none",
    }
}

/// The wire type of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    U8,
    U16,
    U32,
    U64,
    /// Up to eight bits in one byte; no method has more in a row.
    Bits,
    /// UTF-8.
    Text,
    /// A short string whose bytes RabbitMQ does not look at.
    ShortBytes,
    LongBytes,
    Table,
}

impl Field {
    /// The size of the field at the front of `bytes`, prefix included; none if not even its length is there.
    fn size(self, bytes: &[u8]) -> Option<usize> {
        Some(match self {
            Field::U8 | Field::Bits => 1,
            Field::U16 => 2,
            Field::U32 => 4,
            Field::U64 => 8,
            Field::Text | Field::ShortBytes => 1 + *bytes.first()? as usize,
            Field::LongBytes | Field::Table => 4 + u32::from_be_bytes(*bytes.first_chunk()?) as usize,
        })
    }
}

/// The fields of each method that amq-protocol knows: all of the protocol. RabbitMQ 4 also parses `basic.credit` and
/// its replies (60,200 to 60,202), only to answer "unimplemented method", as is done here for what is not known.
fn layout(class: u16, method: u16) -> Option<&'static [Field]> {
    use Field::*;
    Some(match (class, method) {
        // connection: start, start-ok, secure, secure-ok, tune, tune-ok, open, open-ok, close, close-ok, blocked,
        // unblocked, update-secret, update-secret-ok
        (10, 10) => &[U8, U8, Table, LongBytes, LongBytes],
        (10, 11) => &[Table, Text, LongBytes, Text],
        (10, 20 | 21) => &[LongBytes],
        (10, 30 | 31) => &[U16, U32, U16],
        (10, 40) => &[Text, Text, Bits],
        (10, 41) => &[Text],
        (10, 50) => &[U16, Text, U16, U16],
        (10, 51) => &[],
        (10, 60) => &[Text],
        (10, 61) => &[],
        (10, 70) => &[LongBytes, Text],
        (10, 71) => &[],
        // channel: open, open-ok, flow, flow-ok, close, close-ok
        (20, 10) => &[Text],
        (20, 11) => &[LongBytes],
        (20, 20 | 21) => &[Bits],
        (20, 40) => &[U16, Text, U16, U16],
        (20, 41) => &[],
        // access: request, request-ok
        (30, 10) => &[Text, Bits],
        (30, 11) => &[U16],
        // exchange: declare, delete, bind, unbind, each with its ok
        (40, 10) => &[U16, Text, Text, Bits, Table],
        (40, 20) => &[U16, Text, Bits],
        (40, 30 | 40) => &[U16, Text, Text, Text, Bits, Table],
        (40, 11 | 21 | 31 | 51) => &[],
        // queue: declare, declare-ok, bind, bind-ok, purge, purge-ok, delete, delete-ok, unbind, unbind-ok
        (50, 10) => &[U16, Text, Bits, Table],
        (50, 11) => &[Text, U32, U32],
        (50, 20) => &[U16, Text, Text, Text, Bits, Table],
        (50, 30) => &[U16, Text, Bits],
        (50, 31 | 41) => &[U32],
        (50, 40) => &[U16, Text, Bits],
        (50, 50) => &[U16, Text, Text, Text, Table],
        (50, 21 | 51) => &[],
        // basic: qos, qos-ok, consume, consume-ok, cancel, cancel-ok, publish, return, deliver, get, get-ok,
        // get-empty, ack, reject, recover-async, recover, recover-ok, nack
        (60, 10) => &[U32, U16, Bits],
        (60, 11) => &[],
        (60, 20) => &[U16, Text, Text, Bits, Table],
        (60, 21 | 31) => &[Text],
        (60, 30) => &[Text, Bits],
        (60, 40) => &[U16, ShortBytes, ShortBytes, Bits],
        (60, 50) => &[U16, ShortBytes, ShortBytes, ShortBytes],
        (60, 60) => &[ShortBytes, U64, Bits, ShortBytes, ShortBytes],
        (60, 70) => &[U16, Text, Bits],
        (60, 71) => &[U64, Bits, ShortBytes, ShortBytes, U32],
        (60, 72) => &[Text],
        (60, 80 | 90 | 120) => &[U64, Bits],
        (60, 100 | 110) => &[Bits],
        (60, 111) => &[],
        // confirm: select, select-ok
        (85, 10) => &[Bits],
        (85, 11) => &[],
        // tx: select, commit, rollback, each with its ok
        (90, 10 | 11 | 20 | 21 | 30 | 31) => &[],
        _ => return None,
    })
}

/// Whether the fields take `arguments` exactly.
fn fits(layout: &[Field], arguments: &[u8]) -> bool {
    let mut rest = arguments;
    for field in layout {
        match field.size(rest).and_then(|size| rest.get(size..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

enum FieldError {
    Utf8,
    Table(TableError),
}

/// The table among checked arguments and where it was; a method has one at most.
#[derive(Default)]
struct Checked {
    table: Option<FieldTable>,
    table_start: usize,
    table_size: usize,
}

/// Checks the fields' values, in order. The layout [`fits`].
fn check(layout: &[Field], arguments: &[u8], limits: TableLimits) -> Result<Checked, FieldError> {
    let mut checked = Checked::default();
    let mut start = 0;
    for field in layout {
        let rest = &arguments[start..];
        let size = field.size(rest).unwrap_or(0);
        match field {
            Field::Text => {
                str::from_utf8(&rest[1..size]).map_err(|_| FieldError::Utf8)?;
            }
            Field::Table => {
                let table = table::decode(rest, limits.max_depth).map_err(FieldError::Table)?;
                checked = Checked { table: Some(table), table_start: start, table_size: size };
            }
            _ => {}
        }
        start += size;
    }
    Ok(checked)
}

/// Where a method keeps its table.
fn table_slot(method: &mut AMQPClass) -> Option<&mut FieldTable> {
    Some(match method {
        AMQPClass::Connection(connection::AMQPMethod::Start(m)) => &mut m.server_properties,
        AMQPClass::Connection(connection::AMQPMethod::StartOk(m)) => &mut m.client_properties,
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(m)) => &mut m.arguments,
        AMQPClass::Exchange(exchange::AMQPMethod::Bind(m)) => &mut m.arguments,
        AMQPClass::Exchange(exchange::AMQPMethod::Unbind(m)) => &mut m.arguments,
        AMQPClass::Queue(queue::AMQPMethod::Declare(m)) => &mut m.arguments,
        AMQPClass::Queue(queue::AMQPMethod::Bind(m)) => &mut m.arguments,
        AMQPClass::Queue(queue::AMQPMethod::Unbind(m)) => &mut m.arguments,
        AMQPClass::Basic(basic::AMQPMethod::Consume(m)) => &mut m.arguments,
        _ => return None,
    })
}

/// The text of RabbitMQ's 501 for a frame that is wrong as a whole: `type 1, first 16 octets = <<…>>: unknown_frame`.
/// `error` is an Erlang term without spaces, such as `{invalid_frame_end_marker,0}`. With an empty one it is the text
/// of the 505 for a frame that is not expected.
pub fn frame_text(frame_type: u8, payload: &[u8], error: &str) -> String {
    let (which, shown) = if payload.len() > 16 { ("first 16", &payload[..16]) } else { ("all", payload) };
    let mut text = format!("type {frame_type}, {which} octets = ").into_bytes();
    let binary = erlang_binary(shown, text.len());
    text.extend(binary);
    if !error.is_empty() {
        text.extend(b": ");
        push_erlang_pair(&mut text, error.as_bytes());
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A binary as Erlang's `~p` prints it at `column`: `<<"text">>` if all of it is printable Latin-1, else numbers,
/// wrapped at column 79. For at most 16 bytes; longer text would be wrapped, too.
fn erlang_binary(bytes: &[u8], column: usize) -> Vec<u8> {
    if bytes.is_empty() {
        return b"<<>>".to_vec();
    }
    if let Some(text) = erlang_string(bytes) {
        return [b"<<", text.as_slice(), b">>"].concat();
    }
    let indent = column + 2;
    let (mut text, mut at) = (String::from("<<"), indent);
    for (i, byte) in bytes.iter().enumerate() {
        let separator = if i + 1 == bytes.len() { "" } else { "," };
        let number = format!("{byte}{separator}");
        if i > 0 && at + number.len() > 79 {
            text.push_str(&format!("\n{:indent$}", ""));
            at = indent;
        }
        at += number.len();
        text.push_str(&number);
    }
    text.push_str(">>");
    text.into_bytes()
}

/// Bytes as Erlang's `~p` prints a string: `"…"` with its escapes. None if not all of it is printable Latin-1.
pub(super) fn erlang_string(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = vec![b'"'];
    for &byte in bytes {
        match byte {
            b'"' => text.extend(b"\\\""),
            b'\\' => text.extend(b"\\\\"),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            b'\t' => text.extend(b"\\t"),
            0x08 => text.extend(b"\\b"),
            0x0b => text.extend(b"\\v"),
            0x0c => text.extend(b"\\f"),
            0x1b => text.extend(b"\\e"),
            b' '..=b'~' | 0xa0.. => text.push(byte),
            _ => return None,
        }
    }
    text.push(b'"');
    Some(text)
}

/// Appends an atom, or a pair such as `{value_negative,-1}`, as Erlang's `~p` prints it: a pair takes two lines if
/// it would pass column 78.
pub(super) fn push_erlang_pair(text: &mut Vec<u8>, term: &[u8]) {
    let column = text.iter().rev().take_while(|&&byte| byte != b'\n').count();
    match term.iter().position(|&byte| byte == b',') {
        Some(comma) if column + term.len() > 78 => {
            text.extend(&term[..=comma]);
            text.extend(format!("\n{:indent$}", "", indent = column + 1).bytes());
            text.extend(&term[comma + 1..]);
        }
        _ => text.extend(term),
    }
}

/// Bytes as Erlang's `~w` prints a binary: always numbers.
fn numbers(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("<<{}>>", numbers.join(","))
}

#[cfg(test)]
mod tests {
    use amq_protocol::types::{AMQPValue, ShortString};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const LIMITS: TableLimits = TableLimits { max_depth: 8 };

    fn all_methods() -> Vec<(u16, u16)> {
        let ids = (0..100).flat_map(|class| (0..300).map(move |method| (class, method)));
        ids.filter(|&(class, method)| layout(class, method).is_some()).collect()
    }

    /// The smallest arguments that fit: numbers 0, strings and tables empty.
    fn smallest(layout: &[Field]) -> Vec<u8> {
        let sizes = layout.iter().map(|field| field.size(&[0; 8]).unwrap());
        vec![0; sizes.sum()]
    }

    fn payload(class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
        [&class.to_be_bytes(), &method.to_be_bytes(), arguments].concat()
    }

    fn text(error: MethodError) -> String {
        error.fault().to_string()
    }

    #[test]
    fn every_method_comes_back_as_it_was_sent() {
        assert_eq!(all_methods().len(), 66);
        for (class, method) in all_methods() {
            let mut payload = payload(class, method, &smallest(layout(class, method).unwrap()));
            if (class, method) == (30, 11) {
                payload[5] = 1; // amq-protocol knows one ticket, the one that RabbitMQ gives
            }
            let decoded = decode(&payload, LIMITS).unwrap();
            assert_eq!(ids(&decoded), (class, method));
            let mut frame = b"before".to_vec();
            encode(&mut frame, 0x102, decoded);
            let length = (payload.len() as u32).to_be_bytes();
            assert_eq!(frame, [&b"before\x01\x01\x02"[..], &length, &payload, b"\xce"].concat(), "{class},{method}");
        }
    }

    #[test]
    fn arguments_one_byte_short_or_long_are_refused_for_every_method() {
        for (class, method) in all_methods() {
            let arguments = smallest(layout(class, method).unwrap());
            let longer = [arguments.as_slice(), b"\0"].concat();
            let mut wrong = vec![longer];
            wrong.extend((0..arguments.len()).map(|end| arguments[..end].to_vec()));
            for arguments in wrong {
                let error = decode(&payload(class, method, &arguments), LIMITS).unwrap_err();
                assert_eq!(error, MethodError::Malformed { class, method, arguments });
                assert_eq!(error.close(1).class_id, class);
                assert_eq!(error.close(1).method_id, method);
            }
        }
    }

    #[test]
    fn fields_land_where_they_belong() {
        let arguments = b"\0\0\x01q\x1d\0\0\0\x08\x02x-t\x01\x01vV";
        let AMQPClass::Queue(queue::AMQPMethod::Declare(declare)) =
            decode(&payload(50, 10, arguments), LIMITS).unwrap()
        else {
            panic!("not a queue.declare");
        };
        assert_eq!(declare.queue.as_str(), "q");
        assert!(declare.passive && !declare.durable && declare.exclusive && declare.auto_delete && declare.nowait);
        assert_eq!(declare.arguments.inner().get("x-"), Some(&AMQPValue::Boolean(true)));
        assert_eq!(declare.arguments.inner().len(), 2);

        // A table in the middle, with fields behind it.
        let arguments = b"\0\0\0\x03\x01kV\x05PLAIN\0\0\0\x03\0a\0\x05en_US";
        let AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)) =
            decode(&payload(10, 11, arguments), LIMITS).unwrap()
        else {
            panic!("not a connection.start-ok");
        };
        assert_eq!(start_ok.client_properties.inner().get("k"), Some(&AMQPValue::Void));
        assert_eq!(start_ok.mechanism.as_str(), "PLAIN");
        assert_eq!(start_ok.response.as_bytes(), b"\0a\0");
        assert_eq!(start_ok.locale.as_str(), "en_US");
    }

    #[test]
    fn a_table_is_encoded_in_its_frame() {
        let mut table = FieldTable::default();
        table.insert(ShortString::from("product"), AMQPValue::LongString("Leveret".into()));
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: table,
            mechanisms: "PLAIN".into(),
            locales: "en_US".into(),
        };
        let start = AMQPClass::Connection(connection::AMQPMethod::Start(start));
        let mut frame = Vec::new();
        encode(&mut frame, 0, start.clone());
        assert_eq!(frame[..7], [1, 0, 0, 0, 0, 0, frame.len() as u8 - 8]);
        assert_eq!(decode(&frame[7..frame.len() - 1], LIMITS), Ok(start));
    }

    #[test]
    fn unknown_methods_are_503() {
        for (class, method) in [(0, 0), (10, 12), (40, 41), (60, 200), (70, 10), (0xffff, 0xffff)] {
            let error = decode(&payload(class, method, b"anything"), LIMITS).unwrap_err();
            assert_eq!(error, MethodError::UnknownMethod { class, method });
            assert_eq!(error.close(3).class_id, class);
            assert_eq!(text(error), "503 COMMAND_INVALID - unimplemented method");
        }
    }

    #[test]
    fn malformed_arguments_are_shown_in_numbers() {
        let error = |arguments: &[u8]| text(decode(&payload(50, 10, arguments), LIMITS).unwrap_err());
        assert_eq!(error(b""), "501 FRAME_ERROR - cannot decode <<>>");
        assert_eq!(error(b"\0\x01ab"), "501 FRAME_ERROR - cannot decode <<0,1,97,98>>");
        let long = MethodError::Malformed { class: 50, method: 10, arguments: vec![1; ARGUMENTS_SHOWN] };
        assert!(long.fault().text.len() > 255, "the cut does not show");
        // Lengths are judged before anything else is.
        assert_eq!(error(b"\0\0\x01\xff\0\0\0\0\0\0"), "501 FRAME_ERROR - cannot decode <<0,0,1,255,0,0,0,0,0,0>>");
    }

    #[test]
    fn a_payload_without_a_method_is_an_unknown_frame() {
        let error = decode(b"\0\x0a\0", LIMITS).unwrap_err();
        assert_eq!((error.close(1).class_id, error.close(1).method_id), (0, 0));
        assert_eq!(text(error), "501 FRAME_ERROR - type 1, all octets = <<0,10,0>>: unknown_frame");
    }

    #[test]
    fn short_strings_are_utf8() {
        let error = decode(&payload(50, 10, b"\0\0\x01\xff\0\0\0\0\0"), LIMITS).unwrap_err();
        assert_eq!(error, MethodError::MalformedUtf8 { class: 50, method: 10 });
        assert_eq!(error.close(1).class_id, 0, "RabbitMQ forgets the method on a channel");
        let error = decode(&payload(10, 40, b"\x01\x80\0\0"), LIMITS).unwrap_err();
        assert_eq!((error.close(0).class_id, error.close(0).method_id), (10, 40));
        assert_eq!(text(error), "501 FRAME_ERROR - Malformed UTF-8 in shortstr");
        // A string before the table is judged before it, a string behind it, after.
        let error = decode(&payload(10, 11, b"\0\0\0\x03\x01kU\x01\xff\0\0\0\0\0"), LIMITS).unwrap_err();
        assert_eq!(error, MethodError::Table { class: 10, method: 11, error: TableError::UnknownTag(b'U') });
    }

    #[test]
    fn tables_are_bounded() {
        let deep: Vec<u8> =
            (0..200_000u32).rev().flat_map(|level| [&b"\0F"[..], &(6 * level).to_be_bytes()].concat()).collect();
        let arguments = [&b"\0\0\0\0"[..], &(deep.len() as u32).to_be_bytes(), &deep].concat();
        let error = decode(&payload(50, 10, &arguments), LIMITS).unwrap_err();
        assert_eq!(text(error), "502 SYNTAX_ERROR - field table is nested deeper than 8 levels");
    }

    #[test]
    fn random_payloads_never_panic() {
        let mut rng = StdRng::seed_from_u64(0x3e7d);
        let methods = all_methods();
        let mut decoded = 0;
        for _ in 0..200_000 {
            let (class, method) = methods[rng.random_range(0..methods.len())];
            let mut arguments = smallest(layout(class, method).unwrap());
            for _ in 0..rng.random_range(0..3) {
                if rng.random_bool(0.5) {
                    arguments.insert(rng.random_range(0..=arguments.len()), rng.random_range(0..4));
                } else if !arguments.is_empty() {
                    let at = rng.random_range(0..arguments.len());
                    arguments[at] = rng.random();
                }
            }
            match decode(&payload(class, method, &arguments), LIMITS) {
                Ok(frame) => {
                    decoded += 1;
                    assert_eq!(ids(&frame), (class, method));
                    encode(&mut Vec::new(), 1, frame);
                }
                Err(error) => {
                    assert!(error.fault().reply_text().len() <= 255);
                }
            }
            let noise: Vec<u8> = (0..rng.random_range(0..12)).map(|_| rng.random()).collect();
            let _ = decode(&noise, LIMITS);
        }
        assert!(decoded > 50_000, "{decoded} were decoded");
    }

    #[test]
    fn frames_are_shown_as_erlang_shows_them() {
        let text = |payload: &[u8], error: &str| frame_text(1, payload, error);
        assert_eq!(text(b"", "unknown_frame"), "type 1, all octets = <<>>: unknown_frame");
        assert_eq!(text(b"", ""), "type 1, all octets = <<>>");
        assert_eq!(text(b"a\"\\\n", "unknown_frame"), "type 1, all octets = <<\"a\\\"\\\\\\n\">>: unknown_frame");
        assert_eq!(
            text(b"\0\x0a\0\x14abcdefghijklmnop", "unknown_frame"),
            "type 1, first 16 octets = <<0,10,0,20,97,98,99,100,101,102,103,104,105,106,107,\n\
             \x20                           108>>: unknown_frame"
        );
        assert_eq!(
            text(&[155; 16], "{invalid_frame_end_marker,0}"),
            "type 1, all octets = <<155,155,155,155,155,155,155,155,155,155,155,155,155,155,\n\
             \x20                      155,155>>: {invalid_frame_end_marker,0}"
        );
        assert_eq!(
            text(&[0; 12], "{invalid_frame_end_marker,200}"),
            "type 1, all octets = <<0,0,0,0,0,0,0,0,0,0,0,0>>: {invalid_frame_end_marker,\n\
             \x20                                                  200}"
        );
    }
}
