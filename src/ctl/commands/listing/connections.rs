//! Connections and their channels. What only their tasks know is asked of many at a time, and only if a column wants it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use amq_protocol::types::FieldTable;
use serde_json::Value;

use super::columns::{Column, Columns, pick, table};
use crate::broker::connections::{ChannelReport, OpenConnection, Report};
use crate::broker::{Broker, ConnectionId};
use crate::connection::sasl::Mechanism;
use crate::ctl::commands::operations::pid;
use crate::ctl::commands::{Context, Table};
use crate::ctl::json;
use crate::ctl::request::Refusal;
use crate::limits::CTL_REPORT_TIMEOUT;
use crate::wire::table as wire;

/// So many connections are asked at a time.
const ASKED_AT_ONCE: usize = 256;

pub struct ConnectionRow {
    broker: Arc<Broker>,
    connection: Arc<OpenConnection>,
    /// What it says of itself; `None` if it was not asked, or has not answered in time.
    report: Option<Report>,
}

impl ConnectionRow {
    fn reported(&self, value: impl FnOnce(&Report) -> Value) -> Value {
        self.report.as_ref().map_or(Value::Null, value)
    }
}

/// The columns that only the connection's task knows.
const REPORTED: [&str; 7] = ["state", "channels", "recv_oct", "recv_cnt", "send_oct", "send_cnt", "send_pend"];

pub const CONNECTIONS: Columns<ConnectionRow> = Columns {
    all: &[
        Column { name: "pid", value: |row| pid(&row.broker, row.connection.id, 0).into() },
        Column { name: "name", value: |row| row.connection.client.name().into() },
        Column { name: "user_provided_name", value: |row| properties(row).get("connection_name").cloned().into() },
        Column { name: "user", value: |row| (*row.connection.user.name).into() },
        Column { name: "vhost", value: |row| (**row.connection.vhost.name()).into() },
        Column { name: "peer_host", value: |row| row.connection.client.peer.ip.to_string().into() },
        Column { name: "peer_port", value: |row| row.connection.client.peer.port.into() },
        Column { name: "host", value: |row| row.connection.client.local.ip.to_string().into() },
        Column { name: "port", value: |row| row.connection.client.local.port.into() },
        Column { name: "node", value: |row| row.broker.node_name().into() },
        Column { name: "type", value: |_| "network".into() },
        Column { name: "protocol", value: |_| "AMQP 0-9-1".into() },
        Column { name: "ssl", value: |_| false.into() },
        Column {
            name: "auth_mechanism",
            value: |row| row.connection.client.auth_mechanism.map(Mechanism::name).into(),
        },
        Column { name: "state", value: |row| row.reported(|report| report.state.name().into()) },
        Column { name: "channels", value: |row| row.reported(|report| report.channels.len().into()) },
        Column { name: "client_properties", value: |row| Value::Object(properties(row)) },
        Column { name: "connected_at", value: |row| row.connection.connected_at_ms.into() },
        Column { name: "timeout", value: |row| row.connection.heartbeat_s.into() },
        Column { name: "frame_max", value: |row| row.connection.frame_max.into() },
        Column { name: "channel_max", value: |row| row.connection.channel_max.into() },
        Column { name: "recv_oct", value: |row| row.reported(|report| report.traffic.received_bytes.into()) },
        Column { name: "recv_cnt", value: |row| row.reported(|report| report.traffic.reads.into()) },
        Column { name: "send_oct", value: |row| row.reported(|report| report.traffic.sent_bytes.into()) },
        Column { name: "send_cnt", value: |row| row.reported(|report| report.traffic.writes.into()) },
        Column { name: "send_pend", value: |row| row.reported(|report| report.unwritten_bytes.into()) },
    ],
    default: &["user", "peer_host", "peer_port", "state"],
};

fn properties(row: &ConnectionRow) -> serde_json::Map<String, Value> {
    let decoded = wire::decode(&row.connection.client.properties, u8::MAX);
    match json::table(&decoded.unwrap_or_else(|_| FieldTable::default())) {
        Value::Object(properties) => properties,
        _ => Default::default(),
    }
}

