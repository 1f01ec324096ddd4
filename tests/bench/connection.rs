//! A connection without a socket: what the broker reads and writes, from this thread, through the code that it runs.

use amq_protocol::protocol::{AMQPClass, basic, channel, queue};
use leveret::bench::message::{Message, Properties};
use leveret::broker::Broker;
use leveret::broker::outbox::Item;
use leveret::config::Config;
use leveret::connection::dispatch::Dispatcher;
use leveret::connection::handshake::Login;
use leveret::connection::scratch::Scratch;
use leveret::connection::session::Session;
use leveret::wire::frame::{self, METHOD};
use leveret::wire::method;

pub const CHANNEL: u16 = 1;
pub const FRAME_MAX: usize = 131_072;

pub struct Connection {
    dispatcher: Dispatcher,
}

impl Connection {
    /// A connection to a new broker, with a channel and a queue of this name.
    pub fn new(queue: &str) -> Connection {
        let broker = Broker::new(Config::default());
        let user = broker.users.get("guest").expect("it exists by default");
        let login = Login {
            name: "test".into(),
            admission: broker.admit(&user, "/").expect("the default user may use the default virtual host"),
            broker: broker.clone(),
            capabilities: Default::default(),
            frame_max: FRAME_MAX,
            channel_max: 0,
            heartbeat_s: 0,
            pipelined: Vec::new(),
        };
        let session = Session::new(login, broker.new_connection_id());
        let mut connection = Connection { dispatcher: Dispatcher::new(session) };
        connection.call(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        connection.call(AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
            queue: queue.into(),
            passive: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: Default::default(),
        })));
        connection
    }

    pub fn call(&mut self, class: AMQPClass) {
        let mut bytes = Vec::new();
        method::encode(&mut bytes, CHANNEL, class);
        self.read(&bytes);
    }

    pub fn consume(&mut self, queue: &str, no_ack: bool) {
        self.call(AMQPClass::Basic(basic::AMQPMethod::Consume(basic::Consume {
            queue: queue.into(),
            consumer_tag: "c".into(),
            no_local: false,
            no_ack,
            exclusive: false,
            nowait: false,
            arguments: Default::default(),
        })));
    }

    /// One turn of reading: these bytes come, whole frames.
    pub fn read(&mut self, bytes: &[u8]) {
        Scratch::with(|scratch| {
            let Ok(processed) = self.dispatcher.process(bytes, usize::MAX, scratch) else {
                panic!("the connection is closed")
            };
            assert_eq!(processed.used, bytes.len());
            self.dispatcher.end_batch(scratch);
        });
    }

    /// Writes all that has been assigned, and what is then assigned in turn. Returns how many bytes that was.
    pub fn write(&mut self) -> usize {
        Scratch::with(|scratch| {
            loop {
                let session = &mut self.dispatcher.session;
                session.outbox.take(&mut session.inbox);
                if session.inbox.is_empty() {
                    return scratch.out.len();
                }
                while let Some(item) = self.dispatcher.session.inbox.pop_front() {
                    let Item::Deliver { slot, run } = item else { panic!("only deliveries are expected") };
                    self.dispatcher.deliver(slot, run, scratch);
                    self.dispatcher.report_sent(scratch);
                }
            }
        })
    }
}

/// Publishes of `count` messages to a queue.
pub fn publishes(count: u64, queue: &str, properties: Properties, body_bytes: usize) -> Vec<u8> {
    let body = vec![b'x'; body_bytes];
    let mut out = Vec::new();
    for n in 0..count {
        let message = Message { exchange: "", routing_key: queue, properties: properties.of(n), body: &body };
        message.publish(&mut out, FRAME_MAX);
    }
    out
}

/// An acknowledgement.
pub fn ack(out: &mut Vec<u8>, delivery_tag: u64, multiple: bool) {
    let at = frame::begin(out, METHOD, CHANNEL);
    out.extend_from_slice(b"\0\x3C\0\x50");
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.push(u8::from(multiple));
    frame::finish(out, at);
}
