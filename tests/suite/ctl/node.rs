//! The broker as a whole.

use std::time::Instant;

use super::{ctl, ctl_in, list};
use crate::support::broker::{Broker, Launch};
use crate::support::peer::Login;
use crate::support::wire::s;

#[test]
fn status_tells_version_alarms_and_totals() {
    let broker = Broker::start(Launch::new());
    let status = list(&broker, &["status"]);
    assert_eq!(status["product_name"], "Leveret");
    assert_eq!(status["pid"], broker.pid());
    assert_eq!(status["alarms"], serde_json::json!([]));
    assert_eq!(status["totals"]["virtual_host_count"], 1);
    assert!(status["memory"]["total"].as_u64() > Some(0));
    let text = ctl(&broker, &["status"]).out;
    for line in ["Status of the broker ...", &format!("OS PID: {}", broker.pid()), "Alarms\n\n(none)"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn ping_and_await_startup_succeed_where_a_broker_runs() {
    let broker = Broker::start(Launch::new());
    let socket = broker.data_dir().join("ctl.sock");
    ctl(&broker, &["ping"]).printed(&format!("Will ping {}. Timeout: 60000 ms.\nPing succeeded\n", socket.display()));
    ctl(&broker, &["--formatter", "json", "ping"]).printed("{\"message\":\"Ping succeeded\"}\n");
    ctl(&broker, &["-n", "rabbit@elsewhere", "await_startup"]).printed("");
}

#[test]
fn where_no_broker_runs_it_ends_with_69_and_awaiting_one_with_75() {
    let directory = tempfile::tempdir().unwrap();
    ctl_in(directory.path(), &["list_queues"], "").failed(69, "unable to reach the broker");
    ctl_in(directory.path(), &["-t", "0.3", "await_startup"], "").failed(75, "timed out after 300 ms");
    // One that was killed left its socket behind.
    drop(std::os::unix::net::UnixListener::bind(directory.path().join("ctl.sock")).unwrap());
    ctl_in(directory.path(), &["ping"], "").failed(69, "no broker listens there any more");
}

#[test]
fn a_broker_that_does_not_answer_in_time_is_75() {
    let directory = tempfile::tempdir().unwrap();
    let _deaf = std::os::unix::net::UnixListener::bind(directory.path().join("ctl.sock")).unwrap();
    let began = Instant::now();
    ctl_in(directory.path(), &["-t", "0.2", "status"], "").failed(75, "timed out after 200 ms");
    assert!(began.elapsed().as_secs() < 10);
}

#[test]
fn stop_returns_when_the_broker_has_ended() {
    let mut broker = Broker::start(Launch::new());
    ctl(&broker, &["stop"]).printed("Stopping and halting the broker ...\n");
    assert_eq!(broker.wait_for_exit().code(), Some(0));
    assert!(broker.log().iter().any(|line| line.contains("Leveret has stopped")));
    broker.start_again();
    broker.assert_serves();
}

#[test]
fn what_is_not_written_as_it_should_be_is_64() {
    let directory = tempfile::tempdir().unwrap();
    for args in [
        &["nonsense"][..],
        &[],
        &["purge_queue"],
        &["list_vhosts_or_so", "x"],
        &["-t", "x", "status"],
        &["list_queues", "bogus"],
        &["set_log_level", "loud"],
    ] {
        let outcome = ctl_in(directory.path(), args, "");
        assert_eq!(outcome.code, 64, "{args:?}: {outcome:?}");
    }
    ctl_in(directory.path(), &["list_queues", "name", "bogus"], "").failed(64, "Info key(s) bogus are not supported");
    ctl_in(directory.path(), &["--config", "/nowhere/x.toml", "ping"], "").failed(78, "/nowhere/x.toml");
}

#[test]
fn the_help_lists_every_command() {
    let directory = tempfile::tempdir().unwrap();
    let help = ctl_in(directory.path(), &["--help"], "");
    assert_eq!(help.code, 0);
    for command in ["status", "list_queues", "close_connection", "trace_on", "set_alarm", "hash_password"] {
        assert!(help.out.contains(&format!("  {command} ")), "{command} in {}", help.out);
    }
}

#[test]
fn version_and_hash_password_need_no_broker() {
    let directory = tempfile::tempdir().unwrap();
    ctl_in(directory.path(), &["version"], "").printed(concat!(env!("CARGO_PKG_VERSION"), "\n"));
    for (args, input) in [(&["-q", "hash_password", "secret"][..], ""), (&["-q", "hash_password"], "secret\n")] {
        let outcome = ctl_in(directory.path(), args, input);
        // Base64 of 36 bytes.
        assert_eq!((outcome.code, outcome.out.trim().len()), (0, 48), "{outcome:?}");
    }
    ctl_in(directory.path(), &["hash_password"], "").failed(64, "a password is needed");
}

#[test]
fn the_level_of_the_log_can_be_changed() {
    let broker = Broker::start(Launch::new());
    let connect_as = |name: &str| {
        let mut login = Login::new();
        login.properties.push(("connection_name".to_owned(), s(name)));
        login.connect(broker.address).close();
    };
    ctl(&broker, &["set_log_level", "none"]).printed("Setting log level to \"none\" ...\n");
    connect_as("unseen");
    ctl(&broker, &["-q", "set_log_level", "info"]).printed("");
    connect_as("seen by all");
    broker.wait_for_log(&["seen by all", "authenticated"]);
    assert!(broker.log().iter().all(|line| !line.contains("unseen")));
}
