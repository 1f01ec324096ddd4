//! The limit: the least that a broker has to do for a message, and nothing else.
//!
//! A relay that reads a publish and writes it as a delivery, on one thread for each connection: no queue, no routing,
//! no credit, nothing kept. What passes through it, and what it spends, is what the machine can do at best; brokers
//! are judged by how near they come. Every publishing connection sends to one consumer, chosen when it first
//! publishes; what is published before there is one is dropped.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue};
use clap::Args;

use super::error::{BenchError, Result};
use super::server::LISTENS;
use crate::wire::frame::{self, BODY, FrameHead, HEADER, METHOD};
use crate::wire::hot::{ACK, CLASS_BASIC, PUBLISH, method_ids};
use crate::wire::method;
use crate::wire::table::TableLimits;

/// Larger reads cost less: fewer of them, and fewer wakes of whoever writes.
const READ_BYTES: usize = 1024 * 1024;
/// The smallest number that no frame of a usual message exceeds.
const FRAME_MAX_BYTES: u32 = 131_072;
const CONSUMER_TAG: &str = "c";

#[derive(Args, Clone, Debug)]
pub struct Limit {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5690")]
    listen: String,
}

type Consumer = Arc<Mutex<TcpStream>>;
type Consumers = Arc<Mutex<Vec<Consumer>>>;

impl Limit {
    /// Relays until the process ends.
    pub fn run(&self) -> Result<()> {
        let listener = TcpListener::bind(&self.listen)
            .map_err(|error| BenchError::new(format!("cannot listen on {}: {error}", self.listen)))?;
        println!("{LISTENS}{}", listener.local_addr()?);
        let consumers = Consumers::default();
        for (n, socket) in listener.incoming().enumerate() {
            let consumers = consumers.clone();
            let socket = socket?;
            thread::spawn(move || Relay::new(n, consumers).run(socket));
        }
        Ok(())
    }
}

/// One connection.
struct Relay {
    /// Which of the consumers this connection publishes to.
    number: usize,
    consumers: Consumers,
    publishes_to: Option<Consumer>,
    consumes_by: Option<Consumer>,
    /// The delivery tag of the last message relayed.
    tag: u64,
    replies: Vec<u8>,
    deliveries: Vec<u8>,
}

impl Relay {
    fn new(number: usize, consumers: Consumers) -> Relay {
        Relay {
            number,
            consumers,
            publishes_to: None,
            consumes_by: None,
            tag: 0,
            replies: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    fn run(mut self, socket: TcpStream) {
        // However the connection ends, it is the other side's doing and of no interest here.
        let _ = self.serve(socket);
        if let Some(consumer) = &self.consumes_by {
            self.all_consumers().retain(|other| !Arc::ptr_eq(other, consumer));
        }
    }

    fn all_consumers(&self) -> std::sync::MutexGuard<'_, Vec<Consumer>> {
        self.consumers.lock().expect("nothing panics here")
    }

    fn serve(&mut self, mut socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        greet(&mut socket)?;
        let mut buffer = vec![0; READ_BYTES];
        let mut end = 0;
        loop {
            match socket.read(&mut buffer[end..])? {
                0 => return Ok(()),
                count => end += count,
            }
            let used = self.relay(&buffer[..end], &socket)?;
            buffer.copy_within(used..end, 0);
            end -= used;
            if !self.replies.is_empty() {
                self.reply(&mut socket)?;
            }
            if !self.deliveries.is_empty() {
                self.deliver();
            }
        }
    }

    fn reply(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        match &self.consumes_by {
            // Deliveries are written to this socket by others, in whole frames.
            Some(consumer) => consumer.lock().expect("nothing panics here").write_all(&self.replies)?,
            None => socket.write_all(&self.replies)?,
        }
        self.replies.clear();
        Ok(())
    }

    fn deliver(&mut self) {
        if self.publishes_to.is_none() {
            let consumers = self.all_consumers();
            let chosen = (!consumers.is_empty()).then(|| consumers[self.number % consumers.len()].clone());
            drop(consumers);
            self.publishes_to = chosen;
        }
        if let Some(consumer) = &self.publishes_to {
            // A consumer that has gone gets nothing any more.
            let _ = consumer.lock().expect("nothing panics here").write_all(&self.deliveries);
        }
        self.deliveries.clear();
    }

    /// Relays every whole frame; returns how many bytes these are.
    fn relay(&mut self, bytes: &[u8], socket: &TcpStream) -> io::Result<usize> {
        let mut at = 0;
        while let Some(head) = FrameHead::read(&bytes[at..]) {
            let next = at + head.frame_bytes();
            if next > bytes.len() {
                break;
            }
            let whole = &bytes[at..next];
            let payload = &whole[frame::HEAD_BYTES..whole.len() - 1];
            match head.kind {
                HEADER | BODY => self.deliveries.extend_from_slice(whole),
                METHOD => match method_ids(payload) {
                    Some((CLASS_BASIC, PUBLISH)) => self.publish(head.channel, payload),
                    Some((CLASS_BASIC, ACK)) => {}
                    _ => self.method(head.channel, payload, socket)?,
                },
                _ => {}
            }
            at = next;
        }
        Ok(at)
    }

    /// Turns `basic.publish` into `basic.deliver`: exchange and routing key stay as they are.
    #[inline]
    fn publish(&mut self, channel: u16, payload: &[u8]) {
        // Behind the ids and a reserved number stand exchange and routing key, and a byte of flags.
        let Some(names) = payload.get(6..payload.len() - 1) else { return };
        self.tag += 1;
        let mut fixed = *b"\0\x3C\0\x3C\x01c\0\0\0\0\0\0\0\0\0";
        fixed[6..14].copy_from_slice(&self.tag.to_be_bytes());
        let at = frame::begin(&mut self.deliveries, METHOD, channel);
        self.deliveries.extend_from_slice(&fixed);
        self.deliveries.extend_from_slice(names);
        frame::finish(&mut self.deliveries, at);
    }

    /// Answers everything else as if it had been done.
    fn method(&mut self, channel: u16, payload: &[u8], socket: &TcpStream) -> io::Result<()> {
        let class = method::decode(payload, TableLimits::new(64)).map_err(io::Error::other)?;
        if let AMQPClass::Basic(basic::AMQPMethod::Consume(_)) = &class {
            let consumer = Arc::new(Mutex::new(socket.try_clone()?));
            self.all_consumers().push(consumer.clone());
            self.consumes_by = Some(consumer);
        }
        if let Some(answer) = answer(class) {
            method::encode(&mut self.replies, channel, answer);
        }
        Ok(())
    }
}

fn greet(socket: &mut TcpStream) -> io::Result<()> {
    let mut header = [0; 8];
    socket.read_exact(&mut header)?;
    let start = connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: Default::default(),
        mechanisms: "PLAIN".into(),
        locales: "en_US".into(),
    };
    let mut out = Vec::new();
    method::encode(&mut out, 0, AMQPClass::Connection(connection::AMQPMethod::Start(start)));
    socket.write_all(&out)
}

