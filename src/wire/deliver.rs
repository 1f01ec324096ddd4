//! Messages on their way to a client: `basic.deliver`, `basic.get-ok` and `basic.return`, each followed by the
//! content header and body (specification, sections 1.8.3 and 2.3.5.2), and the confirms.

use amq_protocol::types::AMQPValue;

use super::frame::{self, BODY, HEADER, METHOD, OVERHEAD_BYTES};
use super::hot::CLASS_BASIC;
use super::properties::PropertiesView;
use crate::storage::chunk::Run;
use crate::storage::record::Record;

/// How often a message was returned to its queue.
const DELIVERY_COUNT: &[u8] = b"x-delivery-count";

const RETURN: u16 = 50;
const DELIVER: u16 = 60;
const GET_OK: u16 = 71;
const ACK: u16 = 80;
const NACK: u16 = 120;

/// To whom deliveries go.
#[derive(Clone, Copy)]
pub struct Recipient<'a> {
    pub channel: u16,
    pub consumer_tag: &'a [u8],
    /// The most bytes of a frame, as negotiated.
    pub frame_max: usize,
}

/// Appends a delivery of each message of the run, with delivery tags from `first_tag` on.
///
/// A message whose exchange, routing key, properties and length are those of the one before it differs on the wire
/// in its delivery tag and body only, so all else is copied from there.
pub fn deliveries(out: &mut Vec<u8>, to: Recipient<'_>, first_tag: u64, run: &Run) {
    if run.returns > 0 {
        return returned_deliveries(out, to, first_tag, run);
    }
    let tag_at = frame::HEAD_BYTES + 5 + to.consumer_tag.len();
    let mut previous: &[u8] = &[];
    let (mut head_at, mut head_bytes) = (0, 0);
    for (record, delivery_tag) in run.records().zip(first_tag..) {
        let (prefix, body) = (record.prefix(), record.body());
        let at = out.len();
        if prefix == previous {
            out.extend_from_within(head_at..head_at + head_bytes);
            out[at + tag_at..at + tag_at + 8].copy_from_slice(&delivery_tag.to_be_bytes());
        } else {
            deliver_method(out, to, delivery_tag, run.redelivered, &record);
            content_header(out, to.channel, &record);
            if body.is_empty() || body.len() > to.frame_max - OVERHEAD_BYTES {
                body_frames(out, to.channel, to.frame_max, body);
                continue;
            }
            body_head(out, to.channel, body.len());
            previous = prefix;
        }
        (head_at, head_bytes) = (at, out.len() - at);
        out.extend_from_slice(body);
        out.push(frame::END);
    }
}

/// As [`deliveries`], with the header that tells how often these were returned.
#[cold]
fn returned_deliveries(out: &mut Vec<u8>, to: Recipient<'_>, first_tag: u64, run: &Run) {
    for (record, delivery_tag) in run.records().zip(first_tag..) {
        deliver_method(out, to, delivery_tag, run.redelivered, &record);
        counted_content(out, to, &record, run.returns);
    }
}

/// The content of a message that was returned so often: with the header `x-delivery-count`, as quorum queues have it.
fn counted_content(out: &mut Vec<u8>, to: Recipient<'_>, record: &Record<'_>, returns: u32) {
    let view = PropertiesView::parse(record.properties(), u8::MAX).expect("properties were checked when they came");
    let properties = view.with_header(DELIVERY_COUNT, &AMQPValue::LongLongInt(returns.into()));
    properties_header(out, to.channel, record.body_bytes(), &properties);
    body_frames(out, to.channel, to.frame_max, record.body());
}

fn deliver_method(out: &mut Vec<u8>, to: Recipient<'_>, delivery_tag: u64, redelivered: bool, record: &Record<'_>) {
    let at = begin_method(out, to.channel, DELIVER);
    short_string(out, to.consumer_tag);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.push(u8::from(redelivered));
    short_string(out, record.exchange());
    short_string(out, record.routing_key());
    frame::finish(out, at);
}

/// Appends `basic.get-ok` with the message; `remaining` is how many are still ready.
pub fn get_ok(out: &mut Vec<u8>, to: Recipient<'_>, delivery_tag: u64, run: &Run, remaining: u32) {
    let record = run.record(0);
    let at = begin_method(out, to.channel, GET_OK);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.push(u8::from(run.redelivered));
    short_string(out, record.exchange());
    short_string(out, record.routing_key());
    out.extend_from_slice(&remaining.to_be_bytes());
    frame::finish(out, at);
    match run.returns {
        0 => content(out, to.channel, to.frame_max, &record),
        returns => counted_content(out, to, &record, returns),
    }
}

