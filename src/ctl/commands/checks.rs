//! What `rabbitmq-diagnostics` asks: checks that succeed or fail, for scripts and orchestrators.
//!
//! Words and exit codes are those of RabbitMQ 3.10's tool: 69 for a check that fails.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::node::alarms;
use super::{Context, Group, Reply, Target};
use crate::ctl::request::{Refusal, Status};
use crate::limits::CTL_CONNECT_TIMEOUT;

/// The protocol of every listener.
const PROTOCOL: &str = "amqp";

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Checks {
    /// Check that the broker has started and runs
    CheckRunning,
    /// Tell whether the broker has started and runs
    IsRunning,
    /// Tell whether the broker is starting
    IsBooting,
    /// Check that there are no alarms
    CheckAlarms,
    /// The same: there is one broker
    CheckLocalAlarms,
    /// List the alarms
    Alarms,
    /// Check that each listener takes connections
    CheckPortConnectivity,
    /// Check that there is a listener on a port
    CheckPortListener {
        #[arg(value_name = "PORT")]
        port: u16,
    },
    /// Check that there is a listener for a protocol
    CheckProtocolListener {
        #[arg(value_name = "PROTOCOL")]
        protocol: String,
    },
    /// Check that the virtual hosts are in service
    CheckVirtualHosts,
    /// List the listeners
    Listeners,
    /// Tell the version of RabbitMQ that clients are shown
    ServerVersion,
    /// Check that the broker runs and has no alarms: deprecated, as in RabbitMQ
    NodeHealthCheck,
    /// Tell of which brokers the cluster consists: of one
    ClusterStatus,
}

impl Group for Checks {
    fn banner(&self, target: &Target<'_>) -> Option<String> {
        let socket = &target.socket;
        Some(match self {
            Checks::CheckRunning => format!("Checking if the broker of {socket} is running ..."),
            Checks::IsRunning => format!("Asking the broker of {socket} for its status ..."),
            Checks::IsBooting => format!("Asking the broker of {socket} for its boot status ..."),
            Checks::CheckAlarms | Checks::CheckLocalAlarms => {
                format!("Asking the broker of {socket} to report any local resource alarms ...")
            }
            Checks::Alarms => format!("Asking the broker of {socket} to report any known resource alarms ..."),
            Checks::CheckPortConnectivity => {
                format!("Testing TCP connections to all active listeners of the broker of {socket} ...")
            }
            Checks::CheckPortListener { port } => {
                format!("Asking the broker of {socket} if there's an active listener on port {port} ...")
            }
            Checks::CheckProtocolListener { protocol } => {
                format!("Asking the broker of {socket} if there's an active listener for protocol {protocol} ...")
            }
            Checks::CheckVirtualHosts => format!("Checking if all vhosts are running on the broker of {socket} ..."),
            Checks::Listeners => format!("Asking the broker of {socket} to report its protocol listeners ..."),
            Checks::ServerVersion => format!("Asking the broker of {socket} for its RabbitMQ version..."),
            Checks::NodeHealthCheck => format!("Checking health of the broker of {socket} ..."),
            Checks::ClusterStatus => format!("Cluster status of the broker of {socket} ..."),
        })
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        let node = context.broker.node_name();
        let said = match self {
            // Whoever answers has started: the socket is served from then on.
            Checks::CheckRunning | Checks::IsRunning => {
                format!("RabbitMQ on node {node} is fully booted and running")
            }
            Checks::IsBooting => format!(
                "RabbitMQ on node {node} is fully booted (check with is_running), stopped or has not started booting yet"
            ),
            Checks::CheckAlarms => {
                no_alarms(context)?;
                format!("Node {node} reported no alarms, local or clusterwide")
            }
            Checks::CheckLocalAlarms => {
                no_alarms(context)?;
                format!("Node {node} reported no local alarms")
            }
            Checks::Alarms => match reported_alarms(context) {
                alarms if alarms.is_empty() => format!("Node {node} reported no alarms, local or clusterwide"),
                alarms => alarms.join("\n"),
            },
            Checks::CheckPortConnectivity => {
                for address in context.listening.iter() {
                    connect(*address)?;
                }
                format!("Successfully connected to ports {} on node {node}.", ports(context))
            }
            Checks::CheckPortListener { port } if context.listening.iter().any(|address| address.port() == *port) => {
                format!("A listener for port {port} is running on node {node}.")
            }
            Checks::CheckPortListener { port } => {
                return Err(failed(format!(
                    "No listener for port {port} is active on node {node}. Found listeners that use the following ports: {}",
                    ports(context)
                )));
            }
            // RabbitMQ's tool takes these names for AMQP 0-9-1 too.
            Checks::CheckProtocolListener { protocol }
                if ["amqp", "amqp091", "amqp0.9.1", "amqp0-9-1"].contains(&protocol.to_lowercase().as_str()) =>
            {
                format!("A listener for protocol {protocol} is running on node {node}.")
            }
            Checks::CheckProtocolListener { protocol } => {
                return Err(failed(format!(
                    "No listener for protocol {protocol} is active on node {node}. Found listeners for the following protocols: {PROTOCOL}"
                )));
            }
            // One whose storage fails ends the process.
            Checks::CheckVirtualHosts => format!("Node {node} reported all vhosts as running"),
            Checks::Listeners => listeners(context).collect::<Vec<_>>().join("\n"),
            Checks::ServerVersion => context.broker.config.server.version.clone(),
            Checks::NodeHealthCheck => {
                no_alarms(context)?;
                "Health check passed".to_owned()
            }
            Checks::ClusterStatus => cluster_status(context),
        };
        Ok(Reply::Message(said))
    }
}

