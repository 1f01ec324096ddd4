//! `x-consistent-hash`: the same value goes to the same queue, and queues have shares by their weights.

use super::{Bound, assert_shares, keys};
use crate::leveret_only;
use crate::support::peer::*;
use crate::support::props::{NONE, headers, props};
use crate::support::unique;
use crate::support::wire::*;

const KIND: &str = "x-consistent-hash";

#[test]
fn a_key_goes_to_one_queue_and_always_to_the_same() {
    let mut bound = Bound::new(KIND, [], &["1"; 5]);
    let keys = keys(50);
    let places = bound.places(&keys);
    assert_eq!(bound.places(&keys), places);
    assert!((0..5).all(|queue| places.contains(&queue)), "every queue has some keys: {places:?}");
}

#[test]
fn shares_are_as_the_weights() {
    let mut bound = Bound::new(KIND, [], &["1", "2", "3", "4"]);
    let keys = keys(20_000);
    bound.publish_all(keys.iter().map(String::as_str));
    assert_shares(&bound.take_counts(), &[1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn a_new_queue_takes_its_share_and_nothing_else_moves() {
    let mut bound = Bound::new(KIND, [], &["1"; 4]);
    let keys = keys(400);
    let before = bound.places(&keys);
    bound.add("1");
    let after = bound.places(&keys);
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || *after == 4));
    let moved = after.iter().filter(|place| **place == 4).count();
    assert!((30..140).contains(&moved), "{moved} of 400 is not about a fifth");
}

#[test]
fn what_a_queue_had_is_shared_when_it_goes_and_nothing_else_moves() {
    leveret_only!("RabbitMQ's buckets behind it move along");
    let mut bound = Bound::new(KIND, [], &["1", "1", "2", "1"]);
    let keys = keys(200);
    let before = bound.places(&keys);
    let unbind = queue_unbind(&bound.queues[0], &bound.exchange, "1");
    bound.peer.call(1, &unbind);
    let after = bound.places(&keys);
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == 0));
    assert!(!after.contains(&0));
}

#[test]
fn copies_do_not_count() {
    let mut bound = Bound::new(KIND, [], &["1"; 4]);
    let copies = Value::Array((0..20).map(|n| s(&format!("copy-{n}"))).collect());
    let place = bound.place_of("key", NONE);
    assert_eq!(bound.place_of("key", &headers([("CC", copies.clone()), ("BCC", copies)])), place);
}

#[track_caller]
fn decides(bound: &mut Bound, properties: &[Vec<u8>]) {
    let places: Vec<usize> = properties.iter().map(|properties| bound.place_of("key", properties)).collect();
    for (properties, place) in properties.iter().zip(&places) {
        assert_eq!(bound.place_of("another key", properties), *place, "the routing key does not matter");
    }
    assert!(places.iter().any(|place| *place != places[0]), "the value does");
}

#[test]
fn a_header_decides() {
    let mut bound = Bound::new(KIND, [("hash-header", s("h"))], &["1"; 4]);
    decides(&mut bound, &keys(30).iter().map(|value| headers([("h", s(value))])).collect::<Vec<_>>());
    let numbers: Vec<Vec<u8>> = (0..30).map(|n| headers([("h", i(n))])).collect();
    decides(&mut bound, &numbers);
}

#[test]
fn a_property_decides() {
    for name in ["message_id", "correlation_id"] {
        let mut bound = Bound::new(KIND, [("hash-property", s(name))], &["1"; 4]);
        let field = name.replace('_', "-");
        decides(&mut bound, &keys(30).iter().map(|value| props().text(&field, value).bytes()).collect::<Vec<_>>());
    }
    let mut bound = Bound::new(KIND, [("hash-property", s("timestamp"))], &["1"; 4]);
    decides(&mut bound, &(0..30).map(|n| props().timestamp(1_700_000_000 + n).bytes()).collect::<Vec<_>>());
}

#[test]
fn messages_without_the_value_go_to_one_queue() {
    for (name, value) in [("hash-header", "h"), ("hash-property", "message_id")] {
        let mut bound = Bound::new(KIND, [(name, s(value))], &["1"; 4]);
        let place = bound.place_of("a", NONE);
        for key in ["b", "c", "d", "e"] {
            assert_eq!(bound.place_of(key, NONE), place);
        }
    }
}

#[test]
fn the_arguments_of_lavinmq() {
    leveret_only!("they are LavinMQ's");
    for algorithm in ["ring", "jump"] {
        let arguments = [("x-hash-on", s("h")), ("x-algorithm", s(algorithm))];
        let mut bound = Bound::new(KIND, arguments, &["1"; 4]);
        decides(&mut bound, &keys(30).iter().map(|value| headers([("h", s(value))])).collect::<Vec<_>>());
    }
    let mut peer = Peer::connect();
    let declare = exchange_declare(&unique("hash"), KIND).args([("x-algorithm", s("sha"))]);
    peer.refused(1, &declare, 406, "PRECONDITION_FAILED - Unsupported algorithm: sha");
}

#[test]
fn a_binding_key_is_a_weight() {
    let mut peer = Peer::connect();
    let (exchange, other, queue) = (unique("weights"), unique("other"), peer.exclusive_queue(1));
    peer.call(1, &exchange_declare(&exchange, KIND));
    peer.call(1, &exchange_declare(&other, "fanout"));
    for key in ["1", "12", "+3", "007"] {
        peer.call(1, &queue_bind(&queue, &exchange, key));
        peer.call(1, &exchange_bind(&other, &exchange, key));
    }
    let mut refused = |key: &str, text: &str| {
        let text = format!("PRECONDITION_FAILED - The binding key must be {text}");
        peer.refused(1, &queue_bind(&queue, &exchange, key), 406, &text);
        peer.refused(1, &exchange_bind(&other, &exchange, key), 406, &text);
    };
    for key in ["0", "-1", "-0"] {
        refused(key, "greater than 0");
    }
    for key in ["a", " 1", "1.5", "1a", "+"] {
        refused(key, &format!("an integer: <<\"{key}\">>"));
    }
    refused("", "an integer: <<>>");
    peer.call(1, &queue_unbind(&queue, &exchange, "a"));
    let absent = unique("absent");
    let text = format!("NOT_FOUND - no queue '{absent}' in vhost '/'");
    peer.refused(1, &queue_bind(&absent, &exchange, "a"), 404, &text);
    for name in [exchange, other] {
        peer.call(1, &exchange_delete(&name));
    }
}
