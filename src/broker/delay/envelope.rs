//! A message while it is held back, as a record around its own:
//!
//! ```text
//! head        as of any record; persistent whatever the message is, without exchange and routing key
//! properties  flags of those that follow              18 40
//!             delivery-mode                           02
//!             priority: 0 for a delay, 1 for a rejection
//!             timestamp: when it is due, here in milliseconds since 1970, u64 big-endian
//! body        the message's record
//! ```
//!
//! So messages of all times can share a chunk, and be moved from bucket to bucket without being looked into.

use crate::storage::record::{self, HEAD_BYTES, Record, flags};

const PROPERTIES_BYTES: usize = 12;
const WHY_AT: usize = 3;
const DUE_AT: usize = 4;
/// Bytes before the message's record.
const PREFIX_BYTES: usize = HEAD_BYTES + PROPERTIES_BYTES;

/// Why a message is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its publisher asked for it.
    Delayed,
    /// It was rejected, and is to be tried again.
    Rejected,
}

/// What is written before a message's record.
pub fn prefix(due_ms: u64, why: Why, record_bytes: usize) -> [u8; PREFIX_BYTES] {
    let mut properties = [0; PROPERTIES_BYTES];
    properties[..WHY_AT].copy_from_slice(&[0x18, 0x40, 2]);
    properties[WHY_AT] = u8::from(why == Why::Rejected);
    properties[DUE_AT..].copy_from_slice(&due_ms.to_be_bytes());
    record::prefix(flags::PERSISTENT, &properties, record_bytes as u32)
}

/// When what is in this record is due. A record that is no envelope is due at once.
pub fn due_ms(envelope: &Record<'_>) -> u64 {
    envelope.properties().get(DUE_AT..).and_then(<[u8]>::first_chunk).map_or(0, |due_ms| u64::from_be_bytes(*due_ms))
}

pub fn why(envelope: &Record<'_>) -> Why {
    if envelope.properties().get(WHY_AT) == Some(&1) { Why::Rejected } else { Why::Delayed }
}

/// The message.
pub fn message<'a>(envelope: &Record<'a>) -> Record<'a> {
    Record::new(envelope.body())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::properties::PropertiesView;

    #[test]
    fn an_envelope_gives_back_what_it_was_made_of() {
        let mut message = Vec::new();
        record::append_prefix(&mut message, 0, b"x", b"key", &[0, 0], 4);
        message.extend(b"body");
        for (due, reason) in [(0, Why::Delayed), (u64::MAX, Why::Rejected), (1_700_000_000_000, Why::Delayed)] {
            let bytes = [&prefix(due, reason, message.len())[..], &message].concat();
            let envelope = Record::new(&bytes);
            assert_eq!((due_ms(&envelope), why(&envelope)), (due, reason));
            assert_eq!(super::message(&envelope).body(), b"body");
            let view = PropertiesView::parse(envelope.properties(), 8).unwrap();
            assert_eq!((view.is_persistent(), view.timestamp()), (true, Some(due)), "they could be shown to anybody");
            assert_eq!((envelope.flags(), record::length_of(&bytes)), (flags::PERSISTENT, Some(bytes.len())));
        }
    }
}
