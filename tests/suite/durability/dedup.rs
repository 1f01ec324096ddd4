//! What queues and exchanges remember to tell duplicates.

use crate::durability::node::{Node, in_every_way};
use crate::durability::publisher::*;
use crate::leveret_only;
use crate::support::peer::*;
use crate::support::props::props;
use crate::support::unique;
use crate::support::wire::*;

fn on() -> (&'static str, Value) {
    ("x-message-deduplication", Value::Bool(true))
}

fn keyed(key: &str, mode: u8) -> Vec<u8> {
    props().headers([("x-deduplication-header", s(key))]).octet("delivery-mode", mode).bytes()
}

/// Publishes messages, each with its key as its body, and waits until all are confirmed.
#[track_caller]
fn keep(publisher: &mut Publisher, exchange: &str, key: &str, keys: &[&str]) {
    keys.iter().for_each(|name| publisher.publish_with(exchange, key, &keyed(name, 2), name.as_bytes()));
    publisher.wait();
}

/// Takes all messages out of the queue, for good.
#[track_caller]
fn take(node: &Node, queue: &str) -> Vec<String> {
    let mut publisher = node.publisher();
    let mut bodies = publisher.drain(2, queue);
    // That of the last time may have come back.
    bodies.retain(|body| body != "fence");
    publisher.settle(queue);
    assert_eq!(publisher.drain(2, queue), ["fence"]);
    bodies
}

#[test]
fn a_durable_queue_remembers() {
    leveret_only!("it is a plugin there");
    in_every_way(|node| {
        let queue = unique("once");
        let mut publisher = node.publisher();
        publisher.call(2, &durable_queue(&queue).args([on(), ("x-cache-size", i(3))]));
        keep(&mut publisher, "", &queue, &["a", "b", "c", "d", "d"]);
        assert_eq!(take(node, &queue), ["a", "b", "c", "d"]);
        node.restart();
        keep(&mut node.publisher(), "", &queue, &["b", "c", "d"]);
        assert_eq!(take(node, &queue), [""; 0]);
        keep(&mut node.publisher(), "", &queue, &["a", "b", "d"]);
        assert_eq!(take(node, &queue), ["a", "b"]);
        node.restart();
        keep(&mut node.publisher(), "", &queue, &["d", "a", "b", "c"]);
        assert_eq!(take(node, &queue), ["c"]);
    });
}

#[test]
fn a_durable_exchange_remembers() {
    leveret_only!("it is a plugin there");
    for kind in ["fanout", "x-message-deduplication"] {
        in_every_way(|node| {
            let (exchange, queue) = (unique("once"), unique("plain"));
            let mut publisher = node.publisher();
            publisher.call(2, &durable_queue(&queue));
            publisher.call(2, &durable_exchange(&exchange, kind).args([on(), ("x-cache-size", i(3))]));
            publisher.call(2, &queue_bind(&queue, &exchange, ""));
            keep(&mut publisher, &exchange, "", &["a", "b", "c", "d", "d"]);
            assert_eq!(take(node, &queue), ["a", "b", "c", "d"]);
            node.restart();
            keep(&mut node.publisher(), &exchange, "", &["b", "c", "d", "a", "d"]);
            assert_eq!(take(node, &queue), ["a"]);
            node.restart();
            keep(&mut node.publisher(), &exchange, "", &["c", "d", "a", "b"]);
            assert_eq!(take(node, &queue), ["b"]);
        });
    }
}

#[test]
fn what_is_not_durable_is_forgotten_with_its_message() {
    leveret_only!("it is a plugin there");
    in_every_way(|node| {
        let queue = unique("once");
        let mut publisher = node.publisher();
        publisher.call(2, &durable_queue(&queue).args([on()]));
        publisher.publish_with("", &queue, &keyed("a", 1), b"lost");
        publisher.publish_with("", &queue, &keyed("b", 2), b"kept");
        publisher.wait();
        node.restart();
        keep(&mut node.publisher(), "", &queue, &["a", "b"]);
        assert_eq!(take(node, &queue), ["kept", "a"]);
    });
}

#[test]
fn what_is_to_be_in_memory_is_forgotten() {
    leveret_only!("it is a plugin there");
    in_every_way(|node| {
        let (exchange, queue) = (unique("once"), unique("plain"));
        let mut publisher = node.publisher();
        publisher.call(2, &durable_queue(&queue));
        let arguments = [("x-cache-size", i(3)), ("x-cache-persistence", s("memory"))];
        publisher.call(2, &durable_exchange(&exchange, "x-message-deduplication").args(arguments));
        publisher.call(2, &queue_bind(&queue, &exchange, ""));
        keep(&mut publisher, &exchange, "", &["a", "a"]);
        node.restart();
        keep(&mut node.publisher(), &exchange, "", &["a", "a"]);
        assert_eq!(take(node, &queue), ["a", "a"]);
    });
}

#[test]
fn time_goes_on_while_the_broker_is_down() {
    leveret_only!("it is a plugin there");
    in_every_way(|node| {
        let queue = unique("once");
        let mut publisher = node.publisher();
        publisher.call(2, &durable_queue(&queue).args([on()]));
        let short = props().headers([("x-deduplication-header", s("short")), ("x-cache-ttl", i(1))]);
        let long = props().headers([("x-deduplication-header", s("long")), ("x-cache-ttl", i(600_000))]);
        for properties in [short, long] {
            publisher.publish_with("", &queue, &properties.octet("delivery-mode", 2).bytes(), b"first");
        }
        publisher.wait();
        node.restart();
        keep(&mut node.publisher(), "", &queue, &["short", "long"]);
        assert_eq!(take(node, &queue), ["first", "first", "short"]);
    });
}

#[test]
fn what_is_deleted_remembers_nothing() {
    leveret_only!("it is a plugin there");
    in_every_way(|node| {
        let (exchange, queue) = (unique("once"), unique("once"));
        for _ in 0..2 {
            let mut publisher = node.publisher();
            publisher.call(2, &durable_queue(&queue).args([on()]));
            publisher.call(2, &durable_exchange(&exchange, "fanout").args([on()]));
            publisher.call(2, &queue_bind(&queue, &exchange, ""));
            keep(&mut publisher, "", &queue, &["a"]);
            keep(&mut publisher, &exchange, "", &["b"]);
            assert_eq!(publisher.drain(2, &queue), ["a", "b"]);
            publisher.call(2, &queue_delete(&queue));
            publisher.call(2, &exchange_delete(&exchange));
            node.restart();
        }
    });
}

/// The broker ends in the middle of publishing; then everything is published again.
#[test]
fn a_key_is_remembered_if_its_message_is_there() {
    leveret_only!("it is a plugin there");
    in_every_way(|node| {
        let queue = unique("once");
        let mut publisher = node.publisher();
        publisher.call(2, &durable_queue(&queue).args([on(), ("x-cache-size", i(100_000))]));
        let names: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        for name in &names {
            publisher.publish_with("", &queue, &keyed(name, 2), name.as_bytes());
        }
        node.restart();
        let mut publisher = node.publisher();
        for name in &names {
            publisher.publish_with("", &queue, &keyed(name, 2), name.as_bytes());
        }
        publisher.wait();
        let mut found = publisher.drain(2, &queue);
        found.sort_by_key(|name| name.parse::<u32>().expect("a number"));
        assert_eq!(found, names);
    });
}
