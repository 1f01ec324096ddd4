//! A client that sends exactly the bytes that a test wants and says exactly what came back.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::broker;
use super::props;
use super::wire::*;

/// How long to wait for what must come. A test that passes never waits this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a client logs in.
#[derive(Clone)]
pub struct Login {
    pub mechanism: String,
    pub response: Vec<u8>,
    pub vhost: String,
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat: u16,
    pub properties: Table,
}

impl Login {
    /// As `guest`, with every capability that changes what the broker does, without heartbeats.
    pub fn new() -> Self {
        Self {
            mechanism: "PLAIN".to_owned(),
            response: b"\0guest\0guest".to_vec(),
            vhost: "/".to_owned(),
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 0,
            properties: capabilities(&[
                "authentication_failure_close",
                "basic.nack",
                "connection.blocked",
                "consumer_cancel_notify",
                "publisher_confirms",
            ]),
        }
    }

    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.response = format!("\0{name}\0{password}").into_bytes();
        self
    }

    pub fn mechanism(mut self, name: &str, response: &[u8]) -> Self {
        self.mechanism = name.to_owned();
        self.response = response.to_vec();
        self
    }

    pub fn vhost(mut self, name: &str) -> Self {
        self.vhost = name.to_owned();
        self
    }

    pub fn channel_max(mut self, number: u16) -> Self {
        self.channel_max = number;
        self
    }

    pub fn frame_max(mut self, bytes: u32) -> Self {
        self.frame_max = bytes;
        self
    }

    pub fn heartbeat(mut self, seconds: u16) -> Self {
        self.heartbeat = seconds;
        self
    }

    pub fn capabilities(mut self, names: &[&str]) -> Self {
        self.properties = capabilities(names);
        self
    }

    pub fn start_ok(&self) -> Method {
        method("connection.start-ok")
            .raw_table("client-properties", &table_entries(&self.properties))
            .text("mechanism", &self.mechanism)
            .long_bytes("response", &self.response)
            .text("locale", "en_US")
    }

    pub fn tune_ok(&self) -> Method {
        method("connection.tune-ok")
            .number("channel-max", self.channel_max.into())
            .number("frame-max", self.frame_max.into())
            .number("heartbeat", self.heartbeat.into())
    }

    pub fn open(&self) -> Method {
        method("connection.open").text("virtual-host", &self.vhost)
    }

    /// All that a client sends up to an open channel 1, at once.
    pub fn pipelined(&self) -> Vec<u8> {
        let mut bytes = PROTOCOL_HEADER.to_vec();
        for method in [self.start_ok(), self.tune_ok(), self.open()] {
            bytes.extend_from_slice(&method_frame(0, &method));
        }
        bytes.extend_from_slice(&method_frame(1, &method("channel.open")));
        bytes
    }

    /// A peer that has sent the header and has read `connection.start`.
    #[track_caller]
    pub fn started(&self, address: SocketAddr) -> Peer {
        let mut peer = Peer::tcp(address);
        peer.send_raw(PROTOCOL_HEADER);
        peer.expect(0, "connection.start");
        peer
    }

    /// A peer that has been offered the limits.
    #[track_caller]
    pub fn tuning(&self, address: SocketAddr) -> Peer {
        let mut peer = self.started(address);
        peer.send(0, &self.start_ok());
        peer.expect(0, "connection.tune");
        peer
    }

    /// A peer that has answered the limits and may open a virtual host.
    #[track_caller]
    pub fn opening(&self, address: SocketAddr) -> Peer {
        let mut peer = self.tuning(address);
        peer.send(0, &self.tune_ok());
        peer.frame_max = self.frame_max as usize;
        peer
    }

    /// An open connection without channels.
    #[track_caller]
    pub fn connection(&self, address: SocketAddr) -> Peer {
        let mut peer = self.opening(address);
        peer.send(0, &self.open());
        peer.expect(0, "connection.open-ok");
        peer
    }

    /// An open connection with channel 1.
    #[track_caller]
    pub fn connect(&self, address: SocketAddr) -> Peer {
        let mut peer = self.connection(address);
        peer.open_channel(1);
        peer
    }
}

fn capabilities(names: &[&str]) -> Table {
    let capabilities = names.iter().map(|name| ((*name).to_owned(), Value::Bool(true))).collect();
    table([("product", s("test")), ("capabilities", Value::Table(capabilities))])
}

/// A message that came from the broker, with the method that brought it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub method: Reply,
    /// Flags and values, untouched.
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

