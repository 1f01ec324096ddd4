//! AMQP 0-9-1 bytes, written by hand so that the broker's own encoder and decoder are not their own judge.
//!
//! The one table [`METHODS`] gives every method its numbers and the names and types of its fields; both
//! directions read it. Anything malformed that comes from the broker is a panic, which fails the test.

use std::collections::BTreeMap;

/// The last byte of every frame.
pub const FRAME_END: u8 = 0xCE;

/// Frame types.
pub const FRAME_METHOD: u8 = 1;
pub const FRAME_HEADER: u8 = 2;
pub const FRAME_BODY: u8 = 3;
pub const FRAME_HEARTBEAT: u8 = 8;

/// What a client sends first, and what the broker answers to a version that it does not speak.
pub const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// Class, method, name, fields. Bits that follow each other share bytes, as the specification says.
const METHODS: &[(u16, u16, &str, &str)] = &[
    (
        10,
        10,
        "connection.start",
        "version-major:octet version-minor:octet server-properties:table mechanisms:longstr locales:longstr",
    ),
    (10, 11, "connection.start-ok", "client-properties:table mechanism:shortstr response:longstr locale:shortstr"),
    (10, 20, "connection.secure", "challenge:longstr"),
    (10, 21, "connection.secure-ok", "response:longstr"),
    (10, 30, "connection.tune", "channel-max:short frame-max:long heartbeat:short"),
    (10, 31, "connection.tune-ok", "channel-max:short frame-max:long heartbeat:short"),
    (10, 40, "connection.open", "virtual-host:shortstr capabilities:shortstr insist:bit"),
    (10, 41, "connection.open-ok", "known-hosts:shortstr"),
    (10, 50, "connection.close", "reply-code:short reply-text:shortstr class-id:short method-id:short"),
    (10, 51, "connection.close-ok", ""),
    (10, 60, "connection.blocked", "reason:shortstr"),
    (10, 61, "connection.unblocked", ""),
    (10, 70, "connection.update-secret", "new-secret:longstr reason:shortstr"),
    (10, 71, "connection.update-secret-ok", ""),
    (20, 10, "channel.open", "out-of-band:shortstr"),
    (20, 11, "channel.open-ok", "channel-id:longstr"),
    (20, 20, "channel.flow", "active:bit"),
    (20, 21, "channel.flow-ok", "active:bit"),
    (20, 40, "channel.close", "reply-code:short reply-text:shortstr class-id:short method-id:short"),
    (20, 41, "channel.close-ok", ""),
    (30, 10, "access.request", "realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit"),
    (30, 11, "access.request-ok", "ticket:short"),
    (
        40,
        10,
        "exchange.declare",
        "ticket:short exchange:shortstr type:shortstr passive:bit durable:bit auto-delete:bit internal:bit \
         nowait:bit arguments:table",
    ),
    (40, 11, "exchange.declare-ok", ""),
    (40, 20, "exchange.delete", "ticket:short exchange:shortstr if-unused:bit nowait:bit"),
    (40, 21, "exchange.delete-ok", ""),
    (
        40,
        30,
        "exchange.bind",
        "ticket:short destination:shortstr source:shortstr routing-key:shortstr nowait:bit arguments:table",
    ),
    (40, 31, "exchange.bind-ok", ""),
    (
        40,
        40,
        "exchange.unbind",
        "ticket:short destination:shortstr source:shortstr routing-key:shortstr nowait:bit arguments:table",
    ),
    (40, 51, "exchange.unbind-ok", ""),
    (
        50,
        10,
        "queue.declare",
        "ticket:short queue:shortstr passive:bit durable:bit exclusive:bit auto-delete:bit nowait:bit \
         arguments:table",
    ),
    (50, 11, "queue.declare-ok", "queue:shortstr message-count:long consumer-count:long"),
    (
        50,
        20,
        "queue.bind",
        "ticket:short queue:shortstr exchange:shortstr routing-key:shortstr nowait:bit arguments:table",
    ),
    (50, 21, "queue.bind-ok", ""),
    (50, 30, "queue.purge", "ticket:short queue:shortstr nowait:bit"),
    (50, 31, "queue.purge-ok", "message-count:long"),
    (50, 40, "queue.delete", "ticket:short queue:shortstr if-unused:bit if-empty:bit nowait:bit"),
    (50, 41, "queue.delete-ok", "message-count:long"),
    (50, 50, "queue.unbind", "ticket:short queue:shortstr exchange:shortstr routing-key:shortstr arguments:table"),
    (50, 51, "queue.unbind-ok", ""),
    (60, 10, "basic.qos", "prefetch-size:long prefetch-count:short global:bit"),
    (60, 11, "basic.qos-ok", ""),
    (
        60,
        20,
        "basic.consume",
        "ticket:short queue:shortstr consumer-tag:shortstr no-local:bit no-ack:bit exclusive:bit nowait:bit \
         arguments:table",
    ),
    (60, 21, "basic.consume-ok", "consumer-tag:shortstr"),
    (60, 30, "basic.cancel", "consumer-tag:shortstr nowait:bit"),
    (60, 31, "basic.cancel-ok", "consumer-tag:shortstr"),
    (60, 40, "basic.publish", "ticket:short exchange:shortstr routing-key:shortstr mandatory:bit immediate:bit"),
    (60, 50, "basic.return", "reply-code:short reply-text:shortstr exchange:shortstr routing-key:shortstr"),
    (
        60,
        60,
        "basic.deliver",
        "consumer-tag:shortstr delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr",
    ),
    (60, 70, "basic.get", "ticket:short queue:shortstr no-ack:bit"),
    (
        60,
        71,
        "basic.get-ok",
        "delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr message-count:long",
    ),
    (60, 72, "basic.get-empty", "cluster-id:shortstr"),
    (60, 80, "basic.ack", "delivery-tag:longlong multiple:bit"),
    (60, 90, "basic.reject", "delivery-tag:longlong requeue:bit"),
    (60, 100, "basic.recover-async", "requeue:bit"),
    (60, 110, "basic.recover", "requeue:bit"),
    (60, 111, "basic.recover-ok", ""),
    (60, 120, "basic.nack", "delivery-tag:longlong multiple:bit requeue:bit"),
    (85, 10, "confirm.select", "nowait:bit"),
    (85, 11, "confirm.select-ok", ""),
    (90, 10, "tx.select", ""),
    (90, 11, "tx.select-ok", ""),
    (90, 20, "tx.commit", ""),
    (90, 21, "tx.commit-ok", ""),
    (90, 30, "tx.rollback", ""),
    (90, 31, "tx.rollback-ok", ""),
];

