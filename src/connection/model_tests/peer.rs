//! The client's side of a connection without a socket: frames in, frames out.

use std::sync::Arc;
use std::task::Waker;

use amq_protocol::protocol::{AMQPClass, basic, channel, queue};

use crate::broker::Broker;
use crate::broker::outbox::Item;
use crate::channel::Suspended;
use crate::config::Config;
use crate::connection::dispatch::{Dispatcher, Phase};
use crate::connection::handshake::Login;
use crate::connection::scratch::Scratch;
use crate::connection::session::{ClientCapabilities, Session};
use crate::storage::log::Work;
use crate::storage::store::{Recovered, Store};
use crate::wire::frame::{self, BODY, FrameHead, HEADER, METHOD};
use crate::wire::hot::{CLASS_BASIC, ContentHeader};
use crate::wire::method;
use crate::wire::table::TableLimits;

pub fn new_broker() -> Arc<Broker> {
    Broker::new(Config::default())
}

/// A broker whose durable things go into this store, which is empty.
pub fn new_broker_with(store: &Arc<Store>) -> Arc<Broker> {
    let broker = Broker::open(Config::default(), store.clone(), Recovered::default()).expect("an empty store");
    // What it defines at its first start is kept before anybody connects.
    while let Some(Work::Write { epoch, contents, .. }) = store.log.take_now(true) {
        store.log.written(epoch, &contents);
        store.log.synced(epoch);
    }
    broker
}

/// A method from the broker, with the body of its message if it has one.
#[derive(Debug)]
pub struct Event {
    pub channel: u16,
    pub method: AMQPClass,
    pub body: Vec<u8>,
}

pub fn login(broker: &Arc<Broker>) -> Login {
    let user = broker.users.get("guest").expect("the default user");
    Login {
        name: "peer".into(),
        broker: broker.clone(),
        admission: broker.admit(&user, "/").expect("the default user may use the default virtual host"),
        capabilities: ClientCapabilities {
            consumer_cancel_notify: true,
            connection_blocked: true,
            authentication_failure_close: true,
        },
        frame_max: Peer::FRAME_MAX,
        channel_max: 0,
        heartbeat_s: 0,
        pipelined: Vec::new(),
    }
}

/// A client, authenticated and with its connection open.
pub struct Peer {
    dispatcher: Dispatcher,
    /// Sent and not used up: the beginning of a frame.
    unread: Vec<u8>,
}

impl Peer {
    pub const FRAME_MAX: usize = 4096;

    pub fn new(broker: &Arc<Broker>) -> Peer {
        let session = Session::new(login(broker), broker.new_connection_id());
        Peer { dispatcher: Dispatcher::new(session), unread: Vec::new() }
    }

    /// The broker reads these bytes at once. Returns what it answers.
    pub fn send(&mut self, bytes: &[u8]) -> Vec<Event> {
        let data = [&std::mem::take(&mut self.unread), bytes].concat();
        Scratch::with(|scratch| {
            match self.dispatcher.process(&data, usize::MAX, scratch) {
                Ok(processed) => self.unread = data[processed.used..].to_vec(),
                Err(close) => panic!("connection closed: {}", close.fault),
            }
            self.dispatcher.end_batch(scratch);
            scratch.wakes.wake_all();
            parse(&scratch.out)
        })
    }

    /// The broker looks whether the disk has got further, and at what it then can read. Returns what it answers.
    pub fn look(&mut self) -> Vec<Event> {
        let events = Scratch::with(|scratch| {
            if let Err(close) = self.dispatcher.look_at_disk(scratch) {
                panic!("connection closed: {}", close.fault);
            }
            scratch.wakes.wake_all();
            parse(&scratch.out)
        });
        if self.dispatcher.waits_for_disk() { events } else { events.into_iter().chain(self.send(&[])).collect() }
    }

    /// Whether the connection was told to look around since this was last asked.
    pub fn is_woken(&self) -> bool {
        !self.dispatcher.session.outbox.park(Waker::noop(), false)
    }

    /// Has a channel wait for the message at the front of a queue, as if that were on disk.
    pub fn suspend_get(&mut self, channel: u16, queue: &str) {
        let get = basic::Get { queue: queue.into(), no_ack: true };
        self.dispatcher.suspend(channel, Suspended::Get(get));
    }

    /// Whether everything that was sent is handled, and nothing waits for the disk.
    pub fn is_idle(&self) -> bool {
        self.unread.is_empty() && self.dispatcher.session.waits.is_empty()
    }

    pub fn is_closed(&self) -> bool {
        self.dispatcher.phase == Phase::Closed
    }

    /// The socket takes so many of the items that queues have handed to this connection.
    pub fn receive(&mut self, items: usize) -> Vec<Event> {
        Scratch::with(|scratch| {
            for _ in 0..items {
                let session = &mut self.dispatcher.session;
                if session.inbox.is_empty() {
                    session.outbox.take(&mut session.inbox);
                }
                match session.inbox.pop_front() {
                    Some(Item::Deliver { slot, run }) => {
                        self.dispatcher.deliver(slot, run, scratch);
                        self.dispatcher.report_sent(scratch);
                    }
                    Some(Item::Cancelled { slot }) => self.dispatcher.consumer_cancelled(slot, scratch),
                    None => break,
                }
            }
            scratch.wakes.wake_all();
            parse(&scratch.out)
        })
    }

