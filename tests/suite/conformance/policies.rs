//! Section 2.5: what policies and limits of virtual hosts do to clients. They come with definitions.

use std::path::PathBuf;

use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::props::NONE;
use crate::support::wire::*;

/// A broker that has loaded this document; and the directory in which it is.
fn broker_with(definitions: &str) -> (Broker, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("definitions.json");
    std::fs::write(&path, definitions).expect("the file can be written");
    (Broker::start(launch(&path)), directory)
}

fn launch(path: &std::path::Path) -> Launch {
    Launch::new().env("LEVERET_LOAD_DEFINITIONS", path.to_str().expect("a path that is text"))
}

fn suite_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/suite/definitions").join(name)
}

#[test]
fn an_alternate_exchange_may_come_by_policy_and_an_argument_comes_before_it() {
    let (mut broker, _directory) = broker_with(
        r#"{"policies": [{"vhost": "/", "name": "ae", "pattern": "^main", "apply-to": "exchanges",
                          "definition": {"alternate-exchange": "by-policy"}}]}"#,
    );
    let mut peer = Login::new().connect(broker.address);
    for (exchange, queue) in [("by-policy", "policy-queue"), ("by-argument", "argument-queue")] {
        peer.call(1, &exchange_declare(exchange, "fanout").on("durable"));
        peer.call(1, &queue_declare(queue).on("durable"));
        peer.call(1, &queue_bind(queue, exchange, ""));
    }
    peer.call(1, &exchange_declare("main", "direct").on("durable"));
    let argued = exchange_declare("main.argued", "direct").args([("alternate-exchange", s("by-argument"))]);
    peer.call(1, &argued);
    peer.send_publish(1, &publish("main", "k").on("mandatory"), NONE, b"policy");
    peer.send_publish(1, &publish("main.argued", "k").on("mandatory"), NONE, b"argument");
    assert_eq!(peer.drain(1, "policy-queue"), ["policy"]);
    assert_eq!(peer.drain(1, "argument-queue"), ["argument"]);
    peer.close();

    broker.restart();
    let mut peer = Login::new().connect(broker.address);
    peer.publish(1, "main", "k", "again");
    assert_eq!(peer.drain(1, "policy-queue"), ["again"]);
    peer.close();
}

#[test]
fn a_virtual_host_has_no_more_queues_than_its_limit() {
    let (broker, _directory) = broker_with(
        r#"{"parameters": [{"vhost": "/", "component": "vhost-limits", "name": "limits", "value": {"max-queues": 2}}]}"#,
    );
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("a"));
    peer.call(1, &queue_declare("b").on("exclusive"));
    let text = "PRECONDITION_FAILED - cannot declare queue 'c': queue limit in vhost '/' (2) is reached";
    peer.refused(1, &queue_declare("c"), 406, text);
    // The limit comes before the arguments.
    peer.refused(1, &queue_declare("c").args([("x-dead-letter-exchange", i(5))]), 406, text);
    peer.call(1, &queue_declare("a"));
    peer.refused(1, &queue_declare("c").on("passive"), 404, "NOT_FOUND - no queue 'c' in vhost '/'");
    peer.call(1, &queue_delete("a"));
    peer.call(1, &queue_declare("c"));
    peer.close();
}

#[test]
fn a_virtual_host_has_no_more_connections_than_its_limit() {
    let (broker, _directory) = broker_with(
        r#"{"parameters": [{"vhost": "/", "component": "vhost-limits", "name": "limits",
                            "value": {"max-connections": 1}}]}"#,
    );
    let first = Login::new().connect(broker.address);
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached";
    let mut second = Login::new().opening(broker.address);
    second.send(0, &Login::new().open());
    second.expect_connection_close(530, text, (10, 40));
    first.close();
    // The one who has been told that it is closed has made room.
    Login::new().connect(broker.address).close();
}

#[test]
fn a_file_of_rabbitmq_3_is_what_clients_find() {
    let broker = Broker::start(launch(&suite_file("rabbitmq-3.10.8.json")));
    Login::new().user("alice", "wonderland").vhost("shop").connect(broker.address).close();
    let mut peer = Login::new().vhost("shop").connect(broker.address);
    // The types are those that the client gave RabbitMQ.
    let arguments = [
        ("x-message-ttl", i(30000)),
        ("x-expires", i(3_600_000)),
        ("x-dead-letter-exchange", s("dlx")),
        ("x-single-active-consumer", Value::Bool(true)),
        ("x-overflow", s("reject-publish-dlx")),
    ];
    peer.call(1, &queue_declare("orders.ttl").on("durable").args(arguments));
    peer.call(1, &queue_declare("orders.new").on("passive"));
    peer.refused(1, &queue_declare("log").on("passive"), 404, "NOT_FOUND - no queue 'log' in vhost 'shop'");
    peer.close();
    broker.wait_for_log(&["queue 'log' in vhost 'shop'", "unsupported queue type 'stream'"]);
}

#[test]
fn a_file_of_rabbitmq_4_is_what_clients_find_and_no_default_user_is_made() {
    let mut broker = Broker::start(launch(&suite_file("rabbitmq-4.json")));
    let login = || Login::new().user("carol", "test12").vhost("billing");
    for _ in 0..2 {
        let mut peer = login().connect(broker.address);
        let arguments = [
            ("x-queue-type", s("quorum")),
            ("x-quorum-initial-group-size", i(3)),
            ("x-single-active-consumer", Value::Bool(true)),
        ];
        peer.call(1, &queue_declare("invoices").on("durable").args(arguments));
        let other = queue_declare("invoices").on("durable").args([("x-queue-type", s("quorum"))]);
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-single-active-consumer' for queue 'invoices' in vhost \
                    'billing': received none but current is the value 'true' of type 'bool'";
        peer.refused(1, &other, 406, text);
        peer.publish(1, "events", "invoice.new", "one");
        assert_eq!(peer.drain(1, "invoices"), ["one"]);
        peer.close();
        let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker \
                    logfile.";
        let guest = Login::new().capabilities(&["authentication_failure_close"]);
        let mut peer = guest.started(broker.address);
        peer.send(0, &guest.start_ok());
        peer.expect_connection_close(403, text, (0, 0));
        broker.restart();
    }
}

#[test]
fn what_was_deleted_comes_back_unless_unchanged_files_are_skipped() {
    let document = r#"{"queues": [{"vhost": "/", "name": "q", "durable": true}]}"#;
    let (mut broker, _directory) = broker_with(document);
    let delete = |broker: &Broker| {
        let mut peer = Login::new().connect(broker.address);
        peer.call(1, &queue_declare("q").on("passive"));
        peer.call(1, &queue_delete("q"));
        peer.close();
    };
    delete(&broker);
    broker.relaunch(|launch| launch.env("LEVERET_DEFINITIONS__SKIP_IF_UNCHANGED", "true"));
    broker.restart();
    delete(&broker);
    broker.restart();
    let mut peer = Login::new().connect(broker.address);
    peer.refused(1, &queue_declare("q").on("passive"), 404, "NOT_FOUND - no queue 'q' in vhost '/'");
    peer.close();
}