fn failed(text: String) -> Refusal {
    Refusal::new(Status::Unavailable, text)
}

fn reported_alarms(context: &Context) -> Vec<String> {
    let node = context.broker.node_name();
    let capitalized = |alarm: String| alarm[..1].to_uppercase() + &alarm[1..];
    alarms(context).into_iter().map(|alarm| format!("{} alarm on node {node}", capitalized(alarm))).collect()
}

fn no_alarms(context: &Context) -> Result<(), Refusal> {
    let alarms = reported_alarms(context);
    if alarms.is_empty() { Ok(()) } else { Err(failed(alarms.join("\n"))) }
}

fn ports(context: &Context) -> String {
    let ports: BTreeSet<u16> = context.listening.iter().map(SocketAddr::port).collect();
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// Connects as a client on this machine would; one that listens on all addresses may have IPv4 only.
fn connect(address: SocketAddr) -> Result<(), Refusal> {
    let reachable = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
        ip => vec![ip],
    };
    let mut result = Ok(());
    for ip in reachable {
        match TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), CTL_CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => result = Err(failed(format!("Connection to {address} failed: {error}"))),
        }
    }
    result
}

fn listeners(context: &Context) -> impl Iterator<Item = String> {
    context.listening.iter().map(|address| {
        let interface = match address.ip() {
            IpAddr::V6(ip) => format!("[{ip}]"),
            IpAddr::V4(ip) => ip.to_string(),
        };
        format!("Interface: {interface}, port: {}, protocol: {PROTOCOL}, purpose: AMQP 0-9-1", address.port())
    })
}

fn cluster_status(context: &Context) -> String {
    let broker = &context.broker;
    let node = broker.node_name();
    let or_none = |lines: Vec<String>| if lines.is_empty() { "(none)".to_owned() } else { lines.join("\n") };
    [
        ("Basics", format!("Cluster name: {}", broker.config.server.cluster_name)),
        ("Disk Nodes", node.to_owned()),
        ("Running Nodes", node.to_owned()),
        (
            "Versions",
            format!("{node}: Leveret {}, as RabbitMQ {}", env!("CARGO_PKG_VERSION"), broker.config.server.version),
        ),
        ("Alarms", or_none(reported_alarms(context))),
        ("Network Partitions", "(none)".to_owned()),
        ("Listeners", or_none(listeners(context).map(|listener| format!("Node: {node}, {listener}")).collect())),
    ]
    .map(|(title, text)| format!("{title}\n\n{text}"))
    .join("\n\n")
}