/// The numbers of a method, as they stand in a close.
pub fn ids(name: &str) -> (u16, u16) {
    let (class, method, ..) = METHODS.iter().find(|row| row.2 == name).unwrap_or_else(|| panic!("no method {name}"));
    (*class, *method)
}

fn layout(fields: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    fields.split_whitespace().map(|field| field.split_once(':').expect("name:type"))
}

/// A field value with its type tag.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Str(Vec<u8>),
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    /// Written as `l`; `L` is read as the same.
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal(u8, u32),
    Time(u64),
    Table(Table),
    Array(Vec<Value>),
    Bytes(Vec<u8>),
    Void,
}

/// Names and values in the order in which they stand on the wire.
pub type Table = Vec<(String, Value)>;

/// A longstr value.
pub fn s(text: &str) -> Value {
    Value::Str(text.as_bytes().to_vec())
}

/// The usual integer of client libraries, tag `I`.
pub fn i(number: i32) -> Value {
    Value::I32(number)
}

pub fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The value of a name that must be there.
#[track_caller]
pub fn lookup<'a>(table: &'a Table, name: &str) -> &'a Value {
    &table.iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("no {name} in {table:?}")).1
}

pub fn put_shortstr(out: &mut Vec<u8>, text: &[u8]) {
    out.push(u8::try_from(text.len()).expect("a shortstr of at most 255 bytes"));
    out.extend_from_slice(text);
}