/// Appends `basic.return` 312 with a message that went to no queue.
pub fn returned(out: &mut Vec<u8>, channel: u16, frame_max: usize, record: &Record<'_>) {
    let at = begin_method(out, channel, RETURN);
    out.extend_from_slice(&312u16.to_be_bytes());
    short_string(out, b"NO_ROUTE");
    short_string(out, record.exchange());
    short_string(out, record.routing_key());
    frame::finish(out, at);
    content(out, channel, frame_max, record);
}

/// Appends `basic.ack` for a publisher.
pub fn confirm(out: &mut Vec<u8>, channel: u16, publish_tag: u64, multiple: bool) {
    let at = begin_method(out, channel, ACK);
    out.extend_from_slice(&publish_tag.to_be_bytes());
    out.push(u8::from(multiple));
    frame::finish(out, at);
}

/// Appends `basic.nack` for a publisher.
pub fn refuse(out: &mut Vec<u8>, channel: u16, publish_tag: u64, multiple: bool) {
    let at = begin_method(out, channel, NACK);
    out.extend_from_slice(&publish_tag.to_be_bytes());
    out.push(u8::from(multiple));
    frame::finish(out, at);
}

fn content(out: &mut Vec<u8>, channel: u16, frame_max: usize, record: &Record<'_>) {
    content_header(out, channel, record);
    body_frames(out, channel, frame_max, record.body());
}

fn content_header(out: &mut Vec<u8>, channel: u16, record: &Record<'_>) {
    properties_header(out, channel, record.body_bytes(), record.properties());
}

fn properties_header(out: &mut Vec<u8>, channel: u16, body_bytes: usize, properties: &[u8]) {
    let at = frame::begin(out, HEADER, channel);
    out.extend_from_slice(&CLASS_BASIC.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&(body_bytes as u64).to_be_bytes());
    out.extend_from_slice(properties);
    frame::finish(out, at);
}

/// A body in as many frames as it needs; an empty one needs none.
fn body_frames(out: &mut Vec<u8>, channel: u16, frame_max: usize, body: &[u8]) {
    for part in body.chunks(frame_max - OVERHEAD_BYTES) {
        body_head(out, channel, part.len());
        out.extend_from_slice(part);
        out.push(frame::END);
    }
}

fn body_head(out: &mut Vec<u8>, channel: u16, size: usize) {
    let [c1, c0] = channel.to_be_bytes();
    let [s3, s2, s1, s0] = (size as u32).to_be_bytes();
    out.extend_from_slice(&[BODY, c1, c0, s3, s2, s1, s0]);
}

fn begin_method(out: &mut Vec<u8>, channel: u16, method_id: u16) -> usize {
    let at = frame::begin(out, METHOD, channel);
    out.extend_from_slice(&CLASS_BASIC.to_be_bytes());
    out.extend_from_slice(&method_id.to_be_bytes());
    at
}

fn short_string(out: &mut Vec<u8>, text: &[u8]) {
    debug_assert!(text.len() <= 255);
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::chunk::OpenChunk;
    use crate::storage::record::append_prefix;

    fn run_of(messages: &[(&[u8], &[u8])]) -> Run {
        let mut open = OpenChunk::default();
        for (key, body) in messages {
            let mut prefix = Vec::new();
            append_prefix(&mut prefix, 0, b"ex", key, &[0, 0], body.len() as u32);
            open.push(&prefix, body);
        }
        Run::of_chunk(&open.close(), 0)
    }

    fn deliver(run: &Run, frame_max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        deliveries(&mut out, Recipient { channel: 3, consumer_tag: b"ct", frame_max }, 5, run);
        out
    }

    /// Each message alone must look as it does within a run.
    #[test]
    fn a_delivery_is_the_same_with_and_without_one_to_copy_from() {
        let messages: [(&[u8], &[u8]); 6] =
            [(b"a", b"one"), (b"a", b"two"), (b"b", b"two"), (b"b", b""), (b"b", b""), (b"b", &[7; 50])];
        for frame_max in [30, 4096] {
            let together = deliver(&run_of(&messages), frame_max);
            let mut alone = Vec::new();
            for (message, tag) in messages.iter().zip(5..) {
                let to = Recipient { channel: 3, consumer_tag: b"ct", frame_max };
                deliveries(&mut alone, to, tag, &run_of(&[*message]));
            }
            assert_eq!(together, alone);
        }
    }

    #[test]
    fn a_delivery_has_the_layout_of_the_specification() {
        let expected = b"\x01\0\x03\0\0\0\x15\0\x3C\0\x3C\x02ct\0\0\0\0\0\0\0\x05\0\x02ex\x01k\xCE\
            \x02\0\x03\0\0\0\x0E\0\x3C\0\0\0\0\0\0\0\0\0\x04\0\0\xCE\
            \x03\0\x03\0\0\0\x04body\xCE";
        assert_eq!(deliver(&run_of(&[(b"k", b"body")]), 4096), expected);
    }
}
