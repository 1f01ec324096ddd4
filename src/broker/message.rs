//! What exchanges ask of a message besides its routing keys, and messages that are asked.

use amq_protocol::types::FieldTable;

use crate::broker::delay::header;
use crate::storage::record::Record;
use crate::wire::properties::PropertiesView;
use crate::wire::table;

/// A message on its way through exchanges. What is not needed is not made.
pub trait Message {
    /// Its headers, decoded, if it has any.
    fn headers(&mut self) -> Option<FieldTable>;

    /// Its properties, if they are known.
    fn properties(&self) -> Option<&PropertiesView<'_>> {
        None
    }

    /// How long exchanges that hold messages back are to hold it, in milliseconds; `None` if not at all.
    fn delay_ms(&mut self) -> Option<u64> {
        self.headers().as_ref().and_then(header::delay_in)
    }

    /// Whether it has been held back already, and is not again.
    fn has_waited(&self) -> bool {
        false
    }

    /// The whole message as a [record](crate::storage::record), for an exchange that keeps it; `None` if it is not to
    /// be kept.
    fn record(&self) -> Option<Vec<u8>> {
        None
    }
}

/// A message of which nothing but headers is known, and is not kept anywhere.
impl<F: FnMut() -> Option<FieldTable>> Message for F {
    fn headers(&mut self) -> Option<FieldTable> {
        self()
    }
}

/// A message that is routed once more: no exchange keeps it again.
pub struct Again<'a>(pub &'a PropertiesView<'a>);

impl Message for Again<'_> {
    fn headers(&mut self) -> Option<FieldTable> {
        table::decode_entries(self.0.headers_bytes()?, u8::MAX).ok()
    }

    fn properties(&self) -> Option<&PropertiesView<'_>> {
        Some(self.0)
    }
}

/// A message whose parts are at hand.
pub struct Whole<'a> {
    /// As it was published.
    pub properties: &'a PropertiesView<'a>,
    /// How deep its headers may be nested.
    pub table_depth: u8,
    /// Its record up to the body.
    pub prefix: &'a [u8],
    pub body: &'a [u8],
}

impl Message for Whole<'_> {
    fn headers(&mut self) -> Option<FieldTable> {
        table::decode_entries(self.properties.headers_bytes()?, self.table_depth).ok()
    }

    fn properties(&self) -> Option<&PropertiesView<'_>> {
        Some(self.properties)
    }

    fn delay_ms(&mut self) -> Option<u64> {
        header::delay_ms(self.properties)
    }

    fn record(&self) -> Option<Vec<u8>> {
        Some([self.prefix, self.body].concat())
    }
}

impl<'a> Whole<'a> {
    /// A message that was taken from a queue or kept by an exchange. `properties` are those of the record.
    pub fn of_record(record: Record<'a>, properties: &'a PropertiesView<'a>) -> Whole<'a> {
        Whole { properties, table_depth: u8::MAX, prefix: record.prefix(), body: record.body() }
    }
}
