//! A client that costs next to nothing: a blocking socket, and frames read in place.
//!
//! Every wait ends: an answer that does not come, and bytes that are not taken, are errors after [`PATIENCE`].

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};

use super::endpoint::Endpoint;
use super::error::{BenchError, Result};
use crate::wire::frame::{self, FrameHead, METHOD};
use crate::wire::hot::method_ids;
use crate::wire::method;
use crate::wire::table::TableLimits;

/// How long a broker may take for an answer, or to take in anything at all.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to close a connection.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// The channel that all messages use.
pub const CHANNEL: u16 = 1;
/// The largest frame that the client offers to use: the usual one, so that bodies are split alike everywhere.
const FRAME_MAX_BYTES: u32 = 131_072;
/// A read buffer is small at first, for there may be many; a connection that fills it gets a larger one.
const FIRST_BUFFER_BYTES: usize = 4 * 1024;
const BUFFER_MAX_BYTES: usize = 1024 * 1024;

pub struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// What has been read and not yet used: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// As negotiated.
    pub frame_max: usize,
    patience: Duration,
}

/// A frame in the client's buffer.
pub struct Frame<'a> {
    pub kind: u8,
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Class and method of a method frame.
    pub fn method(&self) -> Option<(u16, u16)> {
        if self.kind == METHOD { method_ids(self.payload) } else { None }
    }
}

