//! From bytes to channels: the frames of one open connection.

mod deliveries;
mod overdue;
mod waiting;

use amq_protocol::protocol::{AMQPClass, channel, connection};

use self::deliveries::Sent;
use super::scratch::Scratch;
use super::session::Session;
use crate::broker::connections::ChannelReport;
use crate::channel::{Channel, Suspended, Template, Whole, unimplemented};
use crate::error::{Close, Fault, ReplyCode, Scope};
use crate::storage::Epoch;
use crate::wire::frame::{self, BODY, FrameHead, HEADER, HEARTBEAT, METHOD};
use crate::wire::hot::{ACK, CLASS_BASIC, ContentHeader, NACK, PUBLISH, Publish, REJECT, Settle, method_ids};
use crate::wire::method;
use crate::wire::table::TableLimits;

/// What a connection is up to.
///
/// ```text
///     connection.close from the client       publishes are confirmed, replies sent
///   Open ───────────────────▶ Finishing ───────────────────▶ Closed
///     │                                                         ▲
///     │ error, shutdown: connection.close                       │ close-ok, or close from the client
///     └─────────────────────▶ Closing ──────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// The client has sent `connection.close`, which is answered once the log has settled what it published.
    Finishing,
    /// The broker has sent `connection.close`: everything but its answer is ignored.
    Closing,
    /// Nothing more is said once what is to be written has been written.
    Closed,
}

/// A body frame of which only a part has come.
struct PartialBody {
    channel: u16,
    /// Bytes of payload to come.
    remaining: usize,
}

/// How far the input was handled.
pub struct Processed {
    /// In bytes.
    pub used: usize,
    /// There may be more to handle, once output has been written, the channel whose turn it is goes on, or an alarm is off.
    pub stopped: bool,
}

/// Frames in, replies out: everything of a connection but its socket.
pub struct Dispatcher {
    pub session: Session,
    pub phase: Phase,
    /// By number. Boxed, so that one that opens or closes does not move the others.
    #[expect(clippy::vec_box)]
    channels: Vec<Box<Channel>>,
    template: Template,
    partial_body: Option<PartialBody>,
    /// The channel at whose frame the input stopped, because it was suspended.
    stopped_at: Option<u16>,
    /// Deliveries that are written and not yet reported to their queue.
    sent: Option<Sent>,
}

impl Dispatcher {
    pub fn new(session: Session) -> Dispatcher {
        Dispatcher {
            session,
            phase: Phase::Open,
            channels: Vec::new(),
            template: Template::default(),
            partial_body: None,
            stopped_at: None,
            sent: None,
        }
    }

    /// Handles every whole frame in `data`, and what there is of a body, until there are `output_max` bytes to write: a
    /// few bytes can ask for many. Returns how many bytes it has used up. An error is one that ends the connection.
    pub fn process(&mut self, data: &[u8], output_max: usize, scratch: &mut Scratch) -> Result<Processed, Close> {
        let mut at = 0;
        self.stopped_at = None;
        if !self.session.is_access_current() {
            self.renew_access(scratch);
        }
        if self.session.vhost.is_traced() != self.session.is_tracing {
            self.session.is_tracing ^= true;
            self.template.forget();
        }
        while matches!(self.phase, Phase::Open | Phase::Closing) {
            if scratch.out.len() >= output_max {
                return Ok(Processed { used: at, stopped: true });
            }
            let rest = &data[at..];
            if self.partial_body.is_some() {
                match self.continue_body(rest, scratch)? {
                    0 => break,
                    used => at += used,
                }
                continue;
            }
            if self.phase == Phase::Open && self.session.broker.alarm.is_on() && self.begins_publish(rest) {
                self.session.published_during_alarm = true;
                return Ok(Processed { used: at, stopped: true });
            }
            if self.phase == Phase::Open && self.template.matches(rest) {
                let used = self.publish_alike(rest, scratch);
                at += used;
                if used > 0 {
                    continue;
                }
            }
            if !self.session.waits.is_empty() && self.stops_at(rest) {
                return Ok(Processed { used: at, stopped: true });
            }
            match self.one_frame(rest, scratch)? {
                0 => break,
                used => at += used,
            }
        }
        Ok(Processed { used: at, stopped: false })
    }