impl Message {
    #[track_caller]
    pub fn tag(&self) -> u64 {
        self.method.number("delivery-tag")
    }

    #[track_caller]
    pub fn redelivered(&self) -> bool {
        self.method.bit("redelivered")
    }

    #[track_caller]
    pub fn consumer(&self) -> &str {
        self.method.text("consumer-tag")
    }

    #[track_caller]
    pub fn body_text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    pub fn headers(&self) -> Table {
        props::headers_of(&self.properties)
    }
}

/// One TCP connection to the broker.
pub struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
    frames: VecDeque<Frame>,
    eof: bool,
    pub frame_max: usize,
}

impl Peer {
    /// An open connection to the shared broker with channel 1.
    #[track_caller]
    pub fn connect() -> Self {
        Login::new().connect(broker::shared())
    }

    /// A socket that has not sent anything.
    #[track_caller]
    pub fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, unread: Vec::new(), frames: VecDeque::new(), eof: false, frame_max: 131_072 }
    }

    // ---- sending ----

    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// Writes what the broker takes; it may close at any time.
    pub fn send_raw_if_open(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Writes until everything is written, or the broker has not read for as long as a write may wait; says how
    /// much is written.
    #[track_caller]
    pub fn send_while_read(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("the broker closed: {error}"),
            }
        }
        written
    }

    #[track_caller]
    pub fn send(&mut self, channel: u16, method: &Method) {
        self.send_raw(&method_frame(channel, method));
    }

    /// A publish with its content in frames of at most `frame_max`.
    #[track_caller]
    pub fn send_publish(&mut self, channel: u16, publish: &Method, properties: &[u8], body: &[u8]) {
        let mut bytes = method_frame(channel, publish);
        bytes.extend_from_slice(&content_frames(channel, properties, body, self.frame_max));
        self.send_raw(&bytes);
    }

    /// A publish without properties.
    #[track_caller]
    pub fn publish(&mut self, channel: u16, exchange: &str, routing_key: &str, body: &str) {
        self.send_publish(channel, &publish(exchange, routing_key), props::NONE, body.as_bytes());
    }

    /// Says that nothing more will be sent.
    pub fn shutdown_write(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// As [`Self::shutdown_write`], to a broker that may have gone first.
    pub fn hang_up(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// How long a write may wait for the broker to read.
    pub fn set_write_timeout(&mut self, limit: Duration) {
        self.stream.set_write_timeout(Some(limit)).expect("a timeout");
    }

    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket")
    }

    // ---- receiving ----

    /// The next frame of any channel, or `None` at the end of the stream.
    #[track_caller]
    pub fn next_frame(&mut self) -> Option<Frame> {
        match self.frames.pop_front() {
            Some(frame) => Some(frame),
            None => self.read_frame(PATIENCE).unwrap_or_else(|error| panic!("nothing came: {error}")),
        }
    }

    /// The next frame, or an error if none came in this time.
    pub fn next_frame_within(&mut self, limit: Duration) -> std::io::Result<Option<Frame>> {
        match self.frames.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => self.read_frame(limit),
        }
    }

    fn read_frame(&mut self, limit: Duration) -> std::io::Result<Option<Frame>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(frame) = self.take_frame() {
                return Ok(Some(frame));
            }
            if self.eof {
                assert!(self.unread.is_empty(), "the broker closed in the middle of a frame: {:?}", self.unread);
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => self.eof = true,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.eof = true,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let header: [u8; 7] = self.unread.get(..7)?.try_into().expect("seven bytes");
        let [kind, c1, c2, length @ ..] = header;
        let end = 7 + u32::from_be_bytes(length) as usize;
        assert!(kind == 1 || kind == 2 || kind == 3 || kind == 8, "no frame: {:?}", &self.unread[..7]);
        if self.unread.len() <= end {
            return None;
        }
        assert_eq!(self.unread[end], FRAME_END, "the end of a frame from the broker");
        let fits = end < self.frame_max || kind == FRAME_HEADER;
        assert!(fits, "a frame of {} bytes, frame_max {}", end + 1, self.frame_max);
        let payload = self.unread[7..end].to_vec();
        self.unread.drain(..=end);
        Some(Frame { kind, channel: u16::from_be_bytes([c1, c2]), payload })
    }

    /// The next frame of this channel; those of others stay for later. A close of the connection is a panic.
    #[track_caller]
    fn next_frame_on(&mut self, channel: u16) -> Frame {
        if let Some(at) = self.frames.iter().position(|frame| frame.channel == channel) {
            return self.frames.remove(at).expect("found just now");
        }
        loop {
            let frame = match self.read_frame(PATIENCE) {
                Ok(Some(frame)) => frame,
                Ok(None) => panic!("the broker closed the socket while channel {channel} waited"),
                Err(error) => panic!("nothing came on channel {channel}: {error}"),
            };
            if frame.channel == channel {
                return frame;
            }
            if frame.channel == 0 && frame.kind == FRAME_METHOD {
                let reply = Reply::decode(&frame.payload);
                assert_ne!(reply.name, "connection.close", "while channel {channel} waited: {reply:?}");
            }
            self.frames.push_back(frame);
        }
    }

    /// The next frame of the channel, which must be a method.
    #[track_caller]
    pub fn next_method(&mut self, channel: u16) -> Reply {
        loop {
            let frame = self.next_frame_on(channel);
            if frame.kind == FRAME_HEARTBEAT {
                continue;
            }
            assert_eq!(frame.kind, FRAME_METHOD, "a method on channel {channel} was expected: {frame:?}");
            return Reply::decode(&frame.payload);
        }
    }

    /// The next frame of the channel is this method.
    #[track_caller]
    pub fn expect(&mut self, channel: u16, name: &str) -> Reply {
        let reply = self.next_method(channel);
        assert_eq!(reply.name, name, "on channel {channel}: {reply:?}");
        reply
    }

    /// The next frames of the channel are this method and a content.
    #[track_caller]
    pub fn expect_message(&mut self, channel: u16, name: &str) -> Message {
        let method = self.expect(channel, name);
        self.expect_content(channel, method)
    }

    #[track_caller]
    pub fn expect_content(&mut self, channel: u16, method: Reply) -> Message {
        let header = self.next_frame_on(channel);
        assert_eq!(header.kind, FRAME_HEADER, "a header behind {method:?}");
        let mut reader = Reader::new(&header.payload);
        assert_eq!((reader.u16(), reader.u16()), (60, 0), "class and weight of a content");
        let size = reader.u64() as usize;
        let properties = reader.rest().to_vec();
        let mut body = Vec::with_capacity(size);
        while body.len() < size {
            let part = self.next_frame_on(channel);
            assert_eq!(part.kind, FRAME_BODY, "a body behind {method:?}");
            assert!(!part.payload.is_empty(), "an empty body frame");
            body.extend_from_slice(&part.payload);
        }
        assert_eq!(body.len(), size, "the length of the body");
        Message { method, properties, body }
    }

    #[track_caller]
    pub fn expect_delivery(&mut self, channel: u16) -> Message {
        self.expect_message(channel, "basic.deliver")
    }

    /// So many deliveries, by their bodies.
    #[track_caller]
    pub fn expect_bodies(&mut self, channel: u16, bodies: &[&str]) -> Vec<Message> {
        let deliveries: Vec<_> = bodies.iter().map(|_| self.expect_delivery(channel)).collect();
        let found: Vec<_> = deliveries.iter().map(Message::body_text).collect();
        assert_eq!(found, bodies);
        deliveries
    }

    /// Nothing has come on this channel that has not been looked at: the answer to a question asked now is
    /// the next frame. Asked twice, so that what one round wakes is seen by the other.
    #[track_caller]
    pub fn expect_nothing_before_sync(&mut self, channel: u16) {
        for _ in 0..2 {
            self.call(channel, &method("channel.flow").on("active"));
        }
    }

    /// As [`Self::expect_nothing_before_sync`], through the queue: what it has assigned comes before.
    #[track_caller]
    pub fn expect_nothing_from(&mut self, channel: u16, queue: &str) {
        self.counts(channel, queue);
        self.expect_nothing_before_sync(channel);
    }

    /// The stream ends here; heartbeats may come before.
    #[track_caller]
    pub fn expect_eof(&mut self) {
        loop {
            match self.next_frame() {
                None => return,
                Some(frame) if frame.kind == FRAME_HEARTBEAT => {}
                Some(frame) if frame.kind == FRAME_METHOD => {
                    panic!("the end was expected, not {:?}", Reply::decode(&frame.payload))
                }
                Some(frame) => panic!("the end was expected, not {frame:?}"),
            }
        }
    }

    /// Reads and drops everything until the broker closes.
    pub fn drain_to_eof(&mut self) {
        self.frames.clear();
        while let Ok(Some(_)) = self.read_frame(PATIENCE) {}
        assert!(self.eof, "the broker does not close");
    }

    // ---- conversations ----

    /// Sends a method and expects its answer as the next frame of the channel.
    #[track_caller]
    pub fn call(&mut self, channel: u16, method: &Method) -> Reply {
        self.send(channel, method);
        self.expect(channel, &format!("{}-ok", method.name))
    }

    #[track_caller]
    pub fn open_channel(&mut self, channel: u16) {
        let reply = self.call(channel, &method("channel.open"));
        assert_eq!(reply.text("channel-id"), "");
    }

    #[track_caller]
    pub fn close_channel(&mut self, channel: u16) {
        self.call(channel, &channel_close());
    }

    /// The whole good end: close, close-ok, and the client hangs up. A broker may leave that to the client.
    #[track_caller]
    pub fn close(mut self) {
        self.send(0, &connection_close());
        self.expect_closed();
    }

    /// The answer to a close that has been sent, and nothing behind it.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        self.expect(0, "connection.close-ok");
        self.shutdown_write();
        self.expect_eof();
    }

    /// A queue of this connection alone that goes with it; the answer is its name.
    #[track_caller]
    pub fn exclusive_queue(&mut self, channel: u16) -> String {
        self.call(channel, &queue_declare("").on("exclusive")).text("queue").to_owned()
    }

    /// Messages that are ready, and consumers.
    #[track_caller]
    pub fn counts(&mut self, channel: u16, queue: &str) -> (u64, u64) {
        let reply = self.call(channel, &queue_declare(queue).on("passive"));
        assert_eq!(reply.text("queue"), queue);
        (reply.number("message-count"), reply.number("consumer-count"))
    }

    /// The queue has exactly so many messages ready and so many consumers, now.
    #[track_caller]
    pub fn expect_counts(&mut self, channel: u16, queue: &str, expected: (u64, u64)) {
        // RabbitMQ answers this question ahead of messages that it has still to enqueue.
        if broker::under_test_is_foreign() {
            return self.wait_for_counts(channel, queue, expected);
        }
        assert_eq!(self.counts(channel, queue), expected, "messages that are ready, and consumers, of '{queue}'");
    }

    /// The queue comes to have so many messages ready and so many consumers, when the broker has seen what
    /// another connection did.
    #[track_caller]
    pub fn wait_for_counts(&mut self, channel: u16, queue: &str, expected: (u64, u64)) {
        let deadline = Instant::now() + PATIENCE;
        let mut found = self.counts(channel, queue);
        while found != expected && Instant::now() < deadline {
            found = self.counts(channel, queue);
        }
        assert_eq!(found, expected, "messages that are ready, and consumers, of '{queue}'");
    }

    /// Gets a message if there is one.
    #[track_caller]
    pub fn get(&mut self, channel: u16, queue: &str) -> Option<Message> {
        self.get_with(channel, &method("basic.get").text("queue", queue))
    }

    /// Gets a message that needs no acknowledgement, if there is one.
    #[track_caller]
    pub fn get_no_ack(&mut self, channel: u16, queue: &str) -> Option<Message> {
        self.get_with(channel, &method("basic.get").text("queue", queue).on("no-ack"))
    }

    #[track_caller]
    fn get_with(&mut self, channel: u16, get: &Method) -> Option<Message> {
        self.send(channel, get);
        let reply = self.next_method(channel);
        match reply.name {
            "basic.get-ok" => Some(self.expect_content(channel, reply)),
            "basic.get-empty" => None,
            other => panic!("{other} is no answer to basic.get: {reply:?}"),
        }
    }

    /// All that is ready in a queue, in order, taken away.
    #[track_caller]
    pub fn drain(&mut self, channel: u16, queue: &str) -> Vec<String> {
        std::iter::from_fn(|| self.get_no_ack(channel, queue)).map(|m| m.body_text().to_owned()).collect()
    }

    #[track_caller]
    pub fn consume(&mut self, channel: u16, queue: &str, tag: &str) {
        let reply = self.call(channel, &consume(queue, tag));
        assert_eq!(reply.text("consumer-tag"), tag);
    }

    // ---- refusals ----

    /// The broker closes the channel with exactly these values; the close is answered.
    #[track_caller]
    pub fn expect_channel_close(&mut self, channel: u16, code: u16, text: &str, cause: (u16, u16)) {
        let close = self.expect(channel, "channel.close");
        assert_eq!(close_values(&close), (u64::from(code), text.to_owned(), cause));
        self.send(channel, &method("channel.close-ok"));
    }

    /// The broker closes the connection with exactly these values, is answered, and hangs up.
    #[track_caller]
    pub fn expect_connection_close(&mut self, code: u16, text: &str, cause: (u16, u16)) {
        let close = self.expect(0, "connection.close");
        assert_eq!(close_values(&close), (u64::from(code), text.to_owned(), cause));
        self.send(0, &method("connection.close-ok"));
        self.expect_eof();
    }

    /// The method is answered by a close of the channel that names it; the channel is opened again.
    #[track_caller]
    pub fn refused(&mut self, channel: u16, method: &Method, code: u16, text: &str) {
        self.send(channel, method);
        self.expect_channel_close(channel, code, text, (method.class, method.id));
        self.open_channel(channel);
    }

    /// The method is answered by a close of the connection that names it.
    #[track_caller]
    pub fn fatal(mut self, channel: u16, method: &Method, code: u16, text: &str) {
        self.send(channel, method);
        self.expect_connection_close(code, text, (method.class, method.id));
    }
}

