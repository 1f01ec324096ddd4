//! The connections that are open: who they are, and how each is asked for what only its own task knows.
//!
//! What does not change is kept here, as small as it can be. Counters, channels and their figures belong to the task of the
//! connection; it is asked through its outbox and answers in its next turn, so that who is not asked pays nothing.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dashmap::DashMap;

use super::ConnectionId;
use super::outbox::{Demand, Outbox, Wakes};
use super::user::User;
use super::vhost::VHost;
use crate::connection::sasl::Mechanism;

/// Who a client is, as it was when it was let in.
pub struct Client {
    pub peer: Endpoint,
    /// What it has connected to.
    pub local: Endpoint,
    pub auth_mechanism: Option<Mechanism>,
    /// `client-properties` of `connection.start-ok`: a field table with its length, in wire form.
    pub properties: Box<[u8]>,
}

impl Client {
    /// `127.0.0.1:40000 -> 127.0.0.1:5672`, the name by which RabbitMQ's tools know the connection.
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }
}

/// An address and a port: what of a socket's address people want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub ip: IpAddr,
    pub port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint { ip: address.ip(), port: address.port() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

/// An open connection.
pub struct OpenConnection {
    pub id: ConnectionId,
    pub client: Client,
    pub vhost: Arc<VHost>,
    pub user: Arc<User>,
    /// Milliseconds since 1970.
    pub connected_at_ms: u64,
    /// In bytes.
    pub frame_max: u32,
    /// 0 is no limit.
    pub channel_max: u16,
    /// In seconds; 0 is none.
    pub heartbeat_s: u16,
    pub outbox: Arc<Outbox>,
}

impl OpenConnection {
    /// Has `answer` called with what the connection's task knows. It is dropped if the connection ends before.
    pub fn ask(&self, answer: impl FnOnce(Report) + Send + 'static) {
        self.outbox.demand(Demand::Report(Box::new(answer)), &mut Wakes::default());
    }

    /// Closes the connection with 320 and this reason.
    pub fn close(&self, reason: &str) {
        self.outbox.demand(Demand::Close { reason: reason.to_owned() }, &mut Wakes::default());
    }
}

#[cfg(test)]
impl OpenConnection {
    /// A connection of which only that matters.
    pub fn for_test(id: ConnectionId, user: Arc<User>, vhost: Arc<VHost>, outbox: Arc<Outbox>) -> OpenConnection {
        let peer = Endpoint { ip: IpAddr::from([127, 0, 0, 1]), port: 1 };
        let client = Client { peer, local: peer, auth_mechanism: None, properties: Box::default() };
        let (frame_max, channel_max, heartbeat_s, connected_at_ms) = (4096, 0, 0, 0);
        OpenConnection { id, client, vhost, user, connected_at_ms, frame_max, channel_max, heartbeat_s, outbox }
    }
}

/// What a connection is up to, in RabbitMQ's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    Running,
    /// Not read for a moment, because a queue that it publishes to is fuller than it should be, or the disk is behind.
    Flow,
    /// An alarm is on, and it has not published since.
    Blocking,
    /// It has published while an alarm is on, and is not read.
    Blocked,
    Closing,
}

impl ConnectionState {
    pub fn name(self) -> &'static str {
        match self {
            ConnectionState::Running => "running",
            ConnectionState::Flow => "flow",
            ConnectionState::Blocking => "blocking",
            ConnectionState::Blocked => "blocked",
            ConnectionState::Closing => "closing",
        }
    }
}

/// What a connection's task says of itself.
#[derive(Clone, Debug)]
pub struct Report {
    pub state: ConnectionState,
    pub traffic: Traffic,
    /// Bytes that the socket has not taken yet.
    pub unwritten_bytes: u64,
    pub channels: Vec<ChannelReport>,
}

/// What went through the socket since the connection was opened, heartbeats included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub received_bytes: u64,
    pub reads: u64,
    pub sent_bytes: u64,
    pub writes: u64,
}

/// The figures of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelReport {
    pub number: u16,
    pub is_closing: bool,
    pub is_confirm: bool,
    pub is_transactional: bool,
    pub consumers: usize,
    /// Delivered and not settled.
    pub unacknowledged: u64,
    /// Published and not confirmed.
    pub unconfirmed: u64,
    /// Published in the open transaction.
    pub uncommitted: usize,
    /// Settlements of the open transaction.
    pub uncommitted_acks: u64,
    /// `basic.qos` for consumers yet to start; 0 is unlimited.
    pub prefetch: u16,
    /// `basic.qos` with `global`; 0 is unlimited.
    pub global_prefetch: u32,
}

/// All open connections.
#[derive(Default)]
pub struct Connections {
    open: DashMap<ConnectionId, Arc<OpenConnection>>,
}

impl Connections {
    pub fn insert(&self, connection: OpenConnection) -> Arc<OpenConnection> {
        let connection = Arc::new(connection);
        self.open.insert(connection.id, connection.clone());
        connection
    }

    pub fn remove(&self, id: ConnectionId) {
        self.open.remove(&id);
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn get(&self, id: ConnectionId) -> Option<Arc<OpenConnection>> {
        self.open.get(&id).map(|entry| entry.value().clone())
    }

    /// All connections of this moment, the oldest first.
    pub fn all(&self) -> Vec<Arc<OpenConnection>> {
        let mut all: Vec<_> = self.open.iter().map(|entry| entry.value().clone()).collect();
        all.sort_unstable_by_key(|connection| connection.id);
        all
    }

    /// Closes these connections with 320 and this reason, `max` of them at most, the oldest first. Returns how many.
    pub fn close(&self, which: impl Fn(&OpenConnection) -> bool, max: usize, reason: &str) -> usize {
        let all = self.all();
        let closed = all.iter().filter(|connection| which(connection)).take(max);
        closed.map(|connection| connection.close(reason)).count()
    }

    /// Closes every connection with 320.
    pub fn close_all(&self, reason: &str) {
        let mut wakes = Wakes::default();
        for connection in &self.open {
            connection.outbox.demand(Demand::Close { reason: reason.to_owned() }, &mut wakes);
        }
    }

    /// Has the task of every connection look around.
    pub fn notify_all(&self) {
        let mut wakes = Wakes::default();
        for connection in &self.open {
            connection.outbox.notify(&mut wakes);
        }
    }
}
