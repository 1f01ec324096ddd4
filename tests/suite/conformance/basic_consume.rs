//! Section 1.5: consumers.

use crate::support::broker;
use crate::support::peer::*;
use crate::support::props::NONE;
use crate::support::unique;
use crate::support::wire::*;

#[test]
fn consume_ok_comes_before_the_first_delivery() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for body in ["one", "two"] {
        peer.publish(1, "", &queue, body);
    }
    peer.consume(1, &queue, "my tag");
    let deliveries = peer.expect_bodies(1, &["one", "two"]);
    for (at, delivery) in deliveries.iter().enumerate() {
        assert_eq!(delivery.consumer(), "my tag");
        assert_eq!(delivery.tag(), at as u64 + 1);
        assert!(!delivery.redelivered());
    }
}

#[test]
fn an_empty_tag_is_filled_in_by_the_broker() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    let tags: Vec<String> =
        (0..2).map(|_| peer.call(1, &consume(&queue, "")).text("consumer-tag").to_owned()).collect();
    assert_ne!(tags[0], tags[1]);
    for tag in &tags {
        assert!(tag.starts_with("amq.ctag-") && tag.len() == 31, "{tag}");
    }
    peer.publish(1, "", &queue, "x");
    assert!(tags.contains(&peer.expect_delivery(1).consumer().to_owned()));
}

#[test]
fn a_tag_is_used_once_in_a_channel() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.open_channel(2);
    peer.consume(1, &queue, "t");
    peer.consume(2, &queue, "t");
    peer.call(1, &cancel("t"));
    peer.consume(1, &queue, "t");
    peer.fatal(1, &consume(&queue, "t"), 530, "NOT_ALLOWED - attempt to reuse consumer tag 't'");
}

#[test]
fn a_missing_queue() {
    let mut peer = Peer::connect();
    let queue = unique("missing");
    peer.refused(1, &consume(&queue, "t"), 404, &format!("NOT_FOUND - no queue '{queue}' in vhost '/'"));
}

#[test]
fn no_ack_deliveries_are_settled_when_they_are_sent() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.publish(1, "", &queue, "one");
    peer.call(1, &consume(&queue, "t").on("no-ack"));
    assert_eq!(peer.expect_delivery(1).tag(), 1);
    peer.publish(1, "", &queue, "two");
    assert_eq!(peer.expect_delivery(1).tag(), 2);
    peer.call(1, &queue_declare(&queue).on("passive"));
    peer.call(1, &cancel("t"));
    peer.refused(1, &ack(2), 406, "PRECONDITION_FAILED - unknown delivery tag 2");
    peer.expect_counts(1, &queue, (0, 0));
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = unique("alone");
    let mut other = Peer::connect();
    peer.call(1, &queue_declare(&queue));
    let text = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    peer.call(1, &consume(&queue, "alone").on("exclusive"));
    peer.refused(2, &consume(&queue, "t"), 403, &text);
    other.refused(1, &consume(&queue, "t"), 403, &text);
    other.refused(1, &consume(&queue, "t").on("exclusive"), 403, &text);
    assert!(other.get(1, &queue).is_none(), "a get is no consumer");
    peer.call(1, &cancel("alone"));
    other.consume(1, &queue, "t");
    peer.refused(2, &consume(&queue, "alone").on("exclusive"), 403, &text);
    other.call(1, &cancel("t"));
    peer.call(1, &consume(&queue, "alone").on("exclusive"));
    peer.close_channel(1);
    other.call(1, &consume(&queue, "t").on("exclusive"));
    other.call(1, &queue_delete(&queue));
}

#[test]
fn no_local_is_read_and_ignored() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.call(1, &consume(&queue, "t").on("no-local"));
    peer.publish(1, "", &queue, "own");
    peer.expect_bodies(1, &["own"]);
}

#[test]
fn nowait_leaves_out_the_answers() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.send(1, &consume(&queue, "t").on("nowait"));
    peer.publish(1, "", &queue, "x");
    assert_eq!(peer.expect_delivery(1).consumer(), "t");
    peer.send(1, &cancel("t").on("nowait"));
    peer.send(1, &cancel("unknown").on("nowait"));
    peer.publish(1, "", &queue, "y");
    peer.expect_nothing_from(1, &queue);
    peer.expect_counts(1, &queue, (1, 0));
}

#[test]
fn nothing_is_delivered_after_cancel_ok_and_what_was_can_be_acknowledged() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.publish(1, "", &queue, "one");
    peer.publish(1, "", &queue, "two");
    peer.consume(1, &queue, "t");
    peer.expect_bodies(1, &["one", "two"]);
    assert_eq!(peer.call(1, &cancel("t")).text("consumer-tag"), "t");
    peer.publish(1, "", &queue, "three");
    peer.expect_nothing_from(1, &queue);
    peer.expect_counts(1, &queue, (1, 0));
    peer.send(1, &ack(1));
    peer.send(1, &nack(2).on("requeue"));
    assert_eq!(peer.drain(1, &queue), ["two", "three"]);
}

