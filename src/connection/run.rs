//! The run loop of an open connection: read, work, write; and wait only when nothing of it is left to do.
//!
//! Reading stops while too much output waits, while an alarm blocks the connection, for a moment while a queue that it
//! publishes to is being drained, or the log is behind, and while the next frame is for a channel that waits for the disk. Deliveries stop at a lower mark of waiting output than reading, which only
//! replies, returns and confirms can reach: a client that writes while we wait for it to read is never a deadlock.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};

use super::close_method;
use super::dispatch::{Dispatcher, Phase, Processed};
use super::flow::Flow;
use super::room::Room;
use super::scratch::Scratch;
use crate::broker::connections::{ConnectionState, Report, Traffic};
use crate::broker::outbox::{Demand, Item};
use crate::error::{Close, Fault, ReplyCode};
use crate::limits::READ_BUFFER_BYTES;
use crate::wire::frame::{FrameHead, HEARTBEAT_FRAME, OVERHEAD_BYTES};
use crate::wire::method;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client closed it, with the handshake.
    ByClient,
    /// The broker closed it, and the client agreed.
    ByServer,
    /// The socket ended or failed.
    Lost,
    MissedHeartbeats,
    /// The broker closed it and the client did not answer in time.
    NoCloseOk,
}

pub struct Runner {
    socket: TcpStream,
    dispatcher: Dispatcher,
    /// Read and not yet used: the beginning of a frame.
    input: Vec<u8>,
    /// There are whole frames in `input`: handling them has to wait until output has been written.
    input_waits: bool,
    /// Output that the socket did not take, from `written` on.
    output: Vec<u8>,
    written: usize,
    heartbeat: Option<Heartbeat>,
    /// The broker has sent `connection.close`.
    closed_by_server: bool,
    /// When the wait for `close-ok`, or for the last words to be read, ends.
    close_deadline: Option<Pin<Box<Sleep>>>,
    /// When deliveries that are not settled are to be looked at.
    overdue: Option<Pin<Box<Sleep>>>,
    /// The client has been told that it is blocked, and is not read.
    blocked: bool,
    flow: Flow,
    /// It is not read until the log has caught up.
    room: Option<Arc<Room>>,
    /// When it last delivered something, if it has not been woken since.
    delivered_at: Option<Instant>,
    traffic: Traffic,
}

/// Heartbeats both ways (specification, section 4.2.7). A tick every half interval sends one, and counts how many went by
/// without anything read: four are two intervals missed. A tick sends one even if it was not idle, because there are
/// clients that give up when they have read nothing for one interval.
struct Heartbeat {
    half_interval: Duration,
    tick: Pin<Box<Sleep>>,
    silent_ticks: u32,
}

/// Ticks without a byte after which the client is taken for dead.
const SILENT_TICKS_MAX: u32 = 4;

impl Heartbeat {
    fn new(interval_s: u16) -> Heartbeat {
        let half_interval = Duration::from_secs(interval_s.into()) / 2;
        let tick = Box::pin(sleep_until(Instant::now() + half_interval));
        Heartbeat { half_interval, tick, silent_ticks: 0 }
    }
}

/// What a step came to.
#[derive(Clone, Copy)]
enum Step {
    /// So many bytes were read or written, and there may be more to do at once.
    Moved(usize),
    /// Nothing to do until woken.
    Nothing,
}

impl Step {
    fn and(self, other: Step) -> Step {
        match (self, other) {
            (Step::Moved(a), Step::Moved(b)) => Step::Moved(a + b),
            (Step::Moved(a), Step::Nothing) | (Step::Nothing, Step::Moved(a)) => Step::Moved(a),
            (Step::Nothing, Step::Nothing) => Step::Nothing,
        }
    }
}

