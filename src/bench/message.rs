//! The messages that are published, as bytes.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame};
use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::{AMQPValue, FieldTable};
use clap::ValueEnum;

use super::client::CHANNEL;
use crate::wire::frame::{self, BODY, OVERHEAD_BYTES};
use crate::wire::hot::CLASS_BASIC;
use crate::wire::method;

/// The properties of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Properties {
    /// No property at all.
    #[default]
    None,
    /// What messages usually carry: content type, three headers, message id and timestamp; the same on each.
    Usual,
    /// The same, but each message has an id and a time of its own.
    Varied,
}

impl Properties {
    /// The properties of the `n`th message.
    pub fn of(self, n: u64) -> basic::AMQPProperties {
        let n = match self {
            Properties::None => return basic::AMQPProperties::default(),
            Properties::Usual => 0,
            Properties::Varied => n,
        };
        let mut headers = FieldTable::default();
        headers.insert("attempt".into(), AMQPValue::LongInt(1));
        headers.insert("source".into(), AMQPValue::LongString("warehouse-north".into()));
        headers.insert("trace-id".into(), AMQPValue::LongString("6f1a0c52e89b4d37a4c09e5512f7d880".into()));
        basic::AMQPProperties::default()
            .with_content_type("application/json".into())
            .with_headers(headers)
            .with_message_id(format!("c7a1f3d2-5b0e-4e19-9a6d-{n:012x}").into())
            .with_timestamp(1_760_000_000 + n / 1000)
    }
}

/// A message to publish.
pub struct Message<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub properties: basic::AMQPProperties,
    pub body: &'a [u8],
}

impl Message<'_> {
    /// Appends all frames of its publish. Returns where, in `out`, the body's first frame has its payload; a body
    /// that is empty has none.
    pub fn publish(&self, out: &mut Vec<u8>, frame_max: usize) -> usize {
        let publish = basic::Publish {
            exchange: self.exchange.into(),
            routing_key: self.routing_key.into(),
            mandatory: false,
            immediate: false,
        };
        method::encode(out, CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Publish(publish)));
        let header = AMQPContentHeader {
            class_id: CLASS_BASIC,
            body_size: self.body.len() as u64,
            properties: self.properties.clone(),
        };
        append(out, &AMQPFrame::Header(CHANNEL, header));
        let body_at = out.len() + frame::HEAD_BYTES;
        for part in self.body.chunks(frame_max - OVERHEAD_BYTES) {
            let at = frame::begin(out, BODY, CHANNEL);
            out.extend_from_slice(part);
            frame::finish(out, at);
        }
        body_at
    }
}

fn append(out: &mut Vec<u8>, frame: &AMQPFrame) {
    let context = WriteContext { write: std::mem::take(out), position: 0 };
    let written = gen_frame(frame)(context).expect("writing to memory cannot fail");
    *out = written.write;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_three_frames_and_tells_where_its_body_is() {
        let message = Message { exchange: "", routing_key: "q", properties: Properties::None.of(0), body: b"12345678" };
        let mut out = b"before".to_vec();
        let body_at = message.publish(&mut out, 4096);
        assert_eq!(&out[body_at..body_at + 8], b"12345678");
        assert_eq!(
            out,
            b"before\x01\0\x01\0\0\0\x0A\0\x3C\0\x28\0\0\0\x01q\0\xCE\
              \x02\0\x01\0\0\0\x0E\0\x3C\0\0\0\0\0\0\0\0\0\x08\0\0\xCE\
              \x03\0\x01\0\0\0\x0812345678\xCE"
        );
    }

    #[test]
    fn varied_properties_are_of_one_length_and_differ() {
        let encoded = |n| {
            let message = Message { exchange: "", routing_key: "q", properties: Properties::Varied.of(n), body: b"" };
            let mut out = Vec::new();
            message.publish(&mut out, 4096);
            out
        };
        assert_eq!(encoded(1).len(), encoded(1 << 40).len());
        assert_ne!(encoded(1), encoded(2));
        assert!(encoded(1).len() > 150);
    }
}
