//! A client for many messages: it reads and writes in large pieces, and takes the end of the broker as an answer.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};

use crate::durability::process::PATIENCE;
use crate::durability::publisher::persistent;
use crate::support::peer::*;
use crate::support::wire::*;

/// What comes on channel 1.
#[derive(Debug)]
pub enum Event {
    Delivery(Delivery),
    /// Publishes up to this one, or this one alone, are kept.
    Confirm {
        tag: u64,
        multiple: bool,
    },
    Other(Reply),
}

#[derive(Debug)]
pub struct Delivery {
    pub tag: u64,
    pub redelivered: bool,
    pub body: Vec<u8>,
}

/// A connection with channel 1.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// What of the input is read.
    read: usize,
    output: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Self { stream, input: Vec::new(), read: 0, output: Login::new().pipelined() };
        client.flush()?;
        for name in ["connection.start", "connection.tune", "connection.open-ok", "channel.open-ok"] {
            client.wait_for(name)?;
        }
        Ok(client)
    }

    /// Adds a method to what is to be sent.
    pub fn put(&mut self, method: &Method) {
        self.output.extend(method_frame(1, method));
    }

    /// Adds a persistent message to what is to be sent.
    pub fn put_persistent(&mut self, exchange: &str, key: &str, body: &[u8]) {
        self.put_message(exchange, key, &persistent(), body);
    }

    pub fn put_message(&mut self, exchange: &str, key: &str, properties: &[u8], body: &[u8]) {
        self.put(&publish(exchange, key));
        self.output.extend(content_frames(1, properties, body, 131_072));
    }

    /// Adds bytes to what is to be sent.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    pub fn waiting_bytes(&self) -> usize {
        self.output.len()
    }

    pub fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Sends a method, and all that waited, and waits for its answer. What else comes meanwhile is dropped.
    pub fn call(&mut self, method: &Method) -> Result<Reply> {
        self.put(method);
        self.flush()?;
        self.wait_for(&format!("{}-ok", method.name))
    }

    fn wait_for(&mut self, name: &str) -> Result<Reply> {
        loop {
            match self.next()? {
                Event::Other(reply) if reply.name == name => return Ok(reply),
                _ => {}
            }
        }
    }

    /// Messages that are ready in the queue.
    pub fn count(&mut self, queue: &str) -> Result<u64> {
        Ok(self.call(&queue_declare(queue).on("passive"))?.number("message-count"))
    }

    /// What comes next. If it has not come yet, what waits is sent first.
    pub fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.next_buffered() {
                return Ok(event);
            }
            self.flush()?;
            self.fill()?;
        }
    }

    /// What has come already. An event is taken only as a whole, with its content.
    pub fn next_buffered(&mut self) -> Option<Event> {
        let mut at = self.read;
        let event = loop {
            let (kind, payload) = frame_at(&self.input, &mut at)?;
            assert_ne!(kind, FRAME_HEADER, "a header without a method");
            if kind == FRAME_METHOD {
                break match payload[..4] {
                    [0, 60, 0, 60] => Event::Delivery(delivery_at(payload, &self.input, &mut at)?),
                    _ => event_of(Reply::decode(payload)),
                };
            }
        };
        self.read = at;
        Some(event)
    }

    fn fill(&mut self) -> Result<()> {
        self.input.drain(..self.read);
        self.read = 0;
        let length = self.input.len();
        self.input.resize(length + (256 << 10), 0);
        let count = self.stream.read(&mut self.input[length..]);
        self.input.truncate(length + *count.as_ref().unwrap_or(&0));
        match count {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err(Error::new(ErrorKind::TimedOut, "the broker is silent"))
            }
            Err(error) => Err(error),
        }
    }
}

/// Type and payload of the frame at this place, which moves behind it.
fn frame_at<'a>(input: &'a [u8], at: &mut usize) -> Option<(u8, &'a [u8])> {
    let header = input.get(*at..*at + 7)?;
    let length = u32::from_be_bytes(header[3..7].try_into().expect("four bytes")) as usize;
    let end = *at + 7 + length;
    assert_eq!(*input.get(end)?, FRAME_END, "the end of a frame from the broker");
    let payload = &input[*at + 7..end];
    *at = end + 1;
    Some((header[0], payload))
}

/// The rest of a delivery, if it is there.
fn delivery_at(method: &[u8], input: &[u8], at: &mut usize) -> Option<Delivery> {
    let mut reader = Reader::new(&method[4..]);
    reader.shortstr();
    let tag = reader.u64();
    let redelivered = reader.u8() & 1 == 1;
    let (kind, header) = frame_at(input, at)?;
    assert_eq!(kind, FRAME_HEADER, "a header behind a delivery");
    let size = u64::from_be_bytes(header[4..12].try_into().expect("eight bytes")) as usize;
    let mut body = Vec::with_capacity(size);
    while body.len() < size {
        let (kind, part) = frame_at(input, at)?;
        assert_eq!(kind, FRAME_BODY, "a body behind a header");
        body.extend_from_slice(part);
    }
    Some(Delivery { tag, redelivered, body })
}

fn event_of(reply: Reply) -> Event {
    match reply.name {
        "basic.ack" => Event::Confirm { tag: reply.number("delivery-tag"), multiple: reply.bit("multiple") },
        "basic.nack" | "channel.close" | "connection.close" => panic!("nothing of the kind was asked for: {reply:?}"),
        _ => Event::Other(reply),
    }
}
