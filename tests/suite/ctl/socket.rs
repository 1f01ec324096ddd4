//! The socket itself: who may open it, and what it takes.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{ctl, ctl_in};
use crate::support::broker::{Broker, Launch};

fn connect(broker: &Broker) -> UnixStream {
    UnixStream::connect(broker.data_dir().join("ctl.sock")).expect("the socket is there")
}

/// What comes back for these bytes, line by line.
fn answers(broker: &Broker, bytes: &[u8]) -> Vec<Value> {
    let mut stream = connect(broker);
    // It may hang up before it has read all.
    let _ = stream.write_all(bytes);
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.map(|line| serde_json::from_str(&line).expect("JSON")).collect()
}

#[test]
fn only_its_owner_can_open_it_and_it_is_there_while_the_broker_runs() {
    let mut broker = Broker::start(Launch::new());
    let path = broker.data_dir().join("ctl.sock");
    let metadata = std::fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    broker.stop();
    assert!(!path.exists());
    broker.start_again();
    broker.crash();
    ctl(&broker, &["-q", "ping"]).printed("Ping succeeded\n");
}

#[test]
fn another_path_can_be_configured() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    let broker = Broker::start(Launch::new().env("LEVERET_CTL_SOCKET", path.to_str().unwrap()));
    assert!(!broker.data_dir().join("ctl.sock").exists());
    ctl(&broker, &["ping"]).failed(69, "there is no such socket");
    let outcome = ctl(&broker, &["ping", "--socket", path.to_str().unwrap()]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
}

#[test]
fn a_default_path_that_is_too_long_leaves_the_broker_without_a_socket() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("x".repeat(100));
    let start = |socket: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&deep).env_remove("LEVERET_CTL_SOCKET");
        command.envs(socket.map(|path| ("LEVERET_CTL_SOCKET", path)));
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary can be started")
    };
    let mut broker = start(None);
    let mut lines = BufReader::new(broker.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("no ctl socket") && line.contains("`ctl_socket`")));
    assert!(lines.any(|line| line.contains("Server startup complete")));
    ctl_in(&deep, &["ping"], "").failed(78, "`ctl_socket`");
    broker.kill().unwrap();
    broker.wait().unwrap();
    // Whoever asks for a path gets it or nothing.
    let refused = start(Some(&format!("/tmp/{}", "x".repeat(200)))).wait().unwrap();
    assert_eq!(refused.code(), Some(1));
}

#[test]
fn garbage_is_refused_and_does_no_harm() {
    let broker = Broker::start(Launch::new());
    for bytes in [&b"\n"[..], b"AMQP\0\0\x09\x01\n", b"{}\n", b"[1,2]\n", b"{\"vhost\":\"/\",\"command\":\"stop\"}\n"] {
        let answers = answers(&broker, bytes);
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(answers[0]["refused"]["status"], "usage", "{answers:?}");
    }
    drop(connect(&broker));
    ctl(&broker, &["-q", "ping"]).printed("Ping succeeded\n");
}

#[test]
fn it_can_be_spoken_to_without_our_client() {
    let broker = Broker::start(Launch::new());
    let request = json!({
        "command": {"listing": {"list_exchanges": {"columns": ["name"]}}},
    });
    let answers = answers(&broker, format!("{request}\n").as_bytes());
    assert_eq!(answers[0], json!({"columns": ["name"]}));
    assert!(answers.contains(&json!({"row": ["amq.topic"]})), "{answers:?}");
    assert_eq!(answers.last(), Some(&json!({"done": {"message": null}})));
}

#[test]
fn one_that_says_nothing_keeps_nobody_else_away() {
    let broker = Broker::start(Launch::new());
    let silent: Vec<UnixStream> = (0..8).map(|_| connect(&broker)).collect();
    ctl(&broker, &["-q", "ping"]).printed("Ping succeeded\n");
    let mut first = silent.into_iter().next().unwrap();
    first.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    assert_eq!(first.read(&mut [0; 16]).unwrap(), 0, "after ten seconds it is let go");
}