    /// Whether `data` begins with a publish on a channel that takes it.
    #[cold]
    fn begins_publish(&self, data: &[u8]) -> bool {
        let Some(head) = FrameHead::read(data) else { return false };
        head.kind == METHOD
            && method_ids(&data[frame::HEAD_BYTES..]) == Some((CLASS_BASIC, PUBLISH))
            && self.find(head.channel).is_ok_and(|at| !self.channels[at].closing)
    }

    /// Permissions have changed: routes that were checked are to be checked again.
    #[cold]
    fn renew_access(&mut self, scratch: &mut Scratch) {
        self.session.apply(scratch);
        self.template.forget();
        self.session.renew_access();
    }

    /// Ends a turn of reading: what came is put into the queues, publishes are confirmed or wait for the disk. Returns the
    /// epoch with which what came is kept.
    pub fn end_batch(&mut self, scratch: &mut Scratch) -> Epoch {
        self.session.apply(scratch);
        for number in std::mem::take(&mut scratch.to_confirm) {
            if let Ok(at) = self.find(number) {
                self.channels[at].confirm(&mut self.session, scratch);
            }
        }
        self.session.routes.begin_batch();
        scratch.batch.take_epoch()
    }

    fn find(&self, number: u16) -> Result<usize, usize> {
        self.channels.binary_search_by_key(&number, |channel| channel.number)
    }

    pub fn channel_mut(&mut self, number: u16) -> Option<&mut Channel> {
        let at = self.find(number).ok()?;
        Some(&mut self.channels[at])
    }

    /// The figures of all channels.
    pub fn channel_reports(&self) -> Vec<ChannelReport> {
        self.channels.iter().map(|channel| channel.report()).collect()
    }

    fn publish_alike(&mut self, data: &[u8], scratch: &mut Scratch) -> usize {
        let Ok(at) = self.find(self.template.channel) else { return 0 };
        let used = self.channels[at].publish_alike(&mut self.template, data, &mut self.session, scratch);
        if used == 0 {
            self.template.forget();
        }
        used
    }

    /// Handles the frame at the front of `data`. Returns 0 if it is not all there.
    fn one_frame(&mut self, data: &[u8], scratch: &mut Scratch) -> Result<usize, Close> {
        let Some(head) = FrameHead::read(data) else { return Ok(0) };
        head.check_size(self.session.frame_max).map_err(no_method)?;
        if data.len() < head.frame_bytes() {
            return self.begin_partial_body(head, data);
        }
        let payload = &data[frame::HEAD_BYTES..frame::HEAD_BYTES + head.size];
        let end = data[head.frame_bytes() - 1];
        if end != frame::END {
            let why = format!("{{invalid_frame_end_marker,{end}}}");
            return Err(no_method(head.frame_error(payload, &why)));
        }
        if self.phase == Phase::Closing {
            self.closing_frame(head, payload, scratch);
            return Ok(head.frame_bytes());
        }
        if head.kind == METHOD && head.channel != 0 && method_ids(payload) == Some((CLASS_BASIC, PUBLISH)) {
            return self.publish(head, payload, data, scratch);
        }
        match head.kind {
            METHOD if payload.len() >= 4 => self.method(head, payload, scratch)?,
            HEADER => self.content_header(head, payload, scratch)?,
            BODY => self.body(head, payload, scratch)?,
            HEARTBEAT if head.size == 0 && head.channel == 0 => {}
            HEARTBEAT if head.size == 0 => return Err(no_method(unexpected_frame(head, payload))),
            _ => return Err(no_method(head.frame_error(payload, "unknown_frame"))),
        }
        Ok(head.frame_bytes())
    }

    fn publish(&mut self, head: FrameHead, payload: &[u8], data: &[u8], scratch: &mut Scratch) -> Result<usize, Close> {
        let at = self.open_channel(head, payload)?;
        let channel = &mut self.channels[at];
        if !channel.closing
            && channel.content.is_nothing()
            && let Some(whole) = Whole::read(data, head, self.session.frame_max)
        {
            let result = channel.publish_whole(&whole, data, &mut self.template, &mut self.session, scratch);
            self.handled(head.channel, (CLASS_BASIC, PUBLISH), result, scratch)?;
            return Ok(whole.frame_bytes);
        }
        channel.content.check_method_allowed().map_err(|f| f.caused_by(CLASS_BASIC, PUBLISH))?;
        match Publish::read(payload) {
            Some(publish) => channel.content.begin(publish),
            None => {
                method::decode(payload, self.table_limits()).map_err(|e| e.close(head.channel))?;
                return Err(no_method(head.frame_error(payload, "unknown_frame")));
            }
        }
        Ok(head.frame_bytes())
    }