/// Code, text and cause of a close.
#[track_caller]
pub fn close_values(close: &Reply) -> (u64, String, (u16, u16)) {
    let cause = (close.number("class-id") as u16, close.number("method-id") as u16);
    (close.number("reply-code"), close.text("reply-text").to_owned(), cause)
}

// ---- the methods that nearly every test needs ----

pub fn connection_close() -> Method {
    method("connection.close").number("reply-code", 200).text("reply-text", "bye")
}

pub fn channel_close() -> Method {
    method("channel.close").number("reply-code", 200).text("reply-text", "bye")
}

pub fn exchange_declare(exchange: &str, kind: &str) -> Method {
    method("exchange.declare").text("exchange", exchange).text("type", kind)
}

pub fn exchange_delete(exchange: &str) -> Method {
    method("exchange.delete").text("exchange", exchange)
}

pub fn exchange_bind(destination: &str, source: &str, routing_key: &str) -> Method {
    method("exchange.bind").text("destination", destination).text("source", source).text("routing-key", routing_key)
}

pub fn exchange_unbind(destination: &str, source: &str, routing_key: &str) -> Method {
    method("exchange.unbind").text("destination", destination).text("source", source).text("routing-key", routing_key)
}

pub fn queue_declare(queue: &str) -> Method {
    method("queue.declare").text("queue", queue)
}

