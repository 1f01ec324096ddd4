//! Tables of what there is.

use serde_json::json;

use super::{ctl, list};
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::wire::*;

#[test]
fn queues_are_listed_by_name_with_their_figures() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("b").on("durable").args([("x-max-length", i(10)), ("x-overflow", s("drop-head"))]));
    peer.call(1, &queue_declare("a").on("exclusive").on("auto-delete"));
    peer.publish(1, "", "b", "x");
    peer.publish(1, "", "b", "y");
    peer.wait_for_counts(1, "b", (2, 0));
    assert!(peer.get(1, "b").is_some());
    peer.open_channel(2);
    peer.call(2, &consume("a", "t").on("exclusive"));

    ctl(&broker, &["list_queues"])
        .printed("Timeout: 60.0 seconds ...\nListing queues for vhost / ...\nname\tmessages\na\t0\nb\t2\n");
    ctl(&broker, &["-q", "list_queues", "messages,name"]).printed("messages\tname\n0\ta\n2\tb\n");
    ctl(&broker, &["-s", "list_queues", "name", "arguments"])
        .printed("a\t[]\nb\t[{\"x-max-length\",10},{\"x-overflow\",\"drop-head\"}]\n");
    ctl(&broker, &["--formatter", "csv", "list_queues", "name", "durable"])
        .printed("\"name\",\"durable\"\n\"a\",\"false\"\n\"b\",\"true\"\n");
    let queues = list(
        &broker,
        &[
            "list_queues",
            "name",
            "exclusive",
            "auto_delete",
            "consumers",
            "messages_ready",
            "messages_unacknowledged",
            "exclusive_consumer_tag",
            "type",
            "state",
        ],
    );
    assert_eq!(
        queues,
        json!([
            {"name": "a", "exclusive": true, "auto_delete": true, "consumers": 1, "messages_ready": 0,
             "messages_unacknowledged": 0, "exclusive_consumer_tag": "t", "type": "classic", "state": "running"},
            {"name": "b", "exclusive": false, "auto_delete": false, "consumers": 0, "messages_ready": 1,
             "messages_unacknowledged": 1, "exclusive_consumer_tag": null, "type": "classic", "state": "running"},
        ])
    );
}

#[test]
fn a_virtual_host_that_does_not_exist_is_65() {
    let broker = Broker::start(Launch::new().arg("--vhost").arg("other"));
    for command in ["list_queues", "list_exchanges", "list_bindings", "list_consumers", "trace_on"] {
        ctl(&broker, &[command, "-p", "none"]).failed(65, "Virtual host 'none' does not exist");
    }
    ctl(&broker, &["-p", "other", "list_queues"])
        .printed("Timeout: 60.0 seconds ...\nListing queues for vhost other ...\n");
}

#[test]
fn exchanges_and_bindings_are_listed_with_their_arguments() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("q"));
    peer.call(1, &exchange_declare("x", "headers").on("durable").args([("alternate-exchange", s("amq.fanout"))]));
    peer.call(1, &queue_bind("q", "x", "k").args([("h", i(1))]));
    peer.call(1, &exchange_bind("amq.topic", "x", ""));
    let exchanges = ctl(&broker, &["-q", "list_exchanges"]).out;
    assert_eq!(
        exchanges,
        "name\ttype\n\tdirect\namq.direct\tdirect\namq.fanout\tfanout\namq.headers\theaders\namq.match\theaders\n\
         amq.rabbitmq.trace\ttopic\namq.topic\ttopic\nx\theaders\n"
    );
    let columns = ["list_exchanges", "name", "durable", "auto_delete", "internal", "arguments"];
    let exchanges = list(&broker, &columns);
    assert_eq!(
        exchanges.as_array().unwrap().last(),
        Some(&json!({"name": "x", "durable": true, "auto_delete": false, "internal": false,
                     "arguments": {"alternate-exchange": "amq.fanout"}}))
    );
    ctl(&broker, &["list_bindings"]).printed(
        "Listing bindings for vhost /...\n\
         source_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key\targuments\n\
         \texchange\tq\tqueue\tq\t[]\n\
         x\texchange\tamq.topic\texchange\t\t[]\n\
         x\texchange\tq\tqueue\tk\t[{\"h\",1}]\n",
    );
}

#[test]
fn consumers_are_listed_with_what_they_asked_for() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("q"));
    peer.call(1, &qos(7));
    peer.call(1, &consume("q", "t").args([("x-priority", i(3))]));
    peer.call(1, &consume("q", "u").on("no-ack"));
    let consumers = list(&broker, &["list_consumers"]);
    let pid = consumers[0]["channel_pid"].as_str().unwrap();
    assert!(pid.ends_with(".1>"), "{pid}");
    assert_eq!(
        consumers,
        json!([
            {"queue_name": "q", "channel_pid": pid, "consumer_tag": "t", "ack_required": true, "prefetch_count": 7,
             "active": true, "arguments": {"x-priority": 3}},
            {"queue_name": "q", "channel_pid": pid, "consumer_tag": "u", "ack_required": false, "prefetch_count": 7,
             "active": true, "arguments": {}},
        ])
    );
}

/// Names are the clients' choice: none breaks a line or speaks to the terminal.
#[test]
fn names_cannot_break_out_of_their_cell() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("a\tb\u{1b}[2J\\"));
    ctl(&broker, &["-s", "list_queues", "name"]).printed("a\\011b\\033[2J\\\\\n");
    assert_eq!(list(&broker, &["list_queues", "name"]), json!([{"name": "a\tb\u{1b}[2J\\"}]));
}

#[test]
fn many_queues_are_listed_whole() {
    let broker = Broker::start(Launch::new());
    let mut peer = Login::new().connect(broker.address);
    for number in 0..3000 {
        peer.send(1, &queue_declare(&format!("q{number:04}")).on("nowait"));
    }
    peer.call(1, &queue_declare("z"));
    let queues = list(&broker, &["list_queues", "name", "messages"]);
    let queues = queues.as_array().unwrap();
    assert_eq!((queues.len(), &queues[2999]["name"]), (3001, &json!("q2999")));
}
