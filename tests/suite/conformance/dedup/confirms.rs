//! A duplicate counts as taken: it is confirmed, never refused.

use super::*;
use crate::leveret_only;

/// Publishes one after the other, and returns how each was answered.
fn answers(peer: &mut Peer, exchange: &str, key: &str, keys: &[&str]) -> Vec<String> {
    let mut answers = Vec::new();
    for name in keys {
        publish_keys(peer, exchange, key, &[name]);
        answers.push(peer.next_method(1).name.to_string());
    }
    answers
}

#[test]
fn a_duplicate_is_confirmed() {
    leveret_only!("it is a plugin there");
    let (mut peer, exchange, _queue) = exchange("direct", [on()]);
    let queue = unique("once");
    peer.call(1, &queue_declare(&queue).on("exclusive").args([on()]));
    peer.call(1, &method("confirm.select"));
    for (exchange, key) in [("", &queue[..]), (&exchange, "k")] {
        assert_eq!(answers(&mut peer, exchange, key, &["a", "a", "b", "a"]), ["basic.ack"; 4]);
    }
}

#[test]
fn a_duplicate_of_a_durable_message_is_confirmed() {
    leveret_only!("it is a plugin there");
    let mut peer = Peer::connect();
    let (exchange, queue) = (unique("once"), unique("once"));
    peer.call(1, &queue_declare(&queue).on("durable").args([on()]));
    peer.call(1, &exchange_declare(&exchange, "fanout").on("durable").args([on()]));
    peer.call(1, &queue_bind(&queue, &exchange, ""));
    peer.call(1, &method("confirm.select"));
    for (exchange, name) in [("", "a"), (&exchange[..], "b")] {
        for _ in 0..3 {
            let properties = keyed(s(name)).octet("delivery-mode", 2).bytes();
            peer.send_publish(1, &publish(exchange, &queue), &properties, name.as_bytes());
            peer.expect(1, "basic.ack");
        }
    }
    assert_eq!(peer.drain(1, &queue), ["a", "b"]);
    peer.call(1, &queue_delete(&queue));
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn a_queue_does_not_remember_what_it_refuses() {
    leveret_only!("it is a plugin there");
    let (mut peer, queue) = queue([on(), ("x-max-length", i(1)), ("x-overflow", s("reject-publish"))]);
    peer.call(1, &method("confirm.select"));
    let answered = answers(&mut peer, "", &queue, &["a", "b", "a", "b"]);
    assert_eq!(answered, ["basic.ack", "basic.nack", "basic.ack", "basic.nack"]);
    assert_eq!(peer.drain(1, &queue), ["a"]);
    assert_eq!(answers(&mut peer, "", &queue, &["b", "a"]), ["basic.ack", "basic.ack"]);
    assert_eq!(peer.drain(1, &queue), ["b"]);
}

#[test]
fn an_exchange_does_not_remember_what_every_queue_refuses() {
    leveret_only!("it is a plugin there");
    let (mut peer, full) = queue([("x-max-length", i(1)), ("x-overflow", s("reject-publish"))]);
    let exchange = unique("once");
    peer.call(1, &exchange_declare(&exchange, "fanout").on("auto-delete").args([on()]));
    peer.call(1, &queue_bind(&full, &exchange, ""));
    peer.call(1, &method("confirm.select"));
    let answered = answers(&mut peer, &exchange, "", &["a", "b", "a", "b"]);
    assert_eq!(answered, ["basic.ack", "basic.nack", "basic.ack", "basic.nack"]);
    assert_eq!(peer.drain(1, &full), ["a"]);
    assert_eq!(answers(&mut peer, &exchange, "", &["b"]), ["basic.ack"]);
    assert_eq!(peer.drain(1, &full), ["b"]);
}
