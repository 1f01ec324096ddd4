//! Consumers that count deliveries by walking the heads of frames, without looking at what these hold.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic};

use super::client::{CHANNEL, Client, closed_by, is_close};
use super::endpoint::Endpoint;
use super::error::{BenchError, Result};
use super::load::{Load, Progress};
use crate::wire::frame::{self, FrameHead, METHOD};
use crate::wire::hot::method_ids;
use crate::wire::method;

/// How often a consumer that gets nothing looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// How long one that is to hold still does before it looks again.
const PAUSE: Duration = Duration::from_micros(200);

pub struct Consumer {
    client: Client,
    ack_every: u64,
}

impl Consumer {
    pub fn open(load: &Load, n: u32, endpoint: &Endpoint) -> Result<Consumer> {
        let mut client = Client::open(endpoint)?;
        if load.prefetch > 0 {
            client.qos(load.prefetch)?;
        }
        client.consume(&load.topology().queue(n), load.ack_every == 0)?;
        client.set_read_wait(LOOK)?;
        client.read_in_bulk();
        Ok(Consumer { client, ack_every: load.ack_every })
    }
}

/// Consumes until the load is over.
pub fn run(consumer: Consumer, progress: &Progress) -> Result<()> {
    let Consumer { mut client, ack_every } = consumer;
    let mut tally = Tally { ack_every, ..Tally::default() };
    while !progress.over.load(Relaxed) {
        if progress.has_too_few() && !progress.no_more.load(Relaxed) {
            thread::sleep(PAUSE);
            continue;
        }
        client.fill()?;
        let used = tally.walk(client.unread())?;
        client.used(used);
        progress.delivered.fetch_add(std::mem::take(&mut tally.delivered), Relaxed);
        if !tally.acks.is_empty() {
            client.send(&tally.acks)?;
            tally.acks.clear();
        }
    }
    // What is left goes with the queue, so a broker that is slow to answer because there is much of it is no failure.
    let _ = client.close();
    Ok(())
}

/// Counts deliveries in a stream of frames.
#[derive(Default)]
struct Tally {
    delivered: u64,
    ack_every: u64,
    unacked: u64,
    /// Acknowledgements to send.
    acks: Vec<u8>,
    /// Bytes, not yet come, of a frame that is of no interest.
    skip: usize,
}

impl Tally {
    /// Goes through `bytes` and returns how many are done with; the others are the beginning of a frame.
    fn walk(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = self.skip.min(bytes.len());
        self.skip -= at;
        while let Some(head) = FrameHead::read(&bytes[at..]) {
            let next = at + head.frame_bytes();
            if head.kind == METHOD {
                if next > bytes.len() {
                    break;
                }
                self.method(&bytes[at + frame::HEAD_BYTES..next - 1])?;
            }
            at = next;
            if at > bytes.len() {
                self.skip = at - bytes.len();
                return Ok(bytes.len());
            }
        }
        Ok(at)
    }

    #[inline]
    fn method(&mut self, payload: &[u8]) -> Result<()> {
        match method_ids(payload) {
            Some((60, 60)) => {
                self.delivered += 1;
                self.unacked += 1;
                if self.unacked == self.ack_every {
                    self.unacked = 0;
                    self.acknowledge(payload);
                }
                Ok(())
            }
            Some((60, 30)) => Err(BenchError::new("the broker cancelled a consumer")),
            Some(ids) if is_close(ids) => Err(closed_by(payload)),
            _ => Ok(()),
        }
    }

    fn acknowledge(&mut self, deliver: &[u8]) {
        let ack = basic::Ack { delivery_tag: delivery_tag(deliver), multiple: true };
        method::encode(&mut self.acks, CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)));
    }
}

/// The delivery tag of a `basic.deliver`, which stands behind the consumer's tag; 0 if there is none.
fn delivery_tag(deliver: &[u8]) -> u64 {
    let at = 5 + deliver.get(4).map_or(0, |length| *length as usize);
    deliver.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(tag: u64, body: &[u8]) -> Vec<u8> {
        let deliver = basic::Deliver {
            consumer_tag: "c".into(),
            delivery_tag: tag,
            redelivered: false,
            exchange: "".into(),
            routing_key: "q".into(),
        };
        let mut out = Vec::new();
        method::encode(&mut out, 1, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)));
        for (kind, payload) in [(frame::HEADER, &[0; 14][..]), (frame::BODY, body)] {
            let at = frame::begin(&mut out, kind, 1);
            out.extend_from_slice(payload);
            frame::finish(&mut out, at);
        }
        out
    }

    #[test]
    fn deliveries_are_counted_and_acknowledged_wherever_the_stream_is_cut() {
        let stream: Vec<u8> = (1..=5).flat_map(|tag| delivery(tag, &[b'x'; 40])).collect();
        for piece in [1, 3, 7, 50, stream.len()] {
            let mut tally = Tally { ack_every: 2, ..Tally::default() };
            let mut pending: Vec<u8> = Vec::new();
            for bytes in stream.chunks(piece) {
                pending.extend_from_slice(bytes);
                let used = tally.walk(&pending).unwrap();
                pending.drain(..used);
            }
            assert_eq!((tally.delivered, tally.unacked, pending.len()), (5, 1, 0));
            let tags: Vec<u8> = tally.acks.chunks(21).map(|ack| ack[18]).collect();
            assert_eq!(tags, [2, 4]);
        }
    }

    #[test]
    fn a_close_of_the_broker_is_an_error() {
        let mut tally = Tally::default();
        let close = b"\x01\0\x01\0\0\0\x0E\0\x14\0\x28\x01\x94\x03why\0\x3C\0\x28\xCE";
        assert_eq!(tally.walk(close).unwrap_err().to_string(), "the broker closed: 404 why");
    }
}