    /// The channel of a method frame, which must be open (or closing).
    fn open_channel(&mut self, head: FrameHead, payload: &[u8]) -> Result<usize, Close> {
        self.find(head.channel).map_err(|_| {
            let (class_id, method_id) = method_ids(payload).unwrap_or_default();
            Fault::connection(ReplyCode::ChannelError, "expected 'channel.open'").caused_by(class_id, method_id)
        })
    }

    fn method(&mut self, head: FrameHead, payload: &[u8], scratch: &mut Scratch) -> Result<(), Close> {
        let ids = method_ids(payload).unwrap_or_default();
        if head.channel != 0
            && matches!(ids, (CLASS_BASIC, ACK | NACK | REJECT))
            && let Some(settle) = Settle::read(ids.1, payload)
        {
            let at = self.open_channel(head, payload)?;
            let channel = &mut self.channels[at];
            channel.content.check_method_allowed().map_err(|f| f.caused_by(CLASS_BASIC, PUBLISH))?;
            if channel.closing {
                return Ok(());
            }
            let result = channel.settle(settle, &mut self.session, scratch);
            return self.handled(head.channel, ids, result, scratch);
        }
        let decoded = method::decode(payload, self.table_limits()).map_err(|e| e.close(head.channel))?;
        if head.channel == 0 {
            return self.connection_method(decoded, scratch).map_err(|fault| fault.caused_by(ids.0, ids.1));
        }
        self.channel_method(head, payload, decoded, scratch)
    }

    fn channel_method(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        decoded: AMQPClass,
        scratch: &mut Scratch,
    ) -> Result<(), Close> {
        let ids = method_ids(payload).unwrap_or_default();
        // What a publish is checked against may change with any other method.
        self.template.forget();
        if let (AMQPClass::Channel(channel::AMQPMethod::Open(_)), Err(at)) = (&decoded, self.find(head.channel)) {
            return self.open_new_channel(head.channel, at, scratch).map_err(no_method);
        }
        let at = self.open_channel(head, payload)?;
        let channel = &mut self.channels[at];
        channel.content.check_method_allowed().map_err(|f| f.caused_by(CLASS_BASIC, PUBLISH))?;
        match decoded {
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                // If both have sent a close, each also sends a close-ok, and the client's is still to come.
                if channel.closing {
                    close_ok(head.channel, scratch);
                } else {
                    self.end_channel(at, scratch);
                }
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => {
                if !channel.closing {
                    return Err(unimplemented().caused_by(ids.0, ids.1));
                }
                self.channels.remove(at);
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) if channel.closing => {
                let fault = Fault::connection(ReplyCode::ChannelError, "second 'channel.open' seen");
                Err(fault.caused_by(ids.0, ids.1))
            }
            _ if channel.closing => Ok(()),
            decoded => {
                let result = channel.method(decoded, payload, &mut self.session, scratch);
                self.handled(head.channel, ids, result, scratch)
            }
        }
    }

