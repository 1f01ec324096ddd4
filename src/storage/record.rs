//! A message as one contiguous string of bytes.
//!
//! ```text
//! offset  size  field (integers little-endian)
//!      0     4  body_bytes
//!      4     4  properties_bytes
//!      8     1  flags (see `flags`)
//!      9     1  the `priority`, if the message has one
//!     10     1  exchange_bytes
//!     11     1  routing_key_bytes
//!     12        exchange, routing key, properties, body: as many bytes as the head says, no padding
//! ```
//!
//! Properties are in wire form: the flag words and the values as the publisher sent them (specification,
//! section 4.2.6.1). What differs from queue to queue (position, redelivered) is not here but in the queue's
//! [`Run`](super::chunk::Run), since one record serves several queues.

/// Bytes of the fixed head.
pub const HEAD_BYTES: usize = 12;

/// Where the flags are: the first of two bytes, of which the second is the priority.
pub const FLAGS_AT: usize = 8;

/// How long the record is that begins with these bytes; `None` if it is longer than they are.
pub fn length_of(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..HEAD_BYTES)?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let length = HEAD_BYTES + number(0) + number(4) + head[10] as usize + head[11] as usize;
    (length <= bytes.len()).then_some(length)
}

/// Whether one of the records that lie one behind the other in `bytes` has an expiration of its own.
pub fn some_expires(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(length) = length_of(rest) {
        if rest[FLAGS_AT] & flags::EXPIRATION as u8 != 0 {
            return true;
        }
        rest = &rest[length..];
    }
    false
}

/// What a broker wants to know of a message without parsing its properties.
pub mod flags {
    /// `delivery-mode` is 2.
    pub const PERSISTENT: u16 = 1;
    /// The message has an `expiration`.
    pub const EXPIRATION: u16 = 1 << 1;
    /// The message has a `priority`.
    pub const PRIORITY: u16 = 1 << 2;
    /// The message has a `headers` table.
    pub const HEADERS: u16 = 1 << 3;

    /// These flags and that of a priority, which goes with them.
    pub const fn with_priority(flags: u16, priority: u8) -> u16 {
        flags & 0xFF | PRIORITY | (priority as u16) << 8
    }
}

/// Appends everything of a record but its body, whose `body_bytes` bytes the caller appends next. The flags may have a
/// [priority](flags::with_priority) with them.
pub fn append_prefix(
    out: &mut Vec<u8>,
    flags: u16,
    exchange: &[u8],
    routing_key: &[u8],
    properties: &[u8],
    body_bytes: u32,
) {
    debug_assert!(exchange.len() <= 255 && routing_key.len() <= 255);
    let mut head = [0; HEAD_BYTES];
    head[0..4].copy_from_slice(&body_bytes.to_le_bytes());
    head[4..8].copy_from_slice(&(properties.len() as u32).to_le_bytes());
    head[8..10].copy_from_slice(&flags.to_le_bytes());
    head[10] = exchange.len() as u8;
    head[11] = routing_key.len() as u8;
    out.extend_from_slice(&head);
    out.extend_from_slice(exchange);
    out.extend_from_slice(routing_key);
    out.extend_from_slice(properties);
}

/// A view over one record's bytes.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// `bytes` is exactly one record.
    pub fn new(bytes: &'a [u8]) -> Record<'a> {
        let record = Record { bytes };
        debug_assert_eq!(record.prefix_bytes() + record.body_bytes(), bytes.len());
        record
    }

    fn u32_at(&self, at: usize) -> usize {
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]]) as usize
    }

    pub fn body_bytes(&self) -> usize {
        self.u32_at(0)
    }

    fn properties_bytes(&self) -> usize {
        self.u32_at(4)
    }

    pub fn flags(&self) -> u16 {
        u16::from_le_bytes([self.bytes[FLAGS_AT], self.bytes[FLAGS_AT + 1]])
    }

    /// The message's `priority` property, if it has one.
    pub fn priority(&self) -> Option<u8> {
        (self.flags() & flags::PRIORITY != 0).then_some(self.bytes[FLAGS_AT + 1])
    }

    fn properties_at(&self) -> usize {
        HEAD_BYTES + self.bytes[10] as usize + self.bytes[11] as usize
    }

    /// Bytes before the body: head, exchange, routing key and properties.
    pub fn prefix_bytes(&self) -> usize {
        self.properties_at() + self.properties_bytes()
    }

    pub fn exchange(&self) -> &'a [u8] {
        &self.bytes[HEAD_BYTES..HEAD_BYTES + self.bytes[10] as usize]
    }

    pub fn routing_key(&self) -> &'a [u8] {
        &self.bytes[HEAD_BYTES + self.bytes[10] as usize..self.properties_at()]
    }

    pub fn properties(&self) -> &'a [u8] {
        &self.bytes[self.properties_at()..self.prefix_bytes()]
    }

    pub fn prefix(&self) -> &'a [u8] {
        &self.bytes[..self.prefix_bytes()]
    }

    pub fn body(&self) -> &'a [u8] {
        &self.bytes[self.prefix_bytes()..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_its_parts() {
        let mut bytes = Vec::new();
        append_prefix(&mut bytes, flags::PERSISTENT, b"ex", b"a.key", &[0x10, 0, 2], 4);
        bytes.extend_from_slice(b"body");
        let record = Record::new(&bytes);
        assert_eq!(record.exchange(), b"ex");
        assert_eq!(record.routing_key(), b"a.key");
        assert_eq!(record.properties(), [0x10, 0, 2]);
        assert_eq!(record.body(), b"body");
        assert_eq!((record.flags(), record.priority()), (flags::PERSISTENT, None));
        assert_eq!(record.prefix_bytes() + record.body_bytes(), bytes.len());
    }

    #[test]
    fn a_record_gives_back_its_priority() {
        for priority in [0, 7, 255] {
            let mut bytes = Vec::new();
            append_prefix(&mut bytes, flags::with_priority(flags::PERSISTENT, priority), b"", b"k", &[0, 0], 0);
            let record = Record::new(&bytes);
            assert_eq!(record.priority(), Some(priority));
            assert_eq!(record.flags() & 0xFF, flags::PERSISTENT | flags::PRIORITY);
        }
    }
}
