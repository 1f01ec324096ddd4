//! What may have been delivered before the end comes back with the flag.
//!
//! RabbitMQ 3.10 flags everything after a kill, delivered or not. Leveret remembers how far each queue was delivered.

use crate::durability::node::{Node, Way, in_every_way};
use crate::durability::publisher::*;
use crate::support::broker::under_test_is_foreign;
use crate::support::peer::*;
use crate::support::unique;

/// A durable queue with these messages and the publisher that brought them.
#[track_caller]
fn filled(node: &Node, bodies: &[&str]) -> (Publisher, String) {
    let mut publisher = node.publisher();
    let queue = unique("q");
    publisher.call(2, &durable_queue(&queue));
    publisher.keep(&queue, bodies);
    (publisher, queue)
}

/// All that is ready, with the flag of each.
#[track_caller]
fn flags(peer: &mut Peer, queue: &str) -> Vec<(String, bool)> {
    std::iter::from_fn(|| peer.get_no_ack(1, queue))
        .map(|message| (message.body_text().to_owned(), message.redelivered()))
        .collect()
}

/// Whether the broker has lost what it knew of deliveries.
fn flags_everything(node: &Node) -> bool {
    under_test_is_foreign() && node.way() != Way::Orderly
}

#[track_caller]
fn expect_flags(node: &Node, queue: &str, expected: &[(&str, bool)]) {
    let flag = |flag: bool| flag || flags_everything(node);
    let expected: Vec<_> = expected.iter().map(|(body, delivered)| ((*body).to_owned(), flag(*delivered))).collect();
    assert_eq!(flags(&mut node.peer(), queue), expected);
}

#[test]
fn never_delivered() {
    in_every_way(|node| {
        let (_publisher, queue) = filled(node, &["one", "two"]);
        node.restart();
        expect_flags(node, &queue, &[("one", false), ("two", false)]);
    });
}

#[test]
fn delivered_and_not_acknowledged() {
    in_every_way(|node| {
        let (mut publisher, queue) = filled(node, &["one", "two", "three", "four"]);
        publisher.call(2, &qos(2));
        publisher.consume(2, &queue, "t");
        publisher.expect_bodies(2, &["one", "two"]);
        publisher.settle(&queue);
        node.restart();
        let expected = [("one", true), ("two", true), ("three", false), ("four", false), ("fence", false)];
        expect_flags(node, &queue, &expected);
    });
}

#[test]
fn got_and_not_acknowledged() {
    in_every_way(|node| {
        let (mut publisher, queue) = filled(node, &["one", "two"]);
        publisher.get(2, &queue).expect("a message");
        publisher.settle(&queue);
        node.restart();
        expect_flags(node, &queue, &[("one", true), ("two", false), ("fence", false)]);
    });
}

#[test]
fn requeued() {
    in_every_way(|node| {
        let (mut publisher, queue) = filled(node, &["one", "two", "three"]);
        for _ in 0..2 {
            publisher.get(2, &queue).expect("a message");
        }
        publisher.send(2, &reject(1).on("requeue"));
        publisher.send(2, &nack(2).on("requeue"));
        publisher.wait_for_counts(2, &queue, (3, 0));
        publisher.settle(&queue);
        node.restart();
        expect_flags(node, &queue, &[("one", true), ("two", true), ("three", false), ("fence", false)]);
    });
}

#[test]
fn requeued_as_its_connection_closed() {
    in_every_way(|node| {
        let (mut publisher, queue) = filled(node, &["one", "two"]);
        let mut consumer = node.peer();
        consumer.get(1, &queue).expect("a message");
        consumer.close();
        publisher.wait_for_counts(2, &queue, (2, 0));
        publisher.settle(&queue);
        node.restart();
        expect_flags(node, &queue, &[("one", true), ("two", false), ("fence", false)]);
    });
}

/// A consumer that saw them, did not acknowledge them, and sees them again after each of several restarts.
#[test]
fn the_flag_stays_over_several_restarts() {
    in_every_way(|node| {
        let (mut publisher, queue) = filled(node, &["one", "two"]);
        publisher.get(2, &queue).expect("a message");
        publisher.settle(&queue);
        node.restart();
        node.peer().expect_counts(1, &queue, (3, 0));
        node.restart();
        node.peer().expect_counts(1, &queue, (3, 0));
        node.restart();
        expect_flags(node, &queue, &[("one", true), ("two", false), ("fence", false)]);
    });
}

#[test]
fn delivered_only_after_a_restart() {
    in_every_way(|node| {
        let (_publisher, queue) = filled(node, &["one", "two"]);
        node.restart();
        let mut publisher = node.publisher();
        let first = publisher.get(2, &queue).expect("a message");
        assert_eq!(first.redelivered(), flags_everything(node));
        publisher.settle(&queue);
        node.restart();
        expect_flags(node, &queue, &[("one", true), ("two", false), ("fence", false)]);
    });
}