impl Runner {
    pub fn new(socket: TcpStream, dispatcher: Dispatcher, input: Vec<u8>, heartbeat_s: u16) -> Runner {
        Runner {
            socket,
            dispatcher,
            input,
            input_waits: false,
            output: Vec::new(),
            written: 0,
            heartbeat: (heartbeat_s > 0).then(|| Heartbeat::new(heartbeat_s)),
            closed_by_server: false,
            close_deadline: None,
            overdue: None,
            blocked: false,
            flow: Flow::default(),
            room: None,
            delivered_at: None,
            traffic: Traffic::default(),
        }
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Runs to the end of the connection. When it returns, nothing of the connection is left in the model.
    pub async fn run(&mut self) -> Ended {
        let mut greeted = false;
        let ended = poll_fn(|cx| {
            Scratch::with(|scratch| {
                let spare = self.borrow_output(scratch);
                if !std::mem::replace(&mut greeted, true) {
                    self.greet(scratch);
                }
                let polled = self.turn(cx, scratch);
                self.return_output(scratch, spare);
                scratch.wakes.wake_all();
                polled
            })
        })
        .await;
        Scratch::with(|scratch| {
            self.dispatcher.release(scratch);
            scratch.wakes.wake_all();
        });
        ended
    }

    /// Answers `connection.open`, and handles what came right behind it.
    fn greet(&mut self, scratch: &mut Scratch) {
        let ok = AMQPClass::Connection(connection::AMQPMethod::OpenOk(connection::OpenOk {}));
        method::encode(&mut scratch.out, 0, ok);
        let input = std::mem::take(&mut self.input);
        self.handle_input(&input, scratch);
        self.end_batch(scratch);
    }

    /// Lets the turn write behind what still waits to be written. Returns the thread's own buffer meanwhile.
    fn borrow_output(&mut self, scratch: &mut Scratch) -> Option<Vec<u8>> {
        if self.output.is_empty() {
            return None;
        }
        Some(std::mem::replace(&mut scratch.out, std::mem::take(&mut self.output)))
    }

    fn return_output(&mut self, scratch: &mut Scratch, spare: Option<Vec<u8>>) {
        if self.unwritten(scratch) > 0 {
            self.output = std::mem::replace(&mut scratch.out, spare.unwrap_or_default());
        } else {
            self.written = 0;
            scratch.out.clear();
            if let Some(spare) = spare
                && spare.capacity() > scratch.out.capacity()
            {
                scratch.out = spare;
            }
        }
    }

    fn unwritten(&self, scratch: &Scratch) -> usize {
        scratch.out.len() - self.written
    }

    /// Works until nothing is left to do, and then waits; or until it has moved so much that others should have the
    /// thread, above all those whom it has just given something to do.
    fn turn(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Ended> {
        const MUCH_BYTES: usize = 32 * 1024;
        if self.defer_to_publishers(cx) {
            return Poll::Pending;
        }
        let mut moved = 0;
        while moved < MUCH_BYTES {
            let Ok(step) = self.step(cx, scratch) else { return Poll::Ready(self.socket_ended()) };
            if self.dispatcher.phase == Phase::Closed && self.unwritten(scratch) == 0 {
                return Poll::Ready(self.socket_ended());
            }
            match step {
                Step::Moved(bytes) => moved += bytes,
                Step::Nothing => {
                    let wants_items = self.unwritten(scratch) < self.low_mark();
                    if self.dispatcher.session.outbox.park(cx.waker(), wants_items) {
                        return self.wait(cx, scratch);
                    }
                    moved += MUCH_BYTES / 8;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Woken again right after it has delivered: lets everyone run who is ready first, once. When many connections
    /// publish a message each, they are then delivered in one write and not in one write each.
    fn defer_to_publishers(&mut self, cx: &mut Context<'_>) -> bool {
        const RIGHT_AFTER: Duration = Duration::from_micros(10);
        let delivered = self.delivered_at.take();
        if delivered.is_none_or(|at| at.elapsed() >= RIGHT_AFTER) {
            return false;
        }
        // The runtime wakes whoever yields after it has polled for input.
        pin!(yield_now()).poll(cx).is_pending()
    }

    /// Reads once, hands over what came, takes what there is to deliver, and writes.
    fn step(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> io::Result<Step> {
        for demand in self.dispatcher.session.outbox.take_demands() {
            self.meet(demand, scratch);
        }
        if let Err(close) = self.dispatcher.look_at_disk(scratch) {
            self.close(close, scratch);
        }
        if let Err(close) = self.dispatcher.look_for_overdue(scratch) {
            self.close(close, scratch);
        }
        let read = self.read(cx, scratch)?;
        // Those who wait for what has been published need not wait for our own output.
        scratch.wakes.wake_all();
        let delivered = self.deliver(scratch);
        if self.dispatcher.give_up_memory() {
            self.dispatcher.session.outbox.notify(&mut scratch.wakes);
        }
        self.look_at_alarm(scratch);
        let written = self.write(cx, scratch)?;
        Ok(read.and(delivered).and(written))
    }

    /// Does what others have asked of this connection.
    #[cold]
    fn meet(&mut self, demand: Demand, scratch: &mut Scratch) {
        match demand {
            Demand::Report(answer) => answer(self.report(scratch)),
            Demand::Close { reason } if self.dispatcher.phase == Phase::Open => {
                let fault = Fault::connection(ReplyCode::ConnectionForced, reason);
                self.close(fault.caused_by(0, 0), scratch);
            }
            Demand::Close { .. } => {}
        }
    }

    fn report(&self, scratch: &Scratch) -> Report {
        Report {
            state: self.state(),
            traffic: self.traffic,
            unwritten_bytes: self.unwritten(scratch) as u64,
            channels: self.dispatcher.channel_reports(),
        }
    }

    fn state(&self) -> ConnectionState {
        if self.dispatcher.phase != Phase::Open {
            ConnectionState::Closing
        } else if self.blocked {
            ConnectionState::Blocked
        } else if self.dispatcher.session.broker.alarm.is_on() {
            ConnectionState::Blocking
        } else if self.flow.is_paused() || self.room.is_some() {
            ConnectionState::Flow
        } else {
            ConnectionState::Running
        }
    }

    fn low_mark(&self) -> usize {
        self.dispatcher.session.limits().write_buffer_low_bytes as usize
    }

    /// What the end of the socket means now.
    fn socket_ended(&self) -> Ended {
        match self.dispatcher.phase {
            Phase::Open => Ended::Lost,
            _ if self.closed_by_server => Ended::ByServer,
            _ => Ended::ByClient,
        }
    }

    /// Nothing is left to do: waits for the socket, the outbox (both registered by now), or a deadline.
    fn wait(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Ended> {
        if let Some(deadline) = &mut self.close_deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ended::NoCloseOk);
        }
        if self.dispatcher.phase == Phase::Closed && self.close_deadline.is_none() {
            let timeout = self.dispatcher.session.limits().close_timeout();
            self.close_deadline = Some(Box::pin(sleep_until(Instant::now() + timeout)));
            cx.waker().wake_by_ref();
        }
        let session = &self.dispatcher.session;
        if self.flow.poll(cx, session.id, session.limits()).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.wait_for_overdue(cx);
        // A connection that is not read cannot be missed.
        let is_held = self.is_held();
        let Some(heartbeat) = &mut self.heartbeat else { return Poll::Pending };
        ready!(heartbeat.tick.as_mut().poll(cx));
        let next = Instant::now() + heartbeat.half_interval;
        heartbeat.tick.as_mut().reset(next);
        heartbeat.silent_ticks += 1;
        if is_held {
            heartbeat.silent_ticks = 0;
        }
        if heartbeat.silent_ticks > SILENT_TICKS_MAX {
            return Poll::Ready(Ended::MissedHeartbeats);
        }
        if self.dispatcher.phase == Phase::Open {
            scratch.out.extend_from_slice(&HEARTBEAT_FRAME);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Wakes the task when deliveries are to be looked at.
    fn wait_for_overdue(&mut self, cx: &mut Context<'_>) {
        let Some(next) = self.dispatcher.session.timeouts.next() else { return };
        let next = Instant::from_std(next);
        let sleep = self.overdue.get_or_insert_with(|| Box::pin(sleep_until(next)));
        if sleep.deadline() != next {
            sleep.as_mut().reset(next);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Whether the socket is not to be read, for reasons other than what waits to be written.
    fn is_held(&self) -> bool {
        self.blocked || self.flow.is_paused() || self.room.is_some() || self.dispatcher.waits_for_disk()
    }

    /// Goes on if the log has caught up.
    fn look_for_room(&mut self) {
        if self.room.as_ref().is_some_and(|room| room.is_there()) {
            self.room = None;
            self.wait_for_room();
        }
    }

    /// The connection has published what is to be kept: it is not read while too much of that waits to be written.
    fn wait_for_room(&mut self) {
        let session = &self.dispatcher.session;
        if let Some(log) = session.log().filter(|log| log.is_behind()) {
            let room = Room::new(&session.outbox);
            self.room = log.wait_for_room(room.clone()).then_some(room);
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> io::Result<Step> {
        let high = self.dispatcher.session.limits().write_buffer_high_bytes as usize;
        if self.flow.is_paused() {
            self.flow.look();
        }
        self.look_for_room();
        if self.is_held() || self.dispatcher.phase == Phase::Closed || self.unwritten(scratch) >= high {
            return Ok(Step::Nothing);
        }
        if self.input_waits {
            let input = std::mem::take(&mut self.input);
            self.handle_input(&input, scratch);
            self.end_batch(scratch);
            return Ok(Step::Moved(input.len()));
        }
        let mut buffer = std::mem::take(&mut scratch.read);
        let step = self.read_batch(cx, &mut buffer, scratch);
        scratch.read = buffer;
        step
    }

    /// Reads once and handles what came; reads on at once while there is more and what came is spread so thinly over
    /// queues that to hand it over now would make many small writes.
    fn read_batch(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>, scratch: &mut Scratch) -> io::Result<Step> {
        const READS_MAX: usize = 8;
        let mut moved = 0;
        for reads in 1..=READS_MAX {
            let before = self.input.len();
            let filled = match self.read_into(cx, buffer) {
                Poll::Pending if reads == 1 => return Ok(Step::Nothing),
                Poll::Pending => break,
                Poll::Ready(result) => result?,
            };
            if filled == 0 {
                self.end_batch(scratch);
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.clear();
            self.handle_input(&buffer[..filled], scratch);
            moved += filled - before;
            let more_is_there = filled - before >= READ_BUFFER_BYTES / 2;
            if !more_is_there || self.input_waits || !scratch.batch.is_thin() || self.dispatcher.phase != Phase::Open {
                break;
            }
        }
        self.end_batch(scratch);
        Ok(Step::Moved(moved))
    }

    /// Reads behind what is left of the last read. Returns how many bytes there are then, 0 at the end of the stream.
    fn read_into(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let have = self.input.len();
        let want = FrameHead::read(&self.input).map_or(0, |head| head.size + OVERHEAD_BYTES);
        let size = READ_BUFFER_BYTES.max(want + READ_BUFFER_BYTES / 2).max(have + READ_BUFFER_BYTES / 2);
        if buffer.len() < size || buffer.len() > 2 * size.max(READ_BUFFER_BYTES) {
            buffer.clear();
            buffer.shrink_to(size);
            buffer.resize(size, 0);
        }
        buffer[..have].copy_from_slice(&self.input);
        let mut rest = ReadBuf::new(&mut buffer[have..]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut rest))?;
        let read = rest.filled().len();
        self.traffic.received_bytes += read as u64;
        self.traffic.reads += 1;
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.silent_ticks = 0;
        }
        Poll::Ready(Ok(if read == 0 { 0 } else { have + read }))
    }

    /// Handles what was read; keeps the beginning of a frame whose rest is to come.
    fn handle_input(&mut self, data: &[u8], scratch: &mut Scratch) {
        let output_max = self.written + self.dispatcher.session.limits().write_buffer_high_bytes as usize;
        self.input_waits = false;
        match self.dispatcher.process(data, output_max, scratch) {
            Ok(Processed { used, stopped }) => {
                self.input_waits = stopped;
                if used < data.len() && matches!(self.dispatcher.phase, Phase::Open | Phase::Closing) {
                    self.input.extend_from_slice(&data[used..]);
                } else if self.input.capacity() > 0 {
                    self.input = Vec::new();
                }
            }
            Err(close) => self.close(close, scratch),
        }
    }

    /// What was read is handed to the queues, publishes are confirmed, and a queue that is too full noted.
    fn end_batch(&mut self, scratch: &mut Scratch) {
        let session = &self.dispatcher.session;
        scratch.batch.flow_bytes = session.limits().queue_flow_bytes;
        if self.dispatcher.end_batch(scratch).is_some() && self.room.is_none() {
            self.wait_for_room();
        }
        let (pressed, published) = scratch.batch.take_pressed();
        if let Some(queue) = pressed {
            let session = &self.dispatcher.session;
            self.flow.pressed(queue, published, session.id, &session.outbox, session.limits());
        }
    }

    /// Sends `connection.close` and ends what the connection has in the model.
    fn close(&mut self, close: Close, scratch: &mut Scratch) {
        if self.dispatcher.phase != Phase::Open {
            // A frame that cannot be read while we wait for close-ok: there is nothing left to say.
            self.dispatcher.phase = Phase::Closed;
            return;
        }
        tracing::error!(
            "error on AMQP connection {}: operation {} caused a connection exception {}",
            self.dispatcher.session.described(),
            method::name(close.class_id, close.method_id),
            close.fault
        );
        self.dispatcher.end_batch(scratch);
        self.dispatcher.release(scratch);
        method::encode(&mut scratch.out, 0, close_method(&close));
        self.dispatcher.phase = Phase::Closing;
        self.closed_by_server = true;
        let timeout = self.dispatcher.session.limits().close_timeout();
        self.close_deadline = Some(Box::pin(sleep_until(Instant::now() + timeout)));
    }

    /// Encodes what queues have assigned, while the output is below its low mark.
    fn deliver(&mut self, scratch: &mut Scratch) -> Step {
        let low = self.low_mark();
        let mut step = Step::Nothing;
        while self.unwritten(scratch) < low {
            let session = &mut self.dispatcher.session;
            let Some(item) = session.inbox.pop_front() else {
                self.dispatcher.report_sent(scratch);
                let session = &mut self.dispatcher.session;
                session.outbox.take(&mut session.inbox);
                if session.inbox.is_empty() {
                    break;
                }
                continue;
            };
            step = Step::Moved(0);
            match item {
                Item::Deliver { slot, run } => self.dispatcher.deliver(slot, run, scratch),
                Item::Cancelled { slot } => self.dispatcher.consumer_cancelled(slot, scratch),
            }
        }
        self.dispatcher.report_sent(scratch);
        if matches!(step, Step::Moved(_)) {
            self.delivered_at = Some(Instant::now());
        }
        step
    }

    /// Blocks the connection if it has published while an alarm is on, and unblocks it when it is off.
    fn look_at_alarm(&mut self, scratch: &mut Scratch) {
        let session = &mut self.dispatcher.session;
        let alarm = session.broker.alarm.reason();
        let block = alarm.is_some() && session.published_during_alarm && self.dispatcher.phase == Phase::Open;
        session.published_during_alarm = block;
        if block == self.blocked {
            return;
        }
        self.blocked = block;
        if session.capabilities.connection_blocked && self.dispatcher.phase == Phase::Open {
            let method = if let Some(reason) = alarm.filter(|_| block) {
                let reason = reason.into();
                connection::AMQPMethod::Blocked(connection::Blocked { reason })
            } else {
                connection::AMQPMethod::Unblocked(connection::Unblocked {})
            };
            method::encode(&mut scratch.out, 0, AMQPClass::Connection(method));
        }
        if !block {
            session.outbox.notify(&mut scratch.wakes);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> io::Result<Step> {
        const COMPACT_FROM_BYTES: usize = 256 * 1024;
        let mut step = Step::Nothing;
        while self.unwritten(scratch) > 0 {
            match Pin::new(&mut self.socket).poll_write(cx, &scratch.out[self.written..]) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(n)) => {
                    self.written += n;
                    self.traffic.sent_bytes += n as u64;
                    self.traffic.writes += 1;
                    step = Step::Moved(0);
                }
            }
        }
        if self.unwritten(scratch) == 0 {
            scratch.out.clear();
            self.written = 0;
        } else if self.written >= COMPACT_FROM_BYTES {
            scratch.out.drain(..self.written);
            self.written = 0;
        }
        Ok(step)
    }
}

#[cfg(test)]
mod tests;
