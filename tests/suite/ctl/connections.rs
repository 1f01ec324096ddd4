//! Connections and channels: listed and closed.

use serde_json::{Value, json};

use super::{ctl, list};
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::wire::*;

fn login(name: &str) -> Login {
    let mut login = Login::new().heartbeat(30);
    login.properties.push(("connection_name".to_owned(), s(name)));
    login
}

#[test]
fn connections_are_listed_with_who_they_are_and_what_they_do() {
    let broker = Broker::start(Launch::new());
    let mut peer = login("app").connect(broker.address);
    peer.open_channel(2);
    let local = peer.local_address();
    ctl(&broker, &["list_connections"]).printed(&format!(
        "Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\nguest\t127.0.0.1\t{}\trunning\n",
        local.port()
    ));
    let found = list(
        &broker,
        &[
            "list_connections",
            "name",
            "user_provided_name",
            "vhost",
            "host",
            "port",
            "protocol",
            "auth_mechanism",
            "channels",
            "timeout",
            "type",
            "ssl",
        ],
    );
    assert_eq!(
        found,
        json!([{"name": format!("{local} -> {}", broker.address), "user_provided_name": "app", "vhost": "/",
                "host": "127.0.0.1", "port": broker.address.port(), "protocol": "AMQP 0-9-1",
                "auth_mechanism": "PLAIN", "channels": 2, "timeout": 30, "type": "network", "ssl": false}])
    );
    let figures = |peer: &mut Peer| {
        peer.call(1, &queue_declare("q"));
        let all =
            list(&broker, &["list_connections", "recv_oct", "recv_cnt", "send_oct", "send_cnt", "client_properties"]);
        all[0].clone()
    };
    let (before, after) = (figures(&mut peer), figures(&mut peer));
    for name in ["recv_oct", "recv_cnt", "send_oct", "send_cnt"] {
        assert!(before[name].as_u64() > Some(0) && before[name].as_u64() < after[name].as_u64(), "{before} {after}");
    }
    assert_eq!(before["client_properties"]["connection_name"], "app");
    peer.close();
    assert_eq!(list(&broker, &["list_connections"]), json!([]));
}

#[test]
fn channels_are_listed_with_their_modes_and_counts() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("q"));
    peer.publish(1, "", "q", "x");
    peer.wait_for_counts(1, "q", (1, 0));
    peer.call(1, &qos(5));
    peer.consume(1, "q", "t");
    peer.expect_delivery(1);
    peer.open_channel(2);
    peer.call(2, &method("confirm.select"));
    peer.open_channel(3);
    peer.call(3, &method("tx.select"));
    peer.call(3, &qos(9).on("global"));
    peer.publish(3, "", "q", "y");
    peer.call(3, &queue_declare("q"));
    let channels = list(
        &broker,
        &[
            "list_channels",
            "number",
            "confirm",
            "transactional",
            "consumer_count",
            "messages_unacknowledged",
            "messages_uncommitted",
            "messages_unconfirmed",
            "prefetch_count",
            "global_prefetch_count",
            "user",
            "vhost",
        ],
    );
    let channel = |number: u16, confirm: bool, transactional: bool, counts: [u64; 5]| -> Value {
        let [consumers, unacknowledged, uncommitted, prefetch, global] = counts;
        json!({"number": number, "confirm": confirm, "transactional": transactional, "consumer_count": consumers,
               "messages_unacknowledged": unacknowledged, "messages_uncommitted": uncommitted,
               "messages_unconfirmed": 0, "prefetch_count": prefetch, "global_prefetch_count": global,
               "user": "guest", "vhost": "/"})
    };
    assert_eq!(
        channels,
        json!([
            channel(1, false, false, [1, 1, 0, 5, 0]),
            channel(2, true, false, [0, 0, 0, 0, 0]),
            channel(3, false, true, [0, 0, 1, 0, 9]),
        ])
    );
    let names = list(&broker, &["list_channels", "name"]);
    assert_eq!(names[0]["name"], format!("{} -> {} (1)", peer.local_address(), broker.address));
}

#[test]
fn a_connection_is_closed_with_the_reason_by_pid_and_by_name() {
    let broker = Broker::start(Launch::new());
    for column in ["pid", "name"] {
        let mut peer = Login::new().connect(broker.address);
        let found = list(&broker, &["list_connections", column]);
        let which = found[0][column].as_str().unwrap();
        ctl(&broker, &["close_connection", which, "go away"])
            .printed(&format!("Closing connection {which}, reason: go away...\n"));
        peer.expect_connection_close(320, "CONNECTION_FORCED - go away", (0, 0));
        ctl(&broker, &["close_connection", which, "again"]).failed(65, "does not exist");
    }
    ctl(&broker, &["close_connection", "nonsense", "x"]).failed(65, "Connection nonsense does not exist");
}

#[test]
fn connections_are_closed_by_virtual_host_and_by_user() {
    let launch = Launch::new().arg("--vhost").arg("other").arg("--user").arg("alice:x");
    let broker = Broker::start(launch);
    let connect = || Login::new().connect(broker.address);
    let closed = |mut peer: Peer, reason: &str| {
        peer.expect_connection_close(320, &format!("CONNECTION_FORCED - {reason}"), (0, 0));
    };
    let (here, there) = (connect(), Login::new().vhost("other").connect(broker.address));
    ctl(&broker, &["close_all_connections", "-p", "other", "moving"])
        .printed("Closing all connections in vhost other, reason: moving...\nClosed 1 connections\n");
    closed(there, "moving");
    let second = connect();
    ctl(&broker, &["close_all_connections", "--limit", "1", "one"])
        .printed("Closing 1 connections in vhost /, reason: one...\nClosed 1 connections\n");
    closed(here, "one");
    let alice = Login::new().user("alice", "x").vhost("other").connect(broker.address);
    ctl(&broker, &["close_all_user_connections", "alice", "bye"])
        .printed("Closing connections of user alice, reason: bye...\n");
    closed(alice, "bye");
    ctl(&broker, &["-q", "close_all_connections", "--global", "all"]).printed("Closed 1 connections\n");
    closed(second, "all");
}

/// One that does not read its socket is told by the end of it.
#[test]
fn a_client_that_does_not_read_is_closed_too() {
    let broker = Broker::start(Launch::new().limit("close_timeout_ms", 200));
    let mut deaf = Login::new().connect(broker.address);
    deaf.call(1, &queue_declare("q"));
    let mut other = Login::new().connect(broker.address);
    deaf.call(1, &consume("q", "t").on("no-ack"));
    let body = "x".repeat(100_000);
    for _ in 0..200 {
        other.publish(1, "", "q", &body);
    }
    other.call(1, &queue_declare("z"));
    let found = list(&broker, &["list_connections", "pid", "peer_port"]);
    let row = found.as_array().unwrap().iter().find(|row| row["peer_port"] == deaf.local_address().port()).unwrap();
    ctl(&broker, &["-q", "close_connection", row["pid"].as_str().unwrap(), "deaf"]).printed("");
    broker.wait_for_log(&["no connection.close-ok from client"]);
    assert_eq!(list(&broker, &["list_connections"]).as_array().unwrap().len(), 1);
}