pub fn put_longstr(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The entries of a table without the length before them.
pub fn table_entries(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in table {
        put_shortstr(&mut out, name.as_bytes());
        put_value(&mut out, value);
    }
    out
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let tagged = |out: &mut Vec<u8>, tag: u8, bytes: &[u8]| {
        out.push(tag);
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Str(bytes) => {
            out.push(b'S');
            put_longstr(out, bytes);
        }
        Value::Bytes(bytes) => {
            out.push(b'x');
            put_longstr(out, bytes);
        }
        Value::Table(table) => {
            out.push(b'F');
            put_longstr(out, &table_entries(table));
        }
        Value::Array(values) => {
            let mut inner = Vec::new();
            values.iter().for_each(|value| put_value(&mut inner, value));
            out.push(b'A');
            put_longstr(out, &inner);
        }
        Value::Decimal(scale, number) => {
            tagged(out, b'D', &[*scale]);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Bool(v) => tagged(out, b't', &[u8::from(*v)]),
        Value::I8(v) => tagged(out, b'b', &v.to_be_bytes()),
        Value::U8(v) => tagged(out, b'B', &v.to_be_bytes()),
        Value::I16(v) => tagged(out, b's', &v.to_be_bytes()),
        Value::U16(v) => tagged(out, b'u', &v.to_be_bytes()),
        Value::I32(v) => tagged(out, b'I', &v.to_be_bytes()),
        Value::U32(v) => tagged(out, b'i', &v.to_be_bytes()),
        Value::I64(v) => tagged(out, b'l', &v.to_be_bytes()),
        Value::F32(v) => tagged(out, b'f', &v.to_be_bytes()),
        Value::F64(v) => tagged(out, b'd', &v.to_be_bytes()),
        Value::Time(v) => tagged(out, b'T', &v.to_be_bytes()),
        Value::Void => out.push(b'V'),
    }
}

/// Reads what the broker wrote; running past the end is a panic.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        assert!(count <= self.rest.len(), "the broker's frame ends early: {count} bytes wanted, {:?}", self.rest);
        let (head, rest) = self.rest.split_at(count);
        self.rest = rest;
        head
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.bytes(N).try_into().expect("N bytes")
    }

    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    pub fn shortstr(&mut self) -> String {
        let length = usize::from(self.u8());
        String::from_utf8(self.bytes(length).to_vec()).expect("a shortstr from the broker is UTF-8")
    }

    pub fn longstr(&mut self) -> &'a [u8] {
        let length = self.u32() as usize;
        self.bytes(length)
    }

    pub fn table(&mut self) -> Table {
        let mut inner = Reader::new(self.longstr());
        let mut entries = Table::new();
        while !inner.is_empty() {
            entries.push((inner.shortstr(), inner.value()));
        }
        entries
    }

    fn value(&mut self) -> Value {
        match self.u8() {
            b'S' => Value::Str(self.longstr().to_vec()),
            b'x' => Value::Bytes(self.longstr().to_vec()),
            b'F' => Value::Table(self.table()),
            b'A' => {
                let mut inner = Reader::new(self.longstr());
                let mut values = Vec::new();
                while !inner.is_empty() {
                    values.push(inner.value());
                }
                Value::Array(values)
            }
            b'D' => Value::Decimal(self.u8(), self.u32()),
            b't' => Value::Bool(self.u8() != 0),
            b'b' => Value::I8(i8::from_be_bytes(self.array())),
            b'B' => Value::U8(self.u8()),
            b's' => Value::I16(i16::from_be_bytes(self.array())),
            b'u' => Value::U16(self.u16()),
            b'I' => Value::I32(i32::from_be_bytes(self.array())),
            b'i' => Value::U32(self.u32()),
            b'l' | b'L' => Value::I64(i64::from_be_bytes(self.array())),
            b'f' => Value::F32(f32::from_be_bytes(self.array())),
            b'd' => Value::F64(f64::from_be_bytes(self.array())),
            b'T' => Value::Time(self.u64()),
            b'V' => Value::Void,
            tag => panic!("unknown field tag {tag:#04x} from the broker"),
        }
    }
}

/// The value of one method field.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Number(u64),
    Text(String),
    Bytes(Vec<u8>),
    Bit(bool),
    Table(Table),
}

/// A method to be sent: fields that are not set are zero, empty or off.
#[derive(Clone, Debug)]
pub struct Method {
    pub name: &'static str,
    pub class: u16,
    pub id: u16,
    fields: &'static str,
    values: BTreeMap<&'static str, Vec<u8>>,
}

