//! The broker as a whole.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Context, Group, Reply, Target};
use crate::broker::alarm::Resource;
use crate::config::{LogLevel, memory};
use crate::ctl::request::Refusal;
use crate::logging;
use crate::storage::chunk;

#[derive(Debug, Subcommand, Serialize, Deserialize)]
#[command(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// Tell what the broker is, what it holds, and its alarms
    Status,
    /// Ask whether the broker answers
    Ping,
    /// Wait until the broker has started
    AwaitStartup,
    /// The same; which process it is, is not looked at
    Wait {
        /// Taken for the sake of scripts
        #[arg(value_name = "PID FILE")]
        pid_file: Option<String>,
        /// Taken for the sake of scripts
        #[arg(long, short = 'P', value_name = "PID")]
        pid: Option<u32>,
    },
    /// Stop the broker in good order, and wait until it has ended
    Stop,
    /// Print the configuration, passwords hidden
    Environment,
    /// Change what is logged
    SetLogLevel {
        /// none, error, warning, info, debug or trace
        #[arg(value_name = "LEVEL")]
        level: String,
    },
}

impl Node {
    /// Whether it may be asked before the broker has started.
    pub fn awaits_startup(&self) -> bool {
        matches!(self, Node::AwaitStartup | Node::Wait { .. })
    }
}

impl Group for Node {
    fn check(&self) -> Result<(), Refusal> {
        match self {
            Node::SetLogLevel { level } => log_level(level).map(drop),
            _ => Ok(()),
        }
    }

    fn banner(&self, target: &Target<'_>) -> Option<String> {
        match self {
            Node::Status => Some("Status of the broker ...".to_owned()),
            Node::Ping => Some(match target.timeout {
                Some(timeout) => format!("Will ping {}. Timeout: {} ms.", target.socket, timeout.as_millis()),
                None => format!("Will ping {}.", target.socket),
            }),
            Node::AwaitStartup | Node::Wait { .. } => None,
            Node::Stop => Some("Stopping and halting the broker ...".to_owned()),
            Node::Environment => Some("Configuration of the broker ...".to_owned()),
            Node::SetLogLevel { level } => Some(format!("Setting log level to \"{level}\" ...")),
        }
    }

    fn carry_out(&self, context: &Context) -> Result<Reply, Refusal> {
        match self {
            Node::Status => Ok(status(context)),
            Node::Ping => Ok(Reply::Message("Ping succeeded".to_owned())),
            Node::AwaitStartup | Node::Wait { .. } => Ok(Reply::Done),
            Node::Stop => Ok(Reply::Stopping),
            Node::Environment => Ok(Reply::Message(context.broker.config.to_toml().trim_end().to_owned())),
            Node::SetLogLevel { level } => {
                logging::set_level(log_level(level)?);
                Ok(Reply::Done)
            }
        }
    }
}

/// RabbitMQ's `critical` shows what Leveret calls errors: there is nothing worse.
fn log_level(name: &str) -> Result<LogLevel, Refusal> {
    match name {
        "none" => Ok(LogLevel::None),
        "error" | "critical" => Ok(LogLevel::Error),
        "warning" => Ok(LogLevel::Warning),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        "trace" => Ok(LogLevel::Trace),
        _ => Err(Refusal::usage(format!(
            "level {name} is not supported. Try one of none, error, warning, info, debug, trace"
        ))),
    }
}

fn status(context: &Context) -> Reply {
    let broker = &context.broker;
    let total = memory::total_or_assumed_bytes();
    let marks = broker.alarm.marks();
    let (paging_mark, mark) = marks.memory_bytes(total);
    let vhosts = broker.vhosts();
    Reply::Value(json!({
        "product_name": "Leveret",
        "product_version": env!("CARGO_PKG_VERSION"),
        "rabbitmq_version": broker.config.server.version,
        "cluster_name": broker.config.server.cluster_name,
        "os": std::env::consts::OS,
        "pid": std::process::id(),
        "uptime": broker.started_at.elapsed().as_secs(),
        "data_directory": broker.config.data_dir.display().to_string(),
        "alarms": alarms(context),
        "memory": {
            "messages": chunk::bytes_in_memory(),
            "total": memory::resident_bytes(),
        },
        "vm_memory_high_watermark_setting": marks.memory_high_watermark,
        "vm_memory_high_watermark_limit": mark,
        "memory_paging_limit": paging_mark,
        "disk_free": broker.store.as_ref().and_then(|store| store.free_bytes().ok().flatten()),
        "disk_free_limit": marks.disk_free_limit.bytes_of(total),
        "totals": {
            "connection_count": broker.connection_count(),
            "queue_count": vhosts.iter().map(|vhost| vhost.queues().len()).sum::<usize>(),
            "virtual_host_count": vhosts.len(),
        },
        "listeners": context.listening.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

pub(super) fn alarms(context: &Context) -> Vec<String> {
    let on =
        [Resource::Memory, Resource::Disk].into_iter().filter_map(|resource| match context.broker.alarm.of(resource) {
            (true, true) => Some(format!("{} (raised by hand)", resource.name())),
            (true, false) => Some(resource.name().to_owned()),
            _ => None,
        });
    on.collect()
}
