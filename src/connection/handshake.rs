//! From the protocol header to `connection.open-ok` (specification, section 1.4.2.1 and 2.2.4).
//!
//! ```text
//!   header ─▶ start ─▶ start-ok ─▶ tune ─▶ tune-ok ─▶ open ─▶ open-ok
//! ```
//!
//! As in RabbitMQ, what goes wrong before `tune` is logged and answered with silence: the socket is held for a while
//! and dropped, which slows down those who guess. A refused login is the exception for clients that say they
//! understand it (`authentication_failure_close`). From `tune-ok` on errors are answered with `connection.close`.

use std::net::SocketAddr;
use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::sasl::SaslError;
use super::session::ClientCapabilities;
use crate::broker::Broker;
use crate::broker::admission::Admission;
use crate::broker::connections::Client;
use crate::broker::user::User;
use crate::error::{Close, Fault, ReplyCode};
use crate::limits::FRAME_MIN_BYTES;
use crate::wire::frame::{self, FrameHead, HEARTBEAT, METHOD};
use crate::wire::method;
use crate::wire::table::{self, TableLimits};

/// A client that has been let in.
pub struct Login {
    pub name: Arc<str>,
    pub broker: Arc<Broker>,
    pub admission: Admission,
    pub capabilities: ClientCapabilities,
    /// Bytes of the largest frame, never 0.
    pub frame_max: usize,
    /// 0 is no limit.
    pub channel_max: u16,
    /// Seconds; 0 is none.
    pub heartbeat_s: u16,
    /// What was read beyond the handshake.
    pub pipelined: Vec<u8>,
}

/// Why nobody was let in.
pub enum Refusal {
    /// The peer went away, or there was an error of the socket.
    Gone,
    /// Told by other means than a frame, or not to be told at all; the socket may be closed at once.
    Drop,
    /// Not told: the socket is held for a while, then closed.
    Silent(String),
    /// Told with `connection.close`.
    Close(Close),
}

impl From<std::io::Error> for Refusal {
    fn from(_: std::io::Error) -> Refusal {
        Refusal::Gone
    }
}

const PROTOCOL_0_9_1: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
/// What clients of 0-9 send; the methods are the same.
const PROTOCOL_0_9: [u8; 8] = *b"AMQP\x01\x01\x00\x09";

pub struct Handshake<'a> {
    pub socket: &'a mut TcpStream,
    pub broker: Arc<Broker>,
    pub name: Arc<str>,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Read and not yet used.
    input: Vec<u8>,
}