impl Client {
    /// Connects, logs in and opens [`CHANNEL`].
    pub fn open(endpoint: &Endpoint) -> Result<Client> {
        let mut client = Client::connect(endpoint)?;
        client.call(CHANNEL, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})))?;
        Ok(client)
    }

    /// Connects and logs in.
    pub fn connect(endpoint: &Endpoint) -> Result<Client> {
        let socket = connect(&endpoint.address)
            .map_err(|error| BenchError::new(format!("cannot connect to {}: {error}", endpoint.address)))?;
        let buffer = vec![0; FIRST_BUFFER_BYTES];
        let mut client = Client { socket, buffer, start: 0, end: 0, frame_max: 0, patience: PATIENCE };
        client.shake_hands(endpoint)?;
        Ok(client)
    }

    fn shake_hands(&mut self, endpoint: &Endpoint) -> Result<()> {
        use connection::AMQPMethod as M;
        self.send(b"AMQP\x00\x00\x09\x01")?;
        self.expect((10, 10))?;
        let login = &endpoint.login;
        let start_ok = connection::StartOk {
            client_properties: Default::default(),
            mechanism: "PLAIN".into(),
            response: format!("\0{}\0{}", login.user, login.password).into(),
            locale: "en_US".into(),
        };
        self.send_method(0, AMQPClass::Connection(M::StartOk(start_ok)))?;
        let AMQPClass::Connection(M::Tune(tune)) = self.expect((10, 30))? else { unreachable!("10,30 is tune") };
        let offered = if tune.frame_max == 0 { u32::MAX } else { tune.frame_max };
        let frame_max = offered.min(FRAME_MAX_BYTES);
        self.frame_max = frame_max as usize;
        let tune_ok = connection::TuneOk { channel_max: tune.channel_max, frame_max, heartbeat: 0 };
        self.send_method(0, AMQPClass::Connection(M::TuneOk(tune_ok)))?;
        let open = connection::Open { virtual_host: login.vhost.as_str().into() };
        self.call(0, AMQPClass::Connection(M::Open(open))).map(drop)
    }

    /// How long a read waits before it gives up for the moment; see [`poll_frame`](Self::poll_frame).
    pub fn set_read_wait(&mut self, wait: Duration) -> Result<()> {
        Ok(self.socket.set_read_timeout(Some(wait))?)
    }

    /// How long a write waits before it gives up for the moment; see [`send_while`](Self::send_while).
    pub fn set_write_wait(&mut self, wait: Duration) -> Result<()> {
        Ok(self.socket.set_write_timeout(Some(wait))?)
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.send_while(bytes, || true).map(drop)
    }

    /// Sends the bytes; where the broker does not take them, for as long as `go_on` says so. Returns whether all are
    /// sent: if not, the connection is of no further use.
    pub fn send_while(&mut self, mut bytes: &[u8], mut go_on: impl FnMut() -> bool) -> Result<bool> {
        let mut last_taken = None;
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    last_taken = None;
                }
                Err(error) if is_for_the_moment(&error) => {
                    if !go_on() {
                        return Ok(false);
                    }
                    if last_taken.get_or_insert_with(Instant::now).elapsed() > self.patience {
                        let text = format!("the broker has not read for {} s", self.patience.as_secs());
                        return Err(BenchError::new(text));
                    }
                }
                Err(error) => return Err(self.lost(&error)),
            }
        }
        Ok(true)
    }

    pub fn send_method(&mut self, channel: u16, class: AMQPClass) -> Result<()> {
        let mut out = Vec::new();
        method::encode(&mut out, channel, class);
        self.send(&out)
    }

    /// Sends a method and waits for its answer, whose id is the next in all classes but for one that is not used here.
    pub fn call(&mut self, channel: u16, class: AMQPClass) -> Result<AMQPClass> {
        let (class_id, method_id) = method::ids(&class);
        self.send_method(channel, class)?;
        self.expect((class_id, method_id + 1))
    }

    /// Reads on to this method; a close by the broker is an error, what else comes in between is skipped.
    fn expect(&mut self, ids: (u16, u16)) -> Result<AMQPClass> {
        loop {
            let frame = self.next_frame()?;
            if frame.method() == Some(ids) {
                return decode(frame.payload);
            }
        }
    }

    /// The next frame. A close by the broker is an error.
    pub fn next_frame(&mut self) -> Result<Frame<'_>> {
        let began = Instant::now();
        while !self.has_frame() {
            if self.fill()? == 0 && began.elapsed() >= self.patience {
                let text = format!("the broker has sent nothing for {} s", self.patience.as_secs());
                return Err(BenchError::new(text));
            }
        }
        self.take_frame()
    }

    /// The next frame, unless none comes within the wait that was set.
    pub fn poll_frame(&mut self) -> Result<Option<Frame<'_>>> {
        while !self.has_frame() {
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
        self.take_frame().map(Some)
    }

    pub fn has_frame(&self) -> bool {
        let bytes = self.unread();
        FrameHead::read(bytes).is_some_and(|head| bytes.len() >= head.frame_bytes())
    }

    fn take_frame(&mut self) -> Result<Frame<'_>> {
        let bytes = &self.buffer[self.start..self.end];
        let Some(head) = FrameHead::read(bytes) else { return Err(BenchError::new("there is no frame")) };
        self.start += head.frame_bytes();
        let payload = &bytes[frame::HEAD_BYTES..frame::HEAD_BYTES + head.size];
        let frame = Frame { kind: head.kind, payload };
        match frame.method() {
            Some(ids) if is_close(ids) => Err(closed_by(payload)),
            _ => Ok(frame),
        }
    }

    /// What has been read and not used.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Marks the first `count` of the unread bytes as used.
    pub fn used(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
    }

    /// Reads once. Returns how many bytes came, 0 if none did within the wait.
    pub fn fill(&mut self) -> Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.make_room();
        match self.socket.read(&mut self.buffer[self.end..]) {
            Ok(0) => Err(BenchError::new("the broker hung up")),
            Ok(count) => {
                self.end += count;
                Ok(count)
            }
            Err(error) if is_for_the_moment(&error) => Ok(0),
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// Makes the buffer large enough for the frame at its front, and larger if the last read filled it.
    fn make_room(&mut self) {
        let frame_bytes = FrameHead::read(self.unread()).map_or(0, |head| head.frame_bytes());
        let mut size = self.buffer.len();
        if self.end == size && size < BUFFER_MAX_BYTES {
            size *= 4;
        }
        size = size.max(frame_bytes);
        self.buffer.resize(size, 0);
    }

    /// Gives a connection that is to read much its buffer at once.
    pub fn read_in_bulk(&mut self) {
        self.buffer.resize(BUFFER_MAX_BYTES.max(self.buffer.len()), 0);
    }

    /// Gives the buffer of a connection back that is to do nothing for a while.
    pub fn rest(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.buffer = vec![0; FIRST_BUFFER_BYTES];
        }
    }

    /// The socket failed: what the broker said before is a better reason than a reset.
    fn lost(&mut self, error: &io::Error) -> BenchError {
        let _ = self.socket.set_read_timeout(Some(Duration::from_millis(100)));
        while let Ok(count @ 1..) = self.socket.read(&mut self.buffer[self.end..]) {
            self.end += count;
        }
        while self.has_frame() {
            if let Err(reason) = self.take_frame() {
                return reason;
            }
        }
        BenchError::new(format!("the connection is lost: {error}"))
    }

    /// Closes the connection with the handshake.
    pub fn close(mut self) -> Result<()> {
        self.patience = CLOSE_PATIENCE;
        self.socket.set_read_timeout(Some(CLOSE_PATIENCE))?;
        self.socket.set_write_timeout(Some(CLOSE_PATIENCE))?;
        let close = connection::Close { reply_code: 200, reply_text: "done".into(), class_id: 0, method_id: 0 };
        self.call(0, AMQPClass::Connection(connection::AMQPMethod::Close(close))).map(drop)
    }

    /// `basic.qos` for the consumers to come.
    pub fn qos(&mut self, prefetch_count: u16) -> Result<()> {
        let qos = basic::Qos { prefetch_count, global: false };
        self.call(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Qos(qos))).map(drop)
    }

    /// Starts a consumer with the tag `c`.
    pub fn consume(&mut self, queue: &str, no_ack: bool) -> Result<()> {
        let consume = basic::Consume {
            queue: queue.into(),
            consumer_tag: "c".into(),
            no_local: false,
            no_ack,
            exclusive: false,
            nowait: false,
            arguments: Default::default(),
        };
        self.call(CHANNEL, AMQPClass::Basic(basic::AMQPMethod::Consume(consume))).map(drop)
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn is_for_the_moment(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// `connection.close` and `channel.close`.
pub fn is_close(ids: (u16, u16)) -> bool {
    matches!(ids, (10, 50) | (20, 40))
}

/// The error that a close from the broker is. `payload` is that of its method frame.
pub fn closed_by(payload: &[u8]) -> BenchError {
    let (code, text) = match decode(payload) {
        Ok(AMQPClass::Connection(connection::AMQPMethod::Close(close))) => (close.reply_code, close.reply_text),
        Ok(AMQPClass::Channel(channel::AMQPMethod::Close(close))) => (close.reply_code, close.reply_text),
        _ => return BenchError::new("the broker closed"),
    };
    BenchError::new(format!("the broker closed: {code} {text}"))
}

fn decode(payload: &[u8]) -> Result<AMQPClass> {
    method::decode(payload, TableLimits::new(64)).map_err(|error| BenchError::new(format!("the broker sent {error}")))
}