pub fn connections(context: &Context, asked: &[String]) -> Result<Table, Refusal> {
    let picked = pick(&CONNECTIONS, asked)?;
    let wants_reports = picked.iter().any(|column| REPORTED.contains(&column.name));
    Ok(table(picked, rows(context, wants_reports)))
}

fn rows(context: &Context, wants_reports: bool) -> impl Iterator<Item = ConnectionRow> + Send + 'static {
    let broker = context.broker.clone();
    let all = broker.connections.all();
    let starts = (0..all.len()).step_by(ASKED_AT_ONCE);
    starts.flat_map(move |start| {
        let some = &all[start..all.len().min(start + ASKED_AT_ONCE)];
        let mut reports = if wants_reports { ask(some) } else { HashMap::new() };
        let rows = some.iter().map(|connection| ConnectionRow {
            broker: broker.clone(),
            connection: connection.clone(),
            report: reports.remove(&connection.id),
        });
        rows.collect::<Vec<_>>()
    })
}

/// Asks these connections, and waits for those that answer in time.
fn ask(connections: &[Arc<OpenConnection>]) -> HashMap<ConnectionId, Report> {
    let (answered, answers) = mpsc::channel();
    for connection in connections {
        let (answered, id) = (answered.clone(), connection.id);
        // Who asked may have gone.
        connection.ask(move |report| _ = answered.send((id, report)));
    }
    drop(answered);
    let deadline = Instant::now() + CTL_REPORT_TIMEOUT;
    let mut reports = HashMap::with_capacity(connections.len());
    while let Ok((id, report)) = answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        reports.insert(id, report);
    }
    reports
}

pub struct ChannelRow {
    broker: Arc<Broker>,
    connection: Arc<OpenConnection>,
    channel: ChannelReport,
}

pub const CHANNELS: Columns<ChannelRow> = Columns {
    all: &[
        Column { name: "pid", value: |row| pid(&row.broker, row.connection.id, row.channel.number).into() },
        Column { name: "connection", value: |row| pid(&row.broker, row.connection.id, 0).into() },
        Column {
            name: "name",
            value: |row| format!("{} ({})", row.connection.client.name(), row.channel.number).into(),
        },
        Column { name: "number", value: |row| row.channel.number.into() },
        Column { name: "user", value: |row| (*row.connection.user.name).into() },
        Column { name: "vhost", value: |row| (**row.connection.vhost.name()).into() },
        Column { name: "state", value: |row| if row.channel.is_closing { "closing" } else { "running" }.into() },
        Column { name: "transactional", value: |row| row.channel.is_transactional.into() },
        Column { name: "confirm", value: |row| row.channel.is_confirm.into() },
        Column { name: "consumer_count", value: |row| row.channel.consumers.into() },
        Column { name: "messages_unacknowledged", value: |row| row.channel.unacknowledged.into() },
        Column { name: "messages_unconfirmed", value: |row| row.channel.unconfirmed.into() },
        Column { name: "messages_uncommitted", value: |row| row.channel.uncommitted.into() },
        Column { name: "acks_uncommitted", value: |row| row.channel.uncommitted_acks.into() },
        Column { name: "prefetch_count", value: |row| row.channel.prefetch.into() },
        Column { name: "global_prefetch_count", value: |row| row.channel.global_prefetch.into() },
    ],
    default: &["pid", "user", "consumer_count", "messages_unacknowledged"],
};

pub fn channels(context: &Context, asked: &[String]) -> Result<Table, Refusal> {
    let picked = pick(&CHANNELS, asked)?;
    let rows = rows(context, true).flat_map(|ConnectionRow { broker, connection, report }| {
        let channels = report.map(|report| report.channels).unwrap_or_default();
        let of = channels.into_iter();
        of.map(move |channel| ChannelRow { broker: broker.clone(), connection: connection.clone(), channel })
    });
    Ok(table(picked, rows))
}
