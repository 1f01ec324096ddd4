//! `leveret ctl`: the binary as a client of the binary as a broker. Words, columns and exit codes are those of
//! `rabbitmqctl` 3.10, looked up there.

mod alarms;
mod checks;
mod connections;
mod definitions;
mod listing;
mod node;
mod permissions;
mod policies;
mod queues;
mod redeclare;
mod socket;
mod tracing;
mod users;
mod vhosts;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::broker::Broker;

/// What a run of the command line came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Outcome {
    /// It succeeded and printed exactly this.
    #[track_caller]
    pub fn printed(self, text: &str) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (0, text, ""));
    }

    #[track_caller]
    pub fn succeeded(self) {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
    }

    /// It failed with this code, and said so on standard error.
    #[track_caller]
    pub fn failed(self, code: i32, text: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(text), "{self:?}");
    }

    /// It succeeded and printed JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Runs `leveret ctl` against the broker of this data directory, with this on its standard input.
pub fn ctl_in(data_dir: &Path, args: &[&str], input: &str) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.arg("ctl").arg("--data-dir").arg(data_dir).args(args);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LEVERET_")) {
        command.env_remove(name);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be started");
    // It need not read it.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("a child of ours");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Outcome { code: output.status.code().expect("an exit"), out: text(output.stdout), err: text(output.stderr) }
}

pub fn ctl(broker: &Broker, args: &[&str]) -> Outcome {
    ctl_in(&broker.data_dir(), args, "")
}

/// The answer as JSON.
#[track_caller]
pub fn list(broker: &Broker, args: &[&str]) -> Value {
    ctl(broker, &[&["--formatter", "json"], args].concat()).json()
}
