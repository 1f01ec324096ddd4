//! Declaring: which types may be delayed, and which not.

use super::delayed;
use crate::support::peer::*;
use crate::support::unique;
use crate::support::wire::*;

#[test]
fn every_type_can_be_delayed_but_this_one() {
    let mut peer = Peer::connect();
    for kind in ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-random", "x-recent-history"] {
        let exchange = unique("delayed");
        for _ in 0..2 {
            peer.call(1, &delayed(&exchange, kind).on("durable"));
        }
        peer.call(1, &exchange_delete(&exchange));
    }
    let text = "PRECONDITION_FAILED - Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'";
    peer.refused(1, &delayed(&unique("x"), "x-delayed-message"), 406, text);
    let text = "PRECONDITION_FAILED - unknown exchange type 'x-nothing'";
    peer.refused(1, &delayed(&unique("x"), "x-nothing"), 406, text);
}

#[test]
fn the_delayed_type_is_required() {
    let mut peer = Peer::connect();
    let text = "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type";
    let declare = exchange_declare(&unique("x"), "x-delayed-message");
    peer.refused(1, &declare, 406, text);
    peer.refused(1, &declare.args([("x-delayed-type", i(1))]), 406, text);
}

#[test]
fn arguments_and_bindings_are_those_of_the_delayed_type() {
    let mut peer = Peer::connect();
    let exchange = unique("x");
    let declare = exchange_declare(&exchange, "x-delayed-message")
        .args([("x-delayed-type", s("x-consistent-hash")), ("hash-property", s("type"))]);
    peer.refused(1, &declare, 406, "PRECONDITION_FAILED - Unsupported property: type");
    peer.call(1, &delayed(&exchange, "headers"));
    let queue = peer.exclusive_queue(1);
    peer.send(1, &queue_bind(&queue, &exchange, "").args([("x-match", s("some"))]));
    let close = peer.expect(1, "channel.close");
    assert_eq!(close.number("reply-code"), 406);
    peer.send(1, &method("channel.close-ok"));
    peer.open_channel(1);
    peer.call(1, &exchange_delete(&exchange));
}

#[test]
fn any_type_holds_back_if_its_argument_says_so() {
    let mut peer = Peer::connect();
    let exchange = unique("x");
    let declare = |value| exchange_declare(&exchange, "topic").args([("x-delayed-exchange", value)]);
    let text = format!(
        "PRECONDITION_FAILED - invalid arg 'x-delayed-exchange' for exchange '{exchange}' in vhost '/': \
         {{unacceptable_type,longstr}}"
    );
    peer.refused(1, &declare(s("true")), 406, &text);
    peer.call(1, &declare(Value::Bool(true)));
    peer.call(1, &exchange_delete(&exchange));
}