/// A method by its name, for example `queue.declare`.
#[track_caller]
pub fn method(name: &str) -> Method {
    let (class, id, name, fields) =
        METHODS.iter().find(|row| row.2 == name).unwrap_or_else(|| panic!("no method {name}"));
    Method { name, class: *class, id: *id, fields, values: BTreeMap::new() }
}

impl Method {
    #[track_caller]
    fn put(mut self, name: &str, types: &[&str], bytes: Vec<u8>) -> Self {
        let (name, kind) = layout(self.fields)
            .find(|(field, _)| *field == name)
            .unwrap_or_else(|| panic!("{} has no field {name}", self.name));
        assert!(types.contains(&kind), "{}.{name} is a {kind}", self.name);
        self.values.insert(name, bytes);
        self
    }

    /// Turns a bit on.
    #[track_caller]
    pub fn on(self, bit: &str) -> Self {
        self.put(bit, &["bit"], vec![1])
    }

    /// Sets a bit.
    #[track_caller]
    pub fn bit(self, bit: &str, on: bool) -> Self {
        self.put(bit, &["bit"], vec![u8::from(on)])
    }

    #[track_caller]
    pub fn text(self, name: &str, text: &str) -> Self {
        self.short_bytes(name, text.as_bytes())
    }

    /// A shortstr that need not be UTF-8.
    #[track_caller]
    pub fn short_bytes(self, name: &str, bytes: &[u8]) -> Self {
        let mut out = Vec::new();
        put_shortstr(&mut out, bytes);
        self.put(name, &["shortstr"], out)
    }

    #[track_caller]
    pub fn long_bytes(self, name: &str, bytes: &[u8]) -> Self {
        let mut out = Vec::new();
        put_longstr(&mut out, bytes);
        self.put(name, &["longstr"], out)
    }

    #[track_caller]
    pub fn number(self, name: &str, number: u64) -> Self {
        let kind = layout(self.fields).find(|(field, _)| *field == name).map(|(_, kind)| kind);
        let width = match kind {
            Some("octet") => 1,
            Some("short") => 2,
            Some("long") => 4,
            Some("longlong") => 8,
            kind => panic!("{}.{name} is {kind:?}, not a number", self.name),
        };
        let bytes = number.to_be_bytes();
        assert!(bytes[..8 - width].iter().all(|&byte| byte == 0), "{number} does not fit {name}");
        self.put(name, &["octet", "short", "long", "longlong"], bytes[8 - width..].to_vec())
    }

    /// The `arguments` of the method.
    #[track_caller]
    pub fn args<const N: usize>(self, entries: [(&str, Value); N]) -> Self {
        let entries = table_entries(&table(entries));
        self.raw_table("arguments", &entries)
    }

    /// A table whose entries are these bytes, whatever they are.
    #[track_caller]
    pub fn raw_table(self, name: &str, entries: &[u8]) -> Self {
        let mut out = Vec::new();
        put_longstr(&mut out, entries);
        self.put(name, &["table"], out)
    }

    /// The payload of the method frame.
    pub fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.class.to_be_bytes());
        out.extend_from_slice(&self.id.to_be_bytes());
        let mut bits: Option<(u8, u8)> = None; // the byte so far, and how many of its bits are used
        for (name, kind) in layout(self.fields) {
            let value = self.values.get(name);
            if kind == "bit" {
                let (byte, used) = bits.unwrap_or((0, 0));
                let on = value.is_some_and(|value| value[0] != 0);
                bits = Some((byte | u8::from(on) << used, used + 1));
                continue;
            }
            if let Some((byte, _)) = bits.take() {
                out.push(byte);
            }
            let width = match kind {
                "octet" | "shortstr" => 1,
                "short" => 2,
                "longlong" => 8,
                _ => 4,
            };
            match value {
                Some(bytes) => out.extend_from_slice(bytes),
                None => out.extend(std::iter::repeat_n(0, width)),
            }
        }
        if let Some((byte, _)) = bits {
            out.push(byte);
        }
        out
    }
}

