//! Message properties as bytes: the flags and the values behind them.

use std::collections::BTreeMap;

use super::wire::{Field, Reader, Table, Value, put_longstr, put_shortstr, table, table_entries};

/// Names and types, the first at flag bit 15.
const PROPERTIES: [(&str, &str); 14] = [
    ("content-type", "shortstr"),
    ("content-encoding", "shortstr"),
    ("headers", "table"),
    ("delivery-mode", "octet"),
    ("priority", "octet"),
    ("correlation-id", "shortstr"),
    ("reply-to", "shortstr"),
    ("expiration", "shortstr"),
    ("message-id", "shortstr"),
    ("timestamp", "longlong"),
    ("type", "shortstr"),
    ("user-id", "shortstr"),
    ("app-id", "shortstr"),
    ("cluster-id", "shortstr"),
];

/// No properties at all: two bytes of flags, none set.
pub const NONE: &[u8] = &[0, 0];

/// Properties under construction.
#[derive(Clone, Default)]
pub struct Props {
    values: [Option<Vec<u8>>; 14],
}

pub fn props() -> Props {
    Props::default()
}

/// Properties that hold nothing but headers.
pub fn headers<const N: usize>(entries: [(&str, Value); N]) -> Vec<u8> {
    props().headers(entries).bytes()
}

impl Props {
    fn put(mut self, name: &str, kind: &str, bytes: Vec<u8>) -> Self {
        let at = PROPERTIES.iter().position(|row| *row == (name, kind));
        self.values[at.unwrap_or_else(|| panic!("no {kind} property {name}"))] = Some(bytes);
        self
    }

    pub fn text(self, name: &str, text: &str) -> Self {
        let mut out = Vec::new();
        put_shortstr(&mut out, text.as_bytes());
        self.put(name, "shortstr", out)
    }

    pub fn octet(self, name: &str, number: u8) -> Self {
        self.put(name, "octet", vec![number])
    }

    pub fn timestamp(self, seconds: u64) -> Self {
        self.put("timestamp", "longlong", seconds.to_be_bytes().to_vec())
    }

    pub fn headers<const N: usize>(self, entries: [(&str, Value); N]) -> Self {
        self.raw_headers(&table_entries(&table(entries)))
    }

    /// Headers whose entries are these bytes.
    pub fn raw_headers(self, entries: &[u8]) -> Self {
        let mut out = Vec::new();
        put_longstr(&mut out, entries);
        self.put("headers", "table", out)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut flags = 0u16;
        let mut out = vec![0, 0];
        for (at, value) in self.values.iter().enumerate() {
            if let Some(value) = value {
                flags |= 1 << (15 - at);
                out.extend_from_slice(value);
            }
        }
        out[..2].copy_from_slice(&flags.to_be_bytes());
        out
    }
}

/// The properties that are set.
pub fn decode(bytes: &[u8]) -> BTreeMap<&'static str, Field> {
    let mut reader = Reader::new(bytes);
    let flags = reader.u16();
    let mut found = BTreeMap::new();
    for (at, (name, kind)) in PROPERTIES.iter().enumerate() {
        if flags >> (15 - at) & 1 == 0 {
            continue;
        }
        let value = match *kind {
            "octet" => Field::Number(reader.u8().into()),
            "longlong" => Field::Number(reader.u64()),
            "table" => Field::Table(reader.table()),
            _ => Field::Text(reader.shortstr()),
        };
        found.insert(*name, value);
    }
    found
}

/// The headers of a message; none are an empty table.
pub fn headers_of(bytes: &[u8]) -> Table {
    match decode(bytes).remove("headers") {
        Some(Field::Table(table)) => table,
        _ => Table::new(),
    }
}
