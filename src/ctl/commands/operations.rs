//! What is done to queues and connections.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::{Context, Group, Reply, Target};
use crate::broker::connections::OpenConnection;
use crate::broker::{Broker, ConnectionId};
use crate::ctl::request::Refusal;

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Operations {
    /// Drop the messages that wait in a queue
    PurgeQueue {
        #[arg(value_name = "QUEUE")]
        queue: String,
    },
    /// Delete a queue
    DeleteQueue {
        #[arg(value_name = "QUEUE")]
        queue: String,
        /// Only if no message is ready in it
        #[arg(long = "if-empty", short = 'e')]
        if_empty: bool,
        /// Only if it has no consumers
        #[arg(long = "if-unused", short = 'u')]
        if_unused: bool,
    },
    /// Close a connection: its client is told the reason
    CloseConnection {
        /// The pid or the name that list_connections tells
        #[arg(value_name = "CONNECTION")]
        connection: String,
        #[arg(value_name = "REASON")]
        reason: String,
    },
    /// Close the connections to a virtual host, or all
    CloseAllConnections {
        #[arg(value_name = "REASON")]
        reason: String,
        /// The connections to all virtual hosts
        #[arg(long)]
        global: bool,
        /// Close no more than so many
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        limit: usize,
    },
    /// Close the connections of a user
    CloseAllUserConnections {
        #[arg(value_name = "USER")]
        username: String,
        #[arg(value_name = "REASON")]
        reason: String,
    },
    /// Copy what goes in and out to amq.rabbitmq.trace
    TraceOn,
    /// Do not copy it any more
    TraceOff,
}

impl Group for Operations {
    fn banner(&self, target: &Target<'_>) -> Option<String> {
        let vhost = target.vhost;
        Some(match self {
            Operations::PurgeQueue { queue } => format!("Purging queue '{queue}' in vhost '{vhost}' ..."),
            Operations::DeleteQueue { queue, if_empty, if_unused } => {
                let conditions = match (if_empty, if_unused) {
                    (true, true) => " if queue is empty and if queue is unused",
                    (true, false) => " if queue is empty",
                    (false, true) => " if queue is unused",
                    (false, false) => "",
                };
                format!("Deleting queue '{queue}' on vhost '{vhost}'{conditions} ...")
            }
            Operations::CloseConnection { connection, reason } => {
                format!("Closing connection {connection}, reason: {reason}...")
            }
            Operations::CloseAllConnections { reason, global: true, .. } => {
                format!("Closing all connections to all vhosts, reason: {reason}...")
            }
            Operations::CloseAllConnections { reason, limit: 0, .. } => {
                format!("Closing all connections in vhost {vhost}, reason: {reason}...")
            }
            Operations::CloseAllConnections { reason, limit, .. } => {
                format!("Closing {limit} connections in vhost {vhost}, reason: {reason}...")
            }
            Operations::CloseAllUserConnections { username, reason } => {
                format!("Closing connections of user {username}, reason: {reason}...")
            }
            Operations::TraceOn => format!("Starting tracing for vhost \"{vhost}\" ..."),
            Operations::TraceOff => format!("Stopping tracing for vhost \"{vhost}\" ..."),
        })
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        let (broker, vhost) = (&context.broker, context.vhost.as_str());
        match self {
            Operations::PurgeQueue { queue } => {
                broker.purge_queue(vhost, queue)?;
                Ok(Reply::Done)
            }
            Operations::DeleteQueue { queue, if_empty, if_unused } => {
                let ready = broker.delete_queue(vhost, queue, *if_unused, *if_empty)?;
                Ok(Reply::Message(format!("Queue was successfully deleted with {ready} ready messages")))
            }
            Operations::CloseConnection { connection, reason } => {
                broker.close_connection(find_connection(broker, connection)?, reason)?;
                Ok(Reply::Done)
            }
            Operations::CloseAllConnections { reason, global, limit } => {
                let which = |open: &OpenConnection| *global || **open.vhost.name() == *vhost;
                let max = if *limit == 0 { usize::MAX } else { *limit };
                let closed = broker.connections.close(which, max, reason);
                Ok(Reply::Message(format!("Closed {closed} connections")))
            }
            Operations::CloseAllUserConnections { username, reason } => {
                broker.connections.close(|open| *open.user.name == **username, usize::MAX, reason);
                Ok(Reply::Done)
            }
            Operations::TraceOn => {
                broker.set_tracing(vhost, true)?;
                Ok(Reply::Message(format!("Trace enabled for vhost {vhost}")))
            }
            Operations::TraceOff => {
                broker.set_tracing(vhost, false)?;
                Ok(Reply::Message(format!("Trace disabled for vhost {vhost}")))
            }
        }
    }
}

/// A connection by the pid or the name that `list_connections` tells.
fn find_connection(broker: &Broker, text: &str) -> Result<ConnectionId, Refusal> {
    if let Some(id) = parse_pid(text) {
        return Ok(id);
    }
    let named = broker.connections.all().into_iter().find(|connection| connection.client.name() == text);
    named.map(|connection| connection.id).ok_or_else(|| Refusal::data(format!("Connection {text} does not exist")))
}

/// What RabbitMQ's tools call a process: `<node.1.connection.0>`, of a channel `<node.1.connection.channel>`.
pub(super) fn pid(broker: &Broker, connection: ConnectionId, channel: u16) -> String {
    format!("<{}.1.{connection}.{channel}>", broker.node_name())
}

fn parse_pid(text: &str) -> Option<ConnectionId> {
    let (rest, _channel) = text.strip_prefix('<')?.strip_suffix('>')?.rsplit_once('.')?;
    rest.rsplit('.').next()?.parse().ok().map(ConnectionId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_names_its_connection_whatever_dots_the_node_has() {
        assert_eq!(parse_pid("<leveret@a.b.example.1.42.0>"), Some(ConnectionId(42)));
        assert_eq!(parse_pid("<leveret@a.1.7.3>"), Some(ConnectionId(7)));
        for other in ["42", "<>", "<a>", "<a.b>", "127.0.0.1:1 -> 127.0.0.1:2"] {
            assert_eq!(parse_pid(other), None, "{other}");
        }
    }
}
