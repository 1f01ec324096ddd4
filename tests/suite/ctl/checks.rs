//! The checks of `rabbitmq-diagnostics`, and the names of RabbitMQ's tools.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use super::ctl;
use crate::support::broker::{Broker, Launch};

const NODE: &str = "leveret@checks";

fn broker() -> Broker {
    Broker::start(Launch::new().config(&format!("server.cluster_name = \"{NODE}\"")))
}

/// Runs a link to the binary that has the name of one of RabbitMQ's tools.
fn tool(broker: &Broker, name: &str, args: &[&str]) -> Output {
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join(name);
    symlink(env!("CARGO_BIN_EXE_leveret"), &link).unwrap();
    let mut command = Command::new(&link);
    command.env("LEVERET_DATA_DIR", broker.data_dir()).env("LEVERET_LISTENERS", broker.address.to_string()).args(args);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_running_broker_passes_every_check() {
    let broker = broker();
    let port = broker.address.port().to_string();
    let running = format!("RabbitMQ on node {NODE} is fully booted and running\n");
    for (check, said) in [
        (&["check_running"][..], running.as_str()),
        (&["is_running"], &running),
        (&["check_local_alarms"], &format!("Node {NODE} reported no local alarms\n")),
        (&["check_alarms"], &format!("Node {NODE} reported no alarms, local or clusterwide\n")),
        (&["alarms"], &format!("Node {NODE} reported no alarms, local or clusterwide\n")),
        (&["check_port_connectivity"], &format!("Successfully connected to ports {port} on node {NODE}.\n")),
        (&["check_port_listener", &port], &format!("A listener for port {port} is running on node {NODE}.\n")),
        (&["check_protocol_listener", "amqp"], &format!("A listener for protocol amqp is running on node {NODE}.\n")),
        (&["check_virtual_hosts"], &format!("Node {NODE} reported all vhosts as running\n")),
        (&["listeners"], &format!("Interface: 127.0.0.1, port: {port}, protocol: amqp, purpose: AMQP 0-9-1\n")),
        (&["node_health_check"], "Health check passed\n"),
    ] {
        let outcome = ctl(&broker, check);
        assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "{check:?}");
        assert!(outcome.out.ends_with(said), "{check:?}: {}", outcome.out);
        ctl(&broker, &[&["--formatter", "json"], check].concat()).succeeded();
    }
    ctl(&broker, &["wait", "--pid", "1", "--timeout", "5"]).printed("");
    ctl(&broker, &["wait", "/var/lib/rabbitmq/mnesia/rabbit.pid"]).printed("");
}

#[test]
fn an_alarm_fails_the_checks_for_it() {
    let broker = broker();
    ctl(&broker, &["-q", "set_alarm", "disk"]).printed("");
    for check in ["check_alarms", "check_local_alarms", "node_health_check"] {
        ctl(&broker, &[check]).failed(69, &format!("Error:\nDisk (raised by hand) alarm on node {NODE}\n"));
    }
    let alarms = ctl(&broker, &["alarms"]);
    assert!(alarms.out.ends_with(&format!("Disk (raised by hand) alarm on node {NODE}\n")), "{alarms:?}");
    ctl(&broker, &["check_running"]).succeeded();
}

#[test]
fn a_listener_that_is_not_there_fails_the_check_for_it() {
    let broker = broker();
    let port = broker.address.port();
    ctl(&broker, &["check_port_listener", "1"]).failed(
        69,
        &format!(
            "No listener for port 1 is active on node {NODE}. Found listeners that use the following ports: {port}"
        ),
    );
    ctl(&broker, &["check_protocol_listener", "mqtt"]).failed(69, "Found listeners for the following protocols: amqp");
    ctl(&broker, &["check_port_listener", "65536"]).failed(64, "65536");
}

#[test]
fn links_named_like_rabbitmqs_tools_work_like_them() {
    let broker = broker();
    for (name, args, said) in [
        ("rabbitmq-diagnostics", &["-q", "ping"][..], "Ping succeeded\n"),
        ("rabbitmq-diagnostics", &["-q", "check_running"], "is fully booted and running"),
        ("rabbitmqctl", &["add_user", "alice", "secret"], "Adding user \"alice\""),
        ("rabbitmqctl", &["list_users", "--silent"], "alice\t[]"),
        ("rabbitmq-plugins", &["enable", "--offline", "rabbitmq_management"], "not part of the broker"),
        ("rabbitmq-plugins", &["-q", "list", "-m"], "rabbitmq_consistent_hash_exchange\n"),
    ] {
        let output = tool(&broker, name, args);
        assert!(output.status.success(), "{name} {args:?}: {output:?}");
        assert!(text(&output.stdout).contains(said), "{name} {args:?}: {output:?}");
    }
    let absent = tool(&broker, "rabbitmq-plugins", &["is_enabled", "rabbitmq_mqtt"]);
    assert_eq!(
        (absent.status.code(), text(&absent.stderr)),
        (Some(69), "Error:\nnot part of the broker: rabbitmq_mqtt\n")
    );
    assert_eq!(tool(&broker, "rabbitmqctl", &["nonsense"]).status.code(), Some(64));
    assert_eq!(tool(&broker, "rabbitmq-plugins", &["nonsense"]).status.code(), Some(64));
}

#[test]
fn ping_asks_where_the_configuration_has_the_broker_listen() {
    let broker = broker();
    let ping = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .arg("ping")
        .env("LEVERET_LISTENERS", format!("[::]:{}", broker.address.port()))
        .output()
        .unwrap();
    assert!(text(&ping.stdout).starts_with(&format!("{}: RabbitMQ ", broker.address)), "{ping:?}");
}
