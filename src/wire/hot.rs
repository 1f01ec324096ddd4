//! The frames of which there is one or more for every message, read in place: `basic.publish`, content headers,
//! and the three methods that settle deliveries (specification, sections 1.8.3 and 2.3.5.2).
//!
//! Each reader takes a frame's payload and gives `None` if it does not fit the layout to the byte; the caller then
//! has [`super::method::decode`] say what is wrong with it.

use nom::bytes::complete::take;
use nom::combinator::all_consuming;
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16, be_u64};
use nom::{IResult, Parser};

pub const CLASS_BASIC: u16 = 60;
pub const PUBLISH: u16 = 40;
pub const ACK: u16 = 80;
pub const REJECT: u16 = 90;
pub const NACK: u16 = 120;

/// Class and method of a method frame's payload.
#[inline]
pub fn method_ids(payload: &[u8]) -> Option<(u16, u16)> {
    let [c1, c0, m1, m0, ..] = *payload else { return None };
    Some((u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0])))
}

/// `basic.publish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub exchange: &'a [u8],
    pub routing_key: &'a [u8],
    pub mandatory: bool,
    pub immediate: bool,
}

impl<'a> Publish<'a> {
    #[inline]
    pub fn read(payload: &'a [u8]) -> Option<Publish<'a>> {
        let fields = (take(6usize), short_string, short_string, be_u8);
        let (_, (_, exchange, routing_key, bits)) = complete(fields, payload)?;
        Some(Publish { exchange, routing_key, mandatory: bits & 1 != 0, immediate: bits & 2 != 0 })
    }
}

/// A content header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    pub class_id: u16,
    pub weight: u16,
    pub body_bytes: u64,
    /// Flag words and values, in wire form.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    #[inline]
    pub fn read(payload: &'a [u8]) -> Option<ContentHeader<'a>> {
        let fields = (be_u16, be_u16, be_u64);
        let read: IResult<_, _, ()> = { fields }.parse(payload);
        let (properties, (class_id, weight, body_bytes)) = read.ok()?;
        Some(ContentHeader { class_id, weight, body_bytes, properties })
    }
}

/// `basic.ack`, `basic.nack` or `basic.reject`: what they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    pub delivery_tag: u64,
    pub multiple: bool,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acked,
    /// Rejected for good: to be dead-lettered, or dropped.
    Rejected,
    Requeued,
}

impl Settle {
    #[inline]
    pub fn read(method_id: u16, payload: &[u8]) -> Option<Settle> {
        let (_, (_, delivery_tag, bits)) = complete((take(4usize), be_u64, be_u8), payload)?;
        let outcome = |requeue: bool| if requeue { Outcome::Requeued } else { Outcome::Rejected };
        Some(match method_id {
            ACK => Settle { delivery_tag, multiple: bits & 1 != 0, outcome: Outcome::Acked },
            NACK => Settle { delivery_tag, multiple: bits & 1 != 0, outcome: outcome(bits & 2 != 0) },
            _ => Settle { delivery_tag, multiple: false, outcome: outcome(bits & 1 != 0) },
        })
    }
}

#[inline]
fn short_string(input: &[u8]) -> IResult<&[u8], &[u8], ()> {
    length_data(be_u8).parse(input)
}

#[inline]
fn complete<'a, O>(parser: impl Parser<&'a [u8], Output = O, Error = ()>, payload: &'a [u8]) -> Option<(&'a [u8], O)> {
    all_consuming(parser).parse(payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publish_is_read_to_the_byte() {
        let payload = b"\0\x3C\0\x28\0\0\x02ex\x03key\x01";
        let read = Publish::read(payload).unwrap();
        assert_eq!(read, Publish { exchange: b"ex", routing_key: b"key", mandatory: true, immediate: false });
        assert_eq!(Publish::read(&payload[..payload.len() - 1]), None);
        assert_eq!(Publish::read(b"\0\x3C\0\x28\0\0\x02ex\x03key\x01\0"), None);
        assert_eq!(Publish::read(b"\0\x3C\0\x28\0\0\xFFex"), None);
    }

    #[test]
    fn each_way_to_settle_has_its_bits() {
        let payload = |bits| [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, bits];
        let read = |method, bits| Settle::read(method, &payload(bits)).unwrap();
        assert_eq!(read(ACK, 1), Settle { delivery_tag: 7, multiple: true, outcome: Outcome::Acked });
        assert_eq!(read(NACK, 2), Settle { delivery_tag: 7, multiple: false, outcome: Outcome::Requeued });
        assert_eq!(read(NACK, 1), Settle { delivery_tag: 7, multiple: true, outcome: Outcome::Rejected });
        assert_eq!(read(REJECT, 1), Settle { delivery_tag: 7, multiple: false, outcome: Outcome::Requeued });
    }
}
