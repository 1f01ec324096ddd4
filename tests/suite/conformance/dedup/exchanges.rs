//! Exchanges that deduplicate: those of the plugin's type, and any other with the argument.

use std::time::Duration;

use super::*;
use crate::leveret_only;

const KIND: &str = "x-message-deduplication";

#[test]
fn the_type_routes_to_all_that_is_new() {
    leveret_only!("it is a plugin there");
    let (mut peer, exchange, queue) = exchange(KIND, [("x-cache-size", i(10))]);
    let other = peer.exclusive_queue(1);
    peer.call(1, &queue_bind(&other, &exchange, "another key"));
    publish_keys(&mut peer, &exchange, "k", &["a", "b", "a"]);
    publish_keys(&mut peer, &exchange, "whatever", &["a", "c", "c"]);
    for queue in [&queue, &other] {
        assert_eq!(peer.drain(1, queue), ["a", "b", "c"]);
    }
}

#[test]
fn any_type_can_be_told_to() {
    leveret_only!("it is a plugin there");
    for kind in ["direct", "fanout", "topic", "headers", "x-random", "x-consistent-hash", "x-recent-history"] {
        let mut peer = Peer::connect();
        let (exchange, queue) = (unique(kind), peer.exclusive_queue(1));
        peer.call(1, &exchange_declare(&exchange, kind).on("auto-delete").args([on()]));
        peer.call(1, &queue_bind(&queue, &exchange, if kind == "x-consistent-hash" { "1" } else { "k" }));
        publish_keys(&mut peer, &exchange, "k", &["a", "b", "a", "a"]);
        for _ in 0..2 {
            peer.publish(1, &exchange, "k", "no header");
        }
        assert_eq!(peer.drain(1, &queue), ["a", "b", "no header", "no header"], "{kind}");
    }
}

#[test]
fn what_is_held_back_is_looked_at_when_it_comes() {
    leveret_only!("it is a plugin there");
    let (mut peer, exchange, queue) = exchange("x-delayed-message", [on(), ("x-delayed-type", s("direct"))]);
    for (key, delay_ms) in [("a", 100), ("a", 1), ("b", 0), ("a", 0), ("b", 50), ("c", 50)] {
        let properties = props().headers([(HEADER, s(key)), ("x-delay", i(delay_ms))]).bytes();
        peer.send_publish(1, &publish(&exchange, "k"), &properties, key.as_bytes());
    }
    peer.wait_for_counts(1, &queue, (3, 0));
    assert_eq!(peer.drain(1, &queue), ["b", "c", "a"]);
}

#[test]
fn what_follows_directly_and_looks_the_same_is_dropped() {
    leveret_only!("it is a plugin there");
    let (mut peer, exchange, queue) = exchange("direct", [on()]);
    publish_keys(&mut peer, &exchange, "k", &["a"; 100]);
    publish_keys(&mut peer, &exchange, "k", &["b", "b", "b", "a"]);
    assert_eq!(peer.drain(1, &queue), ["a", "b"]);
}

#[test]
fn the_oldest_is_forgotten_where_there_are_too_many() {
    leveret_only!("it is a plugin there");
    let (mut peer, exchange, queue) = exchange(KIND, [("x-cache-size", i(2))]);
    publish_keys(&mut peer, &exchange, "", &["a", "b", "a", "c", "a", "b"]);
    assert_eq!(peer.drain(1, &queue), ["a", "b", "c", "a", "b"]);
}

#[test]
fn a_message_is_remembered_for_its_time() {
    leveret_only!("it is a plugin there");
    let (mut peer, exchange, queue) = exchange(KIND, [("x-cache-size", i(10)), ("x-cache-ttl", i(300))]);
    publish_keys(&mut peer, &exchange, "", &["a", "a"]);
    let long = with_ttl("b", 300_000).bytes();
    peer.send_publish(1, &publish(&exchange, ""), &long, b"b");
    peer.expect_counts(1, &queue, (2, 0));
    std::thread::sleep(Duration::from_millis(350)); // the time it is remembered
    publish_keys(&mut peer, &exchange, "", &["a", "b", "a"]);
    assert_eq!(peer.drain(1, &queue), ["a", "b", "a"]);
}