    fn open_new_channel(&mut self, number: u16, at: usize, scratch: &mut Scratch) -> Result<(), Fault> {
        let max = self.session.channel_max;
        let open = self.channels.len();
        if max != 0 && open >= usize::from(max) {
            let text = format!("number of channels opened ({open}) has reached the negotiated channel_max ({max})");
            return Err(Fault::not_allowed(text));
        }
        let slot = self.session.open_channel()?;
        self.channels.insert(at, Channel::new(number, &self.session, slot));
        let ok = AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {}));
        method::encode(&mut scratch.out, number, ok);
        Ok(())
    }

    /// The client closes a channel. It is told so when all that it has published there is confirmed, or refused.
    fn end_channel(&mut self, at: usize, scratch: &mut Scratch) {
        self.leave_channel(at, scratch);
        let channel = &mut self.channels[at];
        if channel.has_confirms_pending() {
            return channel.suspend(Suspended::Close, &mut self.session);
        }
        let number = channel.number;
        self.channels.remove(at);
        close_ok(number, scratch);
    }

    fn leave_channel(&mut self, at: usize, scratch: &mut Scratch) {
        self.session.apply(scratch);
        let channel = &mut self.channels[at];
        channel.confirm(&mut self.session, scratch);
        channel.leave(&mut self.session, scratch);
    }

    /// Takes what handling a method came to: an error of the channel closes it, one of the connection goes up.
    fn handled(
        &mut self,
        number: u16,
        (class_id, method_id): (u16, u16),
        result: Result<(), Fault>,
        scratch: &mut Scratch,
    ) -> Result<(), Close> {
        let Err(fault) = result else { return Ok(()) };
        let close = fault.caused_by(class_id, method_id);
        if close.fault.scope == Scope::Connection {
            return Err(close);
        }
        self.template.forget();
        self.session.apply(scratch);
        let Ok(at) = self.find(number) else { return Ok(()) };
        let channel = &mut self.channels[at];
        if channel.closing {
            return Ok(());
        }
        tracing::error!(
            "channel error on AMQP connection {}, channel {number}: operation {} caused a channel exception {}",
            self.session.described(),
            method::name(class_id, method_id),
            close.fault
        );
        channel.confirm(&mut self.session, scratch);
        channel.release(&mut self.session, scratch);
        channel.closing = true;
        let close = channel::Close {
            reply_code: close.fault.code as u16,
            reply_text: close.fault.reply_text().into(),
            class_id,
            method_id,
        };
        method::encode(&mut scratch.out, number, AMQPClass::Channel(channel::AMQPMethod::Close(close)));
        Ok(())
    }

    /// Methods on channel 0.
    fn connection_method(&mut self, decoded: AMQPClass, scratch: &mut Scratch) -> Result<(), Fault> {
        use connection::AMQPMethod as M;
        match decoded {
            AMQPClass::Connection(M::Close(_)) => {
                self.end_batch(scratch);
                self.leave(scratch);
                self.phase = Phase::Finishing;
                self.finish(scratch);
                Ok(())
            }
            AMQPClass::Connection(M::UpdateSecret(_)) => {
                // The internal store has no tokens to renew, so there is nothing that could be refused.
                let ok = AMQPClass::Connection(M::UpdateSecretOk(connection::UpdateSecretOk {}));
                method::encode(&mut scratch.out, 0, ok);
                Ok(())
            }
            _ => Err(Fault::connection(ReplyCode::ChannelError, "unexpected method in connection state running")),
        }
    }

    /// The broker has sent `connection.close`: only the client's answer counts, or its own close.
    fn closing_frame(&mut self, head: FrameHead, payload: &[u8], scratch: &mut Scratch) {
        const CLOSE: (u16, u16) = (10, 50);
        const CLOSE_OK: (u16, u16) = (10, 51);
        if head.kind != METHOD || head.channel != 0 {
            return;
        }
        match method_ids(payload) {
            Some(CLOSE) => {
                let ok = AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}));
                method::encode(&mut scratch.out, 0, ok);
                self.phase = Phase::Closed;
            }
            Some(CLOSE_OK) => self.phase = Phase::Closed,
            _ => {}
        }
    }

    fn content_header(&mut self, head: FrameHead, payload: &[u8], scratch: &mut Scratch) -> Result<(), Close> {
        let Some(header) = ContentHeader::read(payload) else {
            return Err(no_method(head.frame_error(payload, "unknown_frame")));
        };
        if head.channel == 0 {
            return Err(no_method(unexpected_frame(head, payload)));
        }
        let Ok(at) = self.find(head.channel) else { return Err(no_method(not_a_method())) };
        let channel = &mut self.channels[at];
        if channel.content.is_nothing() && !channel.closing {
            return Err(no_method(not_a_method()));
        }
        if channel.closing && channel.content.is_nothing() {
            return Ok(());
        }
        let result = match channel.content.header(&header, self.session.limits()) {
            Ok(Some(incoming)) if !channel.closing => channel.publish_assembled(*incoming, &mut self.session, scratch),
            Ok(_) => Ok(()),
            Err(fault) => Err(fault),
        };
        self.handled(head.channel, (CLASS_BASIC, PUBLISH), result, scratch)
    }

    fn body(&mut self, head: FrameHead, payload: &[u8], scratch: &mut Scratch) -> Result<(), Close> {
        if !self.begin_body(head, payload)? {
            return Ok(());
        }
        if let Some(channel) = self.channel_mut(head.channel) {
            channel.content.append(payload);
        }
        self.body_complete(head.channel, scratch)
    }

    /// Checks that a body frame may come now. Returns false if it is to be ignored.
    fn begin_body(&mut self, head: FrameHead, payload: &[u8]) -> Result<bool, Close> {
        if head.channel == 0 {
            return Err(no_method(unexpected_frame(head, payload)));
        }
        let Ok(at) = self.find(head.channel) else { return Err(no_method(not_a_method())) };
        let channel = &mut self.channels[at];
        if channel.content.is_nothing() {
            // The rest of a message whose header closed the channel is ignored.
            return if channel.closing { Ok(false) } else { Err(no_method(not_a_method())) };
        }
        channel.content.body(head.size).map_err(|fault| fault.caused_by(CLASS_BASIC, PUBLISH))?;
        Ok(true)
    }

    /// Takes in what there is of a body frame that is not all there, so that large bodies are not buffered twice.
    fn begin_partial_body(&mut self, head: FrameHead, data: &[u8]) -> Result<usize, Close> {
        let here = &data[frame::HEAD_BYTES..];
        let taken = here.len().min(head.size);
        if head.kind != BODY || taken == 0 || !self.begin_body(head, here)? {
            return Ok(0);
        }
        if let Some(channel) = self.channel_mut(head.channel) {
            channel.content.append(&here[..taken]);
        }
        self.partial_body = Some(PartialBody { channel: head.channel, remaining: head.size - taken });
        Ok(frame::HEAD_BYTES + taken)
    }

    /// Takes in more of such a frame, its end included. Returns 0 if there is nothing to take.
    fn continue_body(&mut self, data: &[u8], scratch: &mut Scratch) -> Result<usize, Close> {
        let Some(partial) = &mut self.partial_body else { return Ok(0) };
        let taken = data.len().min(partial.remaining);
        partial.remaining -= taken;
        let (number, remaining) = (partial.channel, partial.remaining);
        if let Some(channel) = self.channel_mut(number) {
            channel.content.append(&data[..taken]);
        }
        if remaining > 0 || data.len() == taken {
            return Ok(taken);
        }
        self.partial_body = None;
        let end = data[taken];
        if end != frame::END {
            let head = FrameHead { kind: BODY, channel: number, size: taken };
            let why = format!("{{invalid_frame_end_marker,{end}}}");
            return Err(no_method(head.frame_error(&data[..taken], &why)));
        }
        self.body_complete(number, scratch)?;
        Ok(taken + 1)
    }

    fn body_complete(&mut self, number: u16, scratch: &mut Scratch) -> Result<(), Close> {
        let Ok(at) = self.find(number) else { return Ok(()) };
        let channel = &mut self.channels[at];
        let Some(incoming) = channel.content.complete() else { return Ok(()) };
        if channel.closing {
            return Ok(());
        }
        let result = channel.publish_assembled(*incoming, &mut self.session, scratch);
        self.handled(number, (CLASS_BASIC, PUBLISH), result, scratch)
    }

    /// Ends everything that lives with the connection. Nothing that waits for the disk is answered any more.
    pub fn release(&mut self, scratch: &mut Scratch) {
        self.leave(scratch);
        self.channels.clear();
        self.session.waits.clear();
        self.session.slot = None;
    }

    /// Takes the connection out of the model: consumers go, what they had goes back, exclusive queues end.
    fn leave(&mut self, scratch: &mut Scratch) {
        for at in (0..self.channels.len()).rev() {
            self.leave_channel(at, scratch);
        }
        self.session.place = None;
        for queue in std::mem::take(&mut self.session.exclusive_queues) {
            if let Ok(Some(_)) = queue.kill(false, false) {
                self.session.remove_queue(&queue);
            }
        }
        self.session.inbox.clear();
        self.session.routes.forget();
        self.template.forget();
    }

    fn table_limits(&self) -> TableLimits {
        self.session.table_limits()
    }
}

fn close_ok(channel: u16, scratch: &mut Scratch) {
    let ok = AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}));
    method::encode(&mut scratch.out, channel, ok);
}

fn no_method(fault: Fault) -> Close {
    fault.caused_by(0, 0)
}

fn not_a_method() -> Fault {
    Fault::connection(ReplyCode::UnexpectedFrame, "expected method frame, got non method frame instead")
}

fn unexpected_frame(head: FrameHead, payload: &[u8]) -> Fault {
    Fault::connection(ReplyCode::UnexpectedFrame, method::frame_text(head.kind, payload, ""))
}