    /// The socket breaks.
    pub fn vanish(&mut self) {
        Scratch::with(|scratch| {
            self.dispatcher.release(scratch);
            scratch.wakes.wake_all();
        });
        self.unread.clear();
    }
}

pub fn parse(mut bytes: &[u8]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut body_bytes = 0;
    while let Some(head) = FrameHead::read(bytes) {
        let payload = &bytes[frame::HEAD_BYTES..frame::HEAD_BYTES + head.size];
        assert_eq!(bytes[head.frame_bytes() - 1], frame::END);
        match (head.kind, events.last_mut()) {
            (METHOD, _) => {
                let method = method::decode(payload, TableLimits { max_depth: 8 }).expect("a method");
                events.push(Event { channel: head.channel, method, body: Vec::new() });
            }
            (HEADER, Some(last)) => {
                body_bytes = ContentHeader::read(payload).expect("a content header").body_bytes;
                assert_eq!(last.channel, head.channel);
            }
            (BODY, Some(last)) => {
                last.body.extend_from_slice(payload);
                assert!(last.body.len() as u64 <= body_bytes && head.size <= Peer::FRAME_MAX - frame::OVERHEAD_BYTES);
            }
            _ => panic!("{head:?}"),
        }
        bytes = &bytes[head.frame_bytes()..];
    }
    assert!(bytes.is_empty());
    events
}

/// Frames to be sent on one channel.
#[derive(Default)]
pub struct Frames {
    pub channel: u16,
    pub bytes: Vec<u8>,
}

impl Frames {
    pub fn on(channel: u16) -> Frames {
        Frames { channel, bytes: Vec::new() }
    }

    pub fn method(mut self, method: AMQPClass) -> Frames {
        method::encode(&mut self.bytes, self.channel, method);
        self
    }

    pub fn basic(self, method: basic::AMQPMethod) -> Frames {
        self.method(AMQPClass::Basic(method))
    }

    pub fn open(self) -> Frames {
        self.method(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})))
    }

    pub fn declare(self, name: &str) -> Frames {
        let declare = queue::Declare { queue: name.into(), ..queue::Declare::default() };
        self.method(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
    }

    pub fn declare_durable(self, name: &str) -> Frames {
        let declare = queue::Declare { queue: name.into(), durable: true, ..queue::Declare::default() };
        self.method(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
    }

    pub fn bind(self, name: &str, exchange: &str, key: &str) -> Frames {
        let (exchange, routing_key) = (exchange.into(), key.into());
        let bind = queue::Bind { queue: name.into(), exchange, routing_key, ..queue::Bind::default() };
        self.method(AMQPClass::Queue(queue::AMQPMethod::Bind(bind)))
    }

    pub fn get(self, name: &str, no_ack: bool) -> Frames {
        self.basic(basic::AMQPMethod::Get(basic::Get { queue: name.into(), no_ack }))
    }

    pub fn ack(self, delivery_tag: u64) -> Frames {
        self.basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple: false }))
    }

    /// The body goes in so many frames.
    pub fn publish(self, to: (&str, &str), mandatory: bool, body: &[u8], body_frames: usize) -> Frames {
        let frames = self.publish_method(to, mandatory);
        let size = body.len().div_ceil(body_frames).max(1);
        body.chunks(size).fold(frames.header(body, &[0, 0]), |frames, part| frames.body(part))
    }

    pub fn publish_persistent(self, to: (&str, &str), body: &[u8]) -> Frames {
        self.publish_with(to, &[0x10, 0x00, 2], body)
    }

    /// With these properties, in wire form.
    pub fn publish_with(self, to: (&str, &str), properties: &[u8], body: &[u8]) -> Frames {
        let frames = self.publish_method(to, false).header(body, properties);
        body.chunks(Peer::FRAME_MAX - frame::OVERHEAD_BYTES).fold(frames, |frames, part| frames.body(part))
    }

    fn publish_method(mut self, to: (&str, &str), mandatory: bool) -> Frames {
        let publish =
            basic::Publish { exchange: to.0.into(), routing_key: to.1.into(), mandatory, ..basic::Publish::default() };
        method::encode(&mut self.bytes, self.channel, AMQPClass::Basic(basic::AMQPMethod::Publish(publish)));
        self
    }

    fn header(mut self, body: &[u8], properties: &[u8]) -> Frames {
        let body_bytes = (body.len() as u64).to_be_bytes();
        self.frame(HEADER, &[&CLASS_BASIC.to_be_bytes()[..], &[0, 0], &body_bytes, properties].concat());
        self
    }

    fn body(mut self, part: &[u8]) -> Frames {
        self.frame(BODY, part);
        self
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) {
        let at = frame::begin(&mut self.bytes, kind, self.channel);
        self.bytes.extend_from_slice(payload);
        frame::finish(&mut self.bytes, at);
    }
}