#[test]
fn what_a_cancelled_consumer_had_goes_back_when_the_channel_closes() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.open_channel(2);
    peer.publish(1, "", &queue, "x");
    peer.consume(2, &queue, "t");
    peer.expect_delivery(2);
    peer.call(2, &cancel("t"));
    peer.expect_counts(1, &queue, (0, 0));
    peer.close_channel(2);
    let message = peer.get_no_ack(1, &queue).expect("the message");
    assert!(message.redelivered());
}

#[test]
fn an_unknown_tag_is_cancelled_already() {
    let mut peer = Peer::connect();
    assert_eq!(peer.call(1, &cancel("unknown")).text("consumer-tag"), "unknown");
    assert_eq!(peer.call(1, &cancel("")).text("consumer-tag"), "");
}

#[test]
fn consumers_take_turns() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for tag in ["a", "b", "c"] {
        peer.consume(1, &queue, tag);
    }
    for n in 0..9 {
        peer.publish(1, "", &queue, &n.to_string());
    }
    let tags: Vec<String> = (0..9).map(|_| peer.expect_delivery(1).consumer().to_owned()).collect();
    assert_eq!(tags, ["a", "b", "c", "a", "b", "c", "a", "b", "c"]);
}

#[test]
fn a_higher_priority_is_served_first_while_it_has_credit() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    peer.consume(1, &queue, "default");
    peer.call(1, &qos(2));
    peer.call(1, &consume(&queue, "high").args([("x-priority", i(10))]));
    peer.call(1, &qos(0));
    peer.call(1, &consume(&queue, "low").args([("x-priority", Value::I64(-10))]));
    for n in 0..4 {
        peer.publish(1, "", &queue, &n.to_string());
    }
    let deliveries: Vec<Message> = (0..4).map(|_| peer.expect_delivery(1)).collect();
    let tags: Vec<&str> = deliveries.iter().map(Message::consumer).collect();
    assert_eq!(tags, ["high", "high", "default", "default"]);
    peer.send(1, &ack(deliveries[0].tag()));
    peer.publish(1, "", &queue, "4");
    assert_eq!(peer.expect_delivery(1).consumer(), "high");
    peer.call(1, &cancel("default"));
    peer.publish(1, "", &queue, "5");
    assert_eq!(peer.expect_delivery(1).consumer(), "low");
}

#[test]
fn a_priority_is_an_integer() {
    let mut peer = Peer::connect();
    let queue = peer.exclusive_queue(1);
    for (value, kind) in [(s("high"), "longstr"), (Value::F64(1.5), "double"), (Value::Bool(true), "bool")] {
        peer.refused(
            1,
            &consume(&queue, "t").args([("x-priority", value)]),
            406,
            &format!("PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': \"expected integer, got {kind}\""),
        );
    }
    peer.call(1, &consume(&queue, "t").args([("x-priority", Value::I64(i64::MIN)), ("x-unknown", s("a"))]));
}

#[test]
fn a_cancel_by_the_broker_only_for_those_who_understand() {
    let queue = unique("cancelled");
    let mut peer = Login::new().capabilities(&[]).connect(broker::shared());
    let mut other = Peer::connect();
    other.call(1, &queue_declare(&queue));
    peer.consume(1, &queue, "t");
    other.consume(1, &queue, "t");
    other.call(1, &queue_delete(&queue));
    assert_eq!(other.expect(1, "basic.cancel").text("consumer-tag"), "t");
    peer.expect_nothing_before_sync(1);
    // The tag is free again.
    let queue = peer.exclusive_queue(1);
    peer.consume(1, &queue, "t");
    other.call(1, &cancel("t"));
}

#[test]
fn a_message_goes_to_one_consumer_of_a_queue_and_to_every_queue() {
    let mut peer = Peer::connect();
    let (one, two) = (peer.exclusive_queue(1), peer.exclusive_queue(1));
    let key = unique("key");
    for queue in [&one, &two] {
        peer.call(1, &queue_bind(queue, "amq.direct", &key));
        peer.consume(1, queue, &format!("{queue} first"));
        peer.consume(1, queue, &format!("{queue} second"));
    }
    peer.publish(1, "amq.direct", &key, "x");
    let mut tags: Vec<String> = (0..2).map(|_| peer.expect_delivery(1).consumer().to_owned()).collect();
    tags.sort();
    let mut expected = [format!("{one} first"), format!("{two} first")];
    expected.sort();
    assert_eq!(tags, expected);
    peer.expect_nothing_from(1, &one);
    peer.expect_nothing_from(1, &two);
}

#[test]
fn a_consumer_on_another_connection() {
    let queue = unique("shared");
    let (mut publisher, mut consumer) = (Peer::connect(), Peer::connect());
    publisher.call(1, &queue_declare(&queue).on("auto-delete"));
    consumer.consume(1, &queue, "t");
    for n in 0..200 {
        publisher.send_publish(1, &publish("", &queue), NONE, n.to_string().as_bytes());
        let delivery = consumer.expect_delivery(1);
        assert_eq!(delivery.body_text(), n.to_string());
        consumer.send(1, &ack(delivery.tag()));
    }
    consumer.expect_counts(1, &queue, (0, 1));
}