impl<'a> Handshake<'a> {
    /// Of `addresses` the first is the client's, the second the one that it has connected to.
    pub fn new(
        socket: &'a mut TcpStream,
        broker: Arc<Broker>,
        name: Arc<str>,
        addresses: (SocketAddr, SocketAddr),
    ) -> Handshake<'a> {
        let (peer, local) = addresses;
        Handshake { socket, broker, name, peer, local, input: Vec::new() }
    }

    pub async fn run(&mut self) -> Result<(Login, Client), Refusal> {
        self.protocol_header().await?;
        self.send(self.start()).await?;
        let AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)) = self.before_tune().await? else {
            return Err(Refusal::Silent("expected connection.start-ok".into()));
        };
        let capabilities = capabilities(&start_ok.client_properties);
        if let Some(AMQPValue::LongString(given)) = start_ok.client_properties.inner().get("connection_name") {
            self.name = format!("{} - {given}", self.name).into();
        }
        let user = self.authenticate(&start_ok, capabilities)?;
        self.send(self.tune()).await?;
        let AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)) = self.before_tune().await? else {
            return Err(Refusal::Silent("expected connection.tune-ok".into()));
        };
        self.check_tuning(&tune_ok).map_err(|fault| Refusal::Close(fault.caused_by(10, 30)))?;
        let frame_max = if tune_ok.frame_max == 0 { u32::MAX } else { tune_ok.frame_max };
        let open = self.open_method(frame_max as usize).await?;
        let admission = self.open(&open, &user).map_err(|fault| Refusal::Close(fault.caused_by(10, 40)))?;
        let login = Login {
            name: self.name.clone(),
            broker: self.broker.clone(),
            admission,
            capabilities,
            frame_max: frame_max as usize,
            channel_max: tune_ok.channel_max,
            heartbeat_s: tune_ok.heartbeat,
            pipelined: std::mem::take(&mut self.input),
        };
        Ok((login, self.client(&start_ok)))
    }

    async fn protocol_header(&mut self) -> Result<(), Refusal> {
        while self.input.len() < PROTOCOL_0_9_1.len() {
            self.read_more().await?;
        }
        let header = &self.input[..8];
        if header == PROTOCOL_0_9_1 || header == PROTOCOL_0_9 {
            self.input.drain(..8);
            return Ok(());
        }
        let looks_like = match header {
            [b'A', b'M', b'Q', b'P', ..] => "another version of AMQP",
            [0x16, 0x03, ..] => "TLS, on a port without it",
            [b'G', b'E', b'T', b' ', ..] | [b'P', b'O', b'S', b'T', ..] | [b'H', b'E', b'A', b'D', ..] => "HTTP",
            _ => "no AMQP",
        };
        tracing::error!("closing AMQP connection {}: bad header, looks like {looks_like}: {header:?}", self.name);
        self.socket.write_all(&PROTOCOL_0_9_1).await?;
        Err(Refusal::Drop)
    }

    fn start(&self) -> AMQPClass {
        AMQPClass::Connection(connection::AMQPMethod::Start(connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties(&self.broker),
            mechanisms: self.broker.sasl.advertised().as_str().into(),
            locales: "en_US".into(),
        }))
    }

    /// Who has logged in.
    fn client(&self, start_ok: &connection::StartOk) -> Client {
        let mut properties = Vec::new();
        table::encode(&mut properties, &start_ok.client_properties);
        Client {
            peer: self.peer.into(),
            local: self.local.into(),
            auth_mechanism: start_ok.mechanism.as_str().parse().ok(),
            properties: properties.into(),
        }
    }

    fn authenticate(
        &self,
        start_ok: &connection::StartOk,
        capabilities: ClientCapabilities,
    ) -> Result<Arc<User>, Refusal> {
        let (mechanism, response) = (start_ok.mechanism.as_str(), start_ok.response.as_bytes());
        self.broker.sasl.respond(mechanism, response, &self.broker.users, self.peer.ip()).map_err(|error| {
            tracing::warn!("connection {}: {error}", self.name);
            match &error {
                SaslError::Refused { .. } if capabilities.authentication_failure_close => {
                    Refusal::Close(error.fault().caused_by(0, 0))
                }
                _ => Refusal::Silent(error.to_string()),
            }
        })
    }

    fn tune(&self) -> AMQPClass {
        let limits = &self.broker.config.limits;
        AMQPClass::Connection(connection::AMQPMethod::Tune(connection::Tune {
            channel_max: limits.channel_max,
            frame_max: limits.frame_max_bytes,
            heartbeat: limits.heartbeat_s,
        }))
    }

    fn check_tuning(&self, tune_ok: &connection::TuneOk) -> Result<(), Fault> {
        let limits = &self.broker.config.limits;
        check_negotiated("frame_max", tune_ok.frame_max, FRAME_MIN_BYTES, limits.frame_max_bytes)?;
        check_negotiated("channel_max", tune_ok.channel_max.into(), 1, limits.channel_max.into())
    }

    async fn open_method(&mut self, frame_max: usize) -> Result<connection::Open, Refusal> {
        let (channel, payload) = self.method_frame(frame_max).await?.map_err(Refusal::Close)?;
        let decoded = method::decode(&payload, self.table_limits()).map_err(|e| Refusal::Close(e.close(channel)))?;
        if channel != 0 {
            let text = method::frame_text(METHOD, &payload, "");
            return Err(Refusal::Close(Fault::connection(ReplyCode::UnexpectedFrame, text).caused_by(0, 0)));
        }
        let (class_id, method_id) = method::ids(&decoded);
        match decoded {
            AMQPClass::Connection(connection::AMQPMethod::Open(open)) => Ok(open),
            _ => {
                let text = "unexpected method in connection state opening";
                Err(Refusal::Close(Fault::connection(ReplyCode::ChannelError, text).caused_by(class_id, method_id)))
            }
        }
    }

    fn open(&self, open: &connection::Open, user: &Arc<User>) -> Result<Admission, Fault> {
        let admission = self.broker.admit(user, open.virtual_host.as_str())?;
        tracing::info!(
            "connection {}: user '{}' authenticated and granted access to vhost '{}'",
            self.name,
            user.name,
            admission.vhost.name()
        );
        Ok(admission)
    }

    /// A method in the time before `tune-ok`, when whatever is wrong is met with silence.
    async fn before_tune(&mut self) -> Result<AMQPClass, Refusal> {
        let initial_frame_max = self.broker.config.limits.initial_frame_max_bytes as usize;
        let (channel, payload) =
            self.method_frame(initial_frame_max).await?.map_err(|close| Refusal::Silent(close.fault.to_string()))?;
        if channel != 0 {
            return Err(Refusal::Silent(format!("a method on channel {channel} before connection.open")));
        }
        method::decode(&payload, self.table_limits()).map_err(|error| Refusal::Silent(error.to_string()))
    }

    fn table_limits(&self) -> TableLimits {
        TableLimits { max_depth: self.broker.config.limits.table_depth }
    }

    /// The next method frame: its channel and payload. Heartbeats are passed over.
    async fn method_frame(&mut self, frame_max: usize) -> Result<Result<(u16, Vec<u8>), Close>, Refusal> {
        loop {
            if let Some(head) = FrameHead::read(&self.input) {
                if let Err(fault) = head.check_size(frame_max) {
                    return Ok(Err(fault.caused_by(0, 0)));
                }
                if self.input.len() >= head.frame_bytes() {
                    let bytes: Vec<u8> = self.input.drain(..head.frame_bytes()).collect();
                    match method_payload(head, &bytes) {
                        Ok(None) => continue,
                        Ok(Some(payload)) => return Ok(Ok((head.channel, payload.to_vec()))),
                        Err(fault) => return Ok(Err(fault.caused_by(0, 0))),
                    }
                }
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), Refusal> {
        self.input.reserve(512);
        match self.socket.read_buf(&mut self.input).await? {
            0 => Err(Refusal::Gone),
            _ => Ok(()),
        }
    }

    pub async fn send(&mut self, class: AMQPClass) -> Result<(), Refusal> {
        let mut out = Vec::new();
        method::encode(&mut out, 0, class);
        Ok(self.socket.write_all(&out).await?)
    }
}

fn method_payload(head: FrameHead, bytes: &[u8]) -> Result<Option<&[u8]>, Fault> {
    let payload = &bytes[frame::HEAD_BYTES..bytes.len() - 1];
    let end = bytes[bytes.len() - 1];
    if end != frame::END {
        return Err(head.frame_error(payload, &format!("{{invalid_frame_end_marker,{end}}}")));
    }
    match head.kind {
        METHOD if payload.len() >= 4 => Ok(Some(payload)),
        HEARTBEAT if head.size == 0 && head.channel == 0 => Ok(None),
        frame::HEADER | frame::BODY => {
            Err(Fault::connection(ReplyCode::UnexpectedFrame, method::frame_text(head.kind, payload, "")))
        }
        _ => Err(head.frame_error(payload, "unknown_frame")),
    }
}

/// RabbitMQ's check of a negotiated value: not below the minimum unless it is 0, not above what the server offered.
fn check_negotiated(what: &str, client: u32, min: u32, server: u32) -> Result<(), Fault> {
    if client != 0 && client < min {
        let text = format!("negotiated {what} = {client} is lower than the minimum allowed value ({min})");
        return Err(Fault::not_allowed(text));
    }
    if server != 0 && (client == 0 || client > server) {
        let none = if client == 0 { " (no limit)" } else { "" };
        let text = format!("negotiated {what} = {client}{none} is higher than the maximum allowed value ({server})");
        return Err(Fault::not_allowed(text));
    }
    Ok(())
}

fn capabilities(properties: &FieldTable) -> ClientCapabilities {
    let Some(AMQPValue::FieldTable(table)) = properties.inner().get("capabilities") else {
        return ClientCapabilities::default();
    };
    let has = |name: &str| matches!(table.inner().get(name), Some(AMQPValue::Boolean(true)));
    ClientCapabilities {
        consumer_cancel_notify: has("consumer_cancel_notify"),
        connection_blocked: has("connection.blocked"),
        authentication_failure_close: has("authentication_failure_close"),
    }
}

/// Clients choose by product, version and capabilities what they expect of a broker; see `docs/semantics.md`.
fn server_properties(broker: &Broker) -> FieldTable {
    const CAPABILITIES: [&str; 9] = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ];
    let mut capabilities = FieldTable::default();
    for name in CAPABILITIES {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let server = &broker.config.server;
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    let texts = [
        ("product", server.product.as_str()),
        ("version", server.version.as_str()),
        ("cluster_name", server.cluster_name.as_str()),
        ("platform", "Rust"),
        ("copyright", "Copyright (c) the Leveret authors"),
        ("information", "Licensed under the Apache License 2.0"),
        ("leveret_product", "Leveret"),
        ("leveret_version", env!("CARGO_PKG_VERSION")),
    ];
    for (name, text) in texts {
        properties.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    properties
}