fn answer(class: AMQPClass) -> Option<AMQPClass> {
    use AMQPClass as C;
    Some(match class {
        C::Connection(method) => {
            use connection::AMQPMethod as M;
            C::Connection(match method {
                M::StartOk(_) => {
                    M::Tune(connection::Tune { channel_max: 2047, frame_max: FRAME_MAX_BYTES, heartbeat: 0 })
                }
                M::Open(_) => M::OpenOk(connection::OpenOk {}),
                M::Close(_) => M::CloseOk(connection::CloseOk {}),
                _ => return None,
            })
        }
        C::Channel(channel::AMQPMethod::Open(_)) => C::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})),
        C::Channel(channel::AMQPMethod::Close(_)) => C::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
        C::Exchange(method) => {
            use exchange::AMQPMethod as M;
            C::Exchange(match method {
                M::Declare(_) => M::DeclareOk(exchange::DeclareOk {}),
                M::Delete(_) => M::DeleteOk(exchange::DeleteOk {}),
                _ => return None,
            })
        }
        C::Queue(method) => {
            use queue::AMQPMethod as M;
            C::Queue(match method {
                M::Declare(declare) => {
                    M::DeclareOk(queue::DeclareOk { queue: declare.queue, message_count: 0, consumer_count: 0 })
                }
                M::Bind(bind) if !bind.nowait => M::BindOk(queue::BindOk {}),
                M::Delete(_) => M::DeleteOk(queue::DeleteOk { message_count: 0 }),
                _ => return None,
            })
        }
        C::Basic(method) => {
            use basic::AMQPMethod as M;
            C::Basic(match method {
                M::Qos(_) => M::QosOk(basic::QosOk {}),
                M::Consume(_) => M::ConsumeOk(basic::ConsumeOk { consumer_tag: CONSUMER_TAG.into() }),
                _ => return None,
            })
        }
        C::Confirm(confirm::AMQPMethod::Select(_)) => C::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::{Message, Properties};
    use super::*;

    #[test]
    fn a_publish_becomes_a_delivery() {
        let mut relay = Relay::new(0, Consumers::default());
        let mut publish = Vec::new();
        let message = Message { exchange: "ex", routing_key: "key", properties: Properties::None.of(0), body: b"body" };
        message.publish(&mut publish, 4096);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let twice = [&publish[..], &publish[..], b"\x01"].concat();
        assert_eq!(relay.relay(&twice, &socket).unwrap(), 2 * publish.len());
        let expected = |tag: u8| {
            let mut bytes = b"\x01\0\x01\0\0\0\x16\0\x3C\0\x3C\x01c\0\0\0\0\0\0\0\0\0\x02ex\x03key\xCE".to_vec();
            bytes[20] = tag;
            bytes.extend_from_slice(
                b"\x02\0\x01\0\0\0\x0E\0\x3C\0\0\0\0\0\0\0\0\0\x04\0\0\xCE\x03\0\x01\0\0\0\x04body\xCE",
            );
            bytes
        };
        assert_eq!(relay.deliveries, [expected(1), expected(2)].concat());
    }
}