/// A method that came from the broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub name: &'static str,
    pub fields: BTreeMap<&'static str, Field>,
}

impl Reply {
    pub fn decode(payload: &[u8]) -> Self {
        let mut reader = Reader::new(payload);
        let (class, id) = (reader.u16(), reader.u16());
        let (.., name, layout_text) = METHODS
            .iter()
            .find(|row| (row.0, row.1) == (class, id))
            .unwrap_or_else(|| panic!("unknown method {class}.{id} from the broker"));
        let mut fields = BTreeMap::new();
        let mut bits: Option<(u8, u8)> = None;
        for (field, kind) in layout(layout_text) {
            if kind != "bit" {
                bits = None;
            }
            let value = match kind {
                "octet" => Field::Number(reader.u8().into()),
                "short" => Field::Number(reader.u16().into()),
                "long" => Field::Number(reader.u32().into()),
                "longlong" => Field::Number(reader.u64()),
                "shortstr" => Field::Text(reader.shortstr()),
                "longstr" => Field::Bytes(reader.longstr().to_vec()),
                "table" => Field::Table(reader.table()),
                "bit" => {
                    let (byte, used) = bits.unwrap_or_else(|| (reader.u8(), 0));
                    bits = Some((byte, used + 1));
                    Field::Bit(byte >> used & 1 == 1)
                }
                kind => panic!("unknown type {kind}"),
            };
            fields.insert(field, value);
        }
        assert!(reader.is_empty(), "{name} from the broker has {:?} behind its fields", reader.rest());
        Self { name, fields }
    }

    #[track_caller]
    fn field(&self, name: &str) -> &Field {
        self.fields.get(name).unwrap_or_else(|| panic!("{} has no field {name}", self.name))
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        match self.field(name) {
            Field::Number(number) => *number,
            other => panic!("{name} is {other:?}"),
        }
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        match self.field(name) {
            Field::Text(text) => text,
            Field::Bytes(bytes) => std::str::from_utf8(bytes).expect("UTF-8"),
            other => panic!("{name} is {other:?}"),
        }
    }

    #[track_caller]
    pub fn bit(&self, name: &str) -> bool {
        match self.field(name) {
            Field::Bit(bit) => *bit,
            other => panic!("{name} is {other:?}"),
        }
    }

    #[track_caller]
    pub fn table(&self, name: &str) -> &Table {
        match self.field(name) {
            Field::Table(table) => table,
            other => panic!("{name} is {other:?}"),
        }
    }
}

/// One frame, without its end byte.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub kind: u8,
    pub channel: u16,
    pub payload: Vec<u8>,
}

/// The bytes of one frame.
pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    put_longstr(&mut out, payload);
    out.push(FRAME_END);
    out
}

pub fn method_frame(channel: u16, method: &Method) -> Vec<u8> {
    frame(FRAME_METHOD, channel, &method.payload())
}

/// A content header: `properties` are the flags and the values, as they stand on the wire.
pub fn header_frame(channel: u16, body_size: u64, properties: &[u8]) -> Vec<u8> {
    frame(FRAME_HEADER, channel, &header_payload(60, 0, body_size, properties))
}

pub fn header_payload(class: u16, weight: u16, body_size: u64, properties: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&class.to_be_bytes());
    payload.extend_from_slice(&weight.to_be_bytes());
    payload.extend_from_slice(&body_size.to_be_bytes());
    payload.extend_from_slice(properties);
    payload
}

pub fn body_frame(channel: u16, body: &[u8]) -> Vec<u8> {
    frame(FRAME_BODY, channel, body)
}

/// Header and body frames of a content; bodies are split so that no frame is longer than `frame_max`.
pub fn content_frames(channel: u16, properties: &[u8], body: &[u8], frame_max: usize) -> Vec<u8> {
    let mut out = header_frame(channel, body.len() as u64, properties);
    for part in body.chunks(frame_max - 8) {
        out.extend_from_slice(&body_frame(channel, part));
    }
    out
}

/// A publish in its usual frames.
pub fn publish_frames(channel: u16, publish: &Method, properties: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = method_frame(channel, publish);
    out.extend_from_slice(&content_frames(channel, properties, body, 131_072));
    out
}