#[test]
fn numbers_may_be_text() {
    leveret_only!("it is a plugin there");
    let (mut peer, exchange, queue) = exchange(KIND, [("x-cache-size", s("1")), ("x-cache-ttl", s("60000"))]);
    publish_keys(&mut peer, &exchange, "", &["a", "a", "b", "a"]);
    assert_eq!(peer.drain(1, &queue), ["a", "b", "a"]);
}

#[test]
fn what_goes_nowhere_is_not_remembered() {
    leveret_only!("it is a plugin there");
    let (mut peer, exchange, queue) = exchange("direct", [on()]);
    publish_keys(&mut peer, &exchange, "nowhere", &["a"]);
    publish_keys(&mut peer, &exchange, "k", &["a"]);
    assert_eq!(peer.drain(1, &queue), ["a"]);
}

#[test]
fn a_duplicate_is_neither_returned_nor_sent_to_the_alternate_exchange() {
    leveret_only!("it is a plugin there");
    let mut peer = Peer::connect();
    let (first, alternate, queue) = (unique("once"), unique("alternate"), peer.exclusive_queue(1));
    peer.call(1, &exchange_declare(&alternate, "fanout").on("auto-delete"));
    peer.call(1, &queue_bind(&queue, &alternate, ""));
    let arguments = [on(), ("alternate-exchange", s(&alternate))];
    peer.call(1, &exchange_declare(&first, "direct").args(arguments));
    for _ in 0..3 {
        peer.send_publish(1, &publish(&first, "k").on("mandatory"), &keyed(s("a")).bytes(), b"a");
    }
    peer.expect_nothing_before_sync(1);
    assert_eq!(peer.drain(1, &queue), ["a"]);
    peer.call(1, &exchange_delete(&first));
}

#[test]
fn one_behind_another_looks_at_what_comes_to_it() {
    leveret_only!("it is a plugin there");
    let (mut peer, inner, queue) = exchange(KIND, [("x-cache-size", i(10))]);
    let (outer, direct) = (unique("outer"), peer.exclusive_queue(1));
    peer.call(1, &exchange_declare(&outer, "fanout").on("auto-delete"));
    peer.call(1, &exchange_bind(&inner, &outer, ""));
    peer.call(1, &queue_bind(&direct, &outer, ""));
    publish_keys(&mut peer, &inner, "", &["a"]);
    publish_keys(&mut peer, &outer, "", &["a", "b", "b"]);
    assert_eq!(peer.drain(1, &queue), ["a", "b"]);
    assert_eq!(peer.drain(1, &direct), ["a", "b", "b"]);
}

#[test]
fn a_new_exchange_of_the_name_remembers_nothing() {
    leveret_only!("it is a plugin there");
    let mut peer = Peer::connect();
    let (exchange, queue) = (unique("once"), peer.exclusive_queue(1));
    for _ in 0..2 {
        peer.call(1, &exchange_declare(&exchange, "fanout").on("durable").args([on()]));
        peer.call(1, &queue_bind(&queue, &exchange, ""));
        publish_keys(&mut peer, &exchange, "", &["a", "a"]);
        assert_eq!(peer.drain(1, &queue), ["a"]);
        peer.call(1, &exchange_delete(&exchange));
    }
}

#[test]
fn of_two_that_come_at_the_same_time_one_is_taken() {
    leveret_only!("it is a plugin there");
    let (mut peer, exchange, queue) = exchange(KIND, [("x-cache-size", i(10_000))]);
    let names: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut peer = Peer::connect();
                for some in names.chunks(20) {
                    let keys: Vec<&str> = some.iter().map(|name| &name[..]).collect();
                    publish_keys(&mut peer, &exchange, "", &keys);
                }
                peer.close();
            });
        }
    });
    let mut found = peer.drain(1, &queue);
    found.sort_by_key(|name| name.parse::<u32>().expect("a number"));
    assert_eq!(found, names);
}
