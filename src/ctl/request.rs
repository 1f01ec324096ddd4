//! What goes over the socket.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::commands::Command;

/// The one line that a client sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// For commands that are about one virtual host.
    #[serde(default = "default_vhost")]
    pub vhost: String,
    pub command: Command,
}

/// The virtual host that a command is about if it names none.
pub fn default_vhost() -> String {
    "/".to_owned()
}

/// A line of the answer. The last one is `Done` or `Refused`.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A table follows, with these columns.
    Columns(Vec<String>),
    /// A row of it.
    Row(Vec<Value>),
    /// An answer that is no table.
    Value(Value),
    Done {
        message: Option<String>,
        /// Words that need not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remark: Option<String>,
    },
    Refused(Refusal),
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    pub status: Status,
    pub text: String,
}

/// What kind of failure it was: the exit code of the command line, as RabbitMQ's tools use those of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The command is not written as it should be.
    Usage = 64,
    /// What it names is not there, or its data is no good.
    Data = 65,
    NoUser = 67,
    /// No broker answers.
    Unavailable = 69,
    /// The broker could not do it.
    Software = 70,
    TimedOut = 75,
    Configuration = 78,
}

impl Status {
    pub fn exit_code(self) -> u8 {
        self as u8
    }
}

impl Refusal {
    pub fn new(status: Status, text: impl fmt::Display) -> Refusal {
        Refusal { status, text: text.to_string() }
    }

    pub fn usage(text: impl fmt::Display) -> Refusal {
        Refusal::new(Status::Usage, text)
    }

    pub fn data(text: impl fmt::Display) -> Refusal {
        Refusal::new(Status::Data, text)
    }

    pub fn software(text: impl fmt::Display) -> Refusal {
        Refusal::new(Status::Software, text)
    }

    pub fn no_vhost(name: &str) -> Refusal {
        Refusal::data(format!("Virtual host '{name}' does not exist"))
    }
}
