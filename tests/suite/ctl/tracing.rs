//! The firehose, compared with what RabbitMQ 3.10 sends.

use super::ctl;
use crate::support::broker::{Broker, Launch};
use crate::support::peer::*;
use crate::support::props::{NONE, props};
use crate::support::wire::*;

/// A broker that traces, and a client whose queue `t` has the traces.
fn traced() -> (Broker, Peer) {
    let broker = Broker::start(Launch::new());
    ctl(&broker, &["trace_on"]).printed("Starting tracing for vhost \"/\" ...\nTrace enabled for vhost /\n");
    let mut tracer = Login::new().connect(broker.address);
    tracer.call(1, &queue_declare("t"));
    tracer.call(1, &queue_bind("t", "amq.rabbitmq.trace", "#"));
    (broker, tracer)
}

fn header(message: &Message, name: &str) -> Value {
    lookup(&message.headers(), name).clone()
}

/// The traces there are: routing key and body.
fn traces(tracer: &mut Peer) -> Vec<(String, String)> {
    let found = std::iter::from_fn(|| tracer.get_no_ack(1, "t"));
    found.map(|trace| (trace.method.text("routing-key").to_owned(), trace.body_text().to_owned())).collect()
}

fn pair(key: &str, body: &str) -> (String, String) {
    (key.to_owned(), body.to_owned())
}

#[test]
fn what_is_published_is_copied_with_what_is_known_of_it() {
    let (broker, mut tracer) = traced();
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &exchange_declare("x", "topic"));
    peer.call(1, &queue_declare("q"));
    peer.call(1, &queue_bind("q", "x", "a.*"));
    let properties = props().text("content-type", "text/plain").octet("priority", 3).headers([("h", i(1))]).bytes();
    peer.send_publish(1, &publish("x", "a.b"), &properties, b"body");
    peer.wait_for_counts(1, "q", (1, 0));
    let trace = tracer.get_no_ack(1, "t").expect("a trace");
    assert_eq!(trace.method.text("exchange"), "amq.rabbitmq.trace");
    assert_eq!(trace.method.text("routing-key"), "publish.x");
    assert_eq!(trace.body, b"body");
    assert_eq!(header(&trace, "exchange_name"), s("x"));
    assert_eq!(header(&trace, "routing_keys"), Value::Array(vec![s("a.b")]));
    assert_eq!(header(&trace, "vhost"), s("/"));
    assert_eq!(header(&trace, "user"), s("guest"));
    assert_eq!(header(&trace, "channel"), i(1));
    assert_eq!(header(&trace, "connection"), s(&format!("{} -> {}", peer.local_address(), broker.address)));
    assert_eq!(header(&trace, "routed_queues"), Value::Array(vec![s("q")]));
    let Value::Table(found) = header(&trace, "properties") else { panic!("a table") };
    assert_eq!(lookup(&found, "content_type"), &s("text/plain"));
    assert_eq!(lookup(&found, "priority"), &i(3));
    assert_eq!(lookup(&found, "headers"), &Value::Table(table([("h", i(1))])));
    assert_eq!(tracer.get_no_ack(1, "t").map(|trace| trace.body), None, "copies are not traced");
}

#[test]
fn what_is_delivered_is_copied_however_it_is_fetched() {
    let (broker, mut tracer) = traced();
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("q"));
    peer.publish(1, "", "q", "m");
    peer.wait_for_counts(1, "q", (1, 0));
    let first = peer.get(1, "q").unwrap();
    peer.send(1, &reject(first.tag()).on("requeue"));
    peer.consume(1, "q", "c");
    peer.expect_delivery(1);
    let traces: Vec<Message> = std::iter::from_fn(|| tracer.get_no_ack(1, "t")).collect();
    let keys: Vec<&str> = traces.iter().map(|trace| trace.method.text("routing-key")).collect();
    assert_eq!(keys, ["publish.", "deliver.q", "deliver.q"]);
    assert_eq!([header(&traces[1], "redelivered"), header(&traces[2], "redelivered")], [i(0), i(1)]);
    assert!(traces[1..].iter().all(|trace| trace.headers().iter().all(|(name, _)| name != "routed_queues")));
}

/// Alike publishes take a shorter way, which must not pass the firehose by; nor must those of transactions.
#[test]
fn every_one_of_many_alike_is_copied_and_none_after_it_is_off() {
    let (broker, mut tracer) = traced();
    let mut peer = Login::new().connect(broker.address);
    peer.call(1, &queue_declare("q"));
    let many = |count: usize| burst((0..count).map(|_| ("", "q", "same".to_owned())));
    peer.send_raw(&many(50));
    peer.wait_for_counts(1, "q", (50, 0));
    assert_eq!(traces(&mut tracer), vec![pair("publish.", "same"); 50]);

    ctl(&broker, &["trace_off"]).printed("Stopping tracing for vhost \"/\" ...\nTrace disabled for vhost /\n");
    peer.send_raw(&many(50));
    peer.wait_for_counts(1, "q", (100, 0));
    assert_eq!(traces(&mut tracer), []);

    ctl(&broker, &["-q", "trace_on"]).printed("Trace enabled for vhost /\n");
    peer.send_raw(&many(10));
    peer.wait_for_counts(1, "q", (110, 0));
    assert_eq!(traces(&mut tracer), vec![pair("publish.", "same"); 10]);

    peer.open_channel(2);
    peer.call(2, &method("tx.select"));
    peer.publish(2, "", "q", "staged");
    peer.call(2, &method("tx.rollback"));
    assert_eq!(traces(&mut tracer), [pair("publish.", "staged")], "traced when published, as RabbitMQ does");
}

#[test]
fn another_virtual_host_is_not_traced() {
    let broker = Broker::start(Launch::new().arg("--vhost").arg("other"));
    ctl(&broker, &["-q", "trace_on", "-p", "other"]).printed("Trace enabled for vhost other\n");
    for (vhost, count) in [("/", 0), ("other", 1)] {
        let mut peer = Login::new().vhost(vhost).connect(broker.address);
        peer.call(1, &queue_declare("t"));
        peer.call(1, &queue_bind("t", "amq.rabbitmq.trace", "publish.#"));
        peer.call(1, &queue_declare("q"));
        peer.send_publish(1, &publish("", "q"), NONE, b"m");
        peer.wait_for_counts(1, "q", (1, 0));
        assert_eq!(traces(&mut peer).len(), count, "{vhost}");
    }
}