pub fn queue_delete(queue: &str) -> Method {
    method("queue.delete").text("queue", queue)
}

pub fn queue_purge(queue: &str) -> Method {
    method("queue.purge").text("queue", queue)
}

pub fn queue_bind(queue: &str, exchange: &str, routing_key: &str) -> Method {
    method("queue.bind").text("queue", queue).text("exchange", exchange).text("routing-key", routing_key)
}

pub fn queue_unbind(queue: &str, exchange: &str, routing_key: &str) -> Method {
    method("queue.unbind").text("queue", queue).text("exchange", exchange).text("routing-key", routing_key)
}

pub fn publish(exchange: &str, routing_key: &str) -> Method {
    method("basic.publish").text("exchange", exchange).text("routing-key", routing_key)
}

pub fn consume(queue: &str, tag: &str) -> Method {
    method("basic.consume").text("queue", queue).text("consumer-tag", tag)
}

pub fn cancel(tag: &str) -> Method {
    method("basic.cancel").text("consumer-tag", tag)
}

pub fn get(queue: &str) -> Method {
    method("basic.get").text("queue", queue)
}

pub fn qos(prefetch_count: u16) -> Method {
    method("basic.qos").number("prefetch-count", prefetch_count.into())
}

pub fn ack(tag: u64) -> Method {
    method("basic.ack").number("delivery-tag", tag)
}

pub fn reject(tag: u64) -> Method {
    method("basic.reject").number("delivery-tag", tag)
}

pub fn nack(tag: u64) -> Method {
    method("basic.nack").number("delivery-tag", tag)
}

/// The frames of several publishes without properties on channel 1, as (exchange, routing key, body).
pub fn burst<'a>(messages: impl IntoIterator<Item = (&'a str, &'a str, String)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (exchange, key, body) in messages {
        bytes.extend(publish_frames(1, &publish(exchange, key), props::NONE, body.as_bytes()));
    }
    bytes
}
